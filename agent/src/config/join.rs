//! Settings for nodes that join the swarm, and for the token that they join with.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarmdr_vault::settings::unit_length::Seconds;

use super::{Config, validation::require_absolute};
use crate::outcome::failure::Failure;

/// Port on which managers listen unless they are told otherwise.
const PORT: u16 = 2377;

/// The `[join]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinConfig {
    /// Addresses of managers (`host:port`; 2377 without a port), asked one after the other.
    pub managers: Vec<String>,
    /// Program (with its arguments) that prints further addresses of managers, one a line.
    pub managers_command: Vec<String>,
    /// File with the worker token, where no systemd credential `swarmdr.join-token` is loaded.
    pub token_file: Option<PathBuf>,
    /// Program (with its arguments) that prints the worker token; run again whenever a token is refused.
    pub token_command: Vec<String>,
    /// Address of this host that the other nodes use; default: the engine's choice.
    pub advertise_addr: Option<String>,
    /// Program (with its arguments) that gets the worker token on standard input and hands it to new nodes.
    pub publish_command: Vec<String>,
    /// Time for which all managers that a worker knows have to be silent before it leaves them. A manager that reboots, or
    /// whose engine is upgraded, is silent for minutes.
    pub dead_after: Seconds,
}

impl Default for JoinConfig {
    fn default() -> Self {
        Self {
            managers: Vec::new(),
            managers_command: Vec::new(),
            token_file: None,
            token_command: Vec::new(),
            advertise_addr: None,
            publish_command: Vec::new(),
            dead_after: Seconds::new(600),
        }
    }
}

/// The address of a manager as somebody wrote it: a name or an IP address, with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerAddr {
    pub host: String,
    pub port: u16,
}

impl FromStr for ManagerAddr {
    type Err = String;

    /// Parses `host`, `host:port`, `2001:db8::1` and `[2001:db8::1]:port`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address of a manager: write it as `10.0.0.5` or `manager.example:2377`");
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self { host: ip.to_string(), port: PORT });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?),
            None => (text, PORT),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name = |host: &str| {
            let fits = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
            (1..=253).contains(&host.len()) && host.bytes().all(fits)
        };
        match bare {
            Some(bare) if bare.parse::<IpAddr>().is_ok() => Ok(Self { host: bare.to_owned(), port }),
            None if is_name(host) => Ok(Self { host: host.to_owned(), port }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ManagerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl JoinConfig {
    /// Returns the configured addresses. They were checked when the configuration was read.
    pub fn manager_addrs(&self) -> impl Iterator<Item = ManagerAddr> {
        self.managers.iter().filter_map(|text| text.parse().ok())
    }
}

impl Config {
    pub(super) fn validate_join(&self) -> Result<()> {
        for text in &self.join.managers {
            text.parse::<ManagerAddr>().map_err(|why| Failure::usage(format!("join.managers: {why}")))?;
        }
        self.join.token_file.iter().try_for_each(|path| require_absolute(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_managers_are_read_with_and_without_a_port() {
        for (text, expected) in [
            ("10.0.0.5", "10.0.0.5:2377"),
            ("10.0.0.5:4000", "10.0.0.5:4000"),
            ("manager-1.example", "manager-1.example:2377"),
            ("manager:4000", "manager:4000"),
            ("2001:db8::1", "[2001:db8::1]:2377"),
            ("[2001:db8::1]", "[2001:db8::1]:2377"),
            ("[2001:db8::1]:4000", "[2001:db8::1]:4000"),
        ] {
            assert_eq!(text.parse::<ManagerAddr>().map(|addr| addr.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for wrong in ["", "a b", "manager:", "manager:0", "manager:99999", "[manager]:1", "http://x", "x/y"] {
            wrong.parse::<ManagerAddr>().expect_err(wrong);
        }
    }

    #[test]
    fn a_wrong_address_is_a_mistake_in_the_configuration() {
        let join = JoinConfig { managers: vec!["10.0.0.5:x".to_owned()], ..JoinConfig::default() };
        let error = Config { join, ..Config::default() }.validate_join().expect_err("is no address");
        assert!(error.to_string().contains("join.managers: `10.0.0.5:x`"), "{error}");
    }
}

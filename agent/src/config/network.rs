//! Proxies for connections that leave this host.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarmdr_http::{Proxies, Proxy};

use super::{Config, validation::require_absolute};
use crate::outcome::failure::Failure;

/// The `[network]` section of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Proxy for all connections that leave this host, as `http://host:port`, or `none`. Overrides the variables.
    pub proxy: Option<String>,
    /// File with `user:password` for the proxy.
    pub proxy_login_file: Option<PathBuf>,
    /// Hosts that are reached without the proxy. Overrides the variable.
    pub no_proxy: Option<String>,
}

impl Config {
    /// The proxies in force: those of the configuration, or of the environment that it was read with.
    pub fn proxies(&self) -> Result<Proxies> {
        let NetworkConfig { proxy, proxy_login_file, no_proxy } = &self.network;
        let inherited = &self.inherited_proxies;
        let past = no_proxy.as_deref().unwrap_or(inherited.exceptions());
        let proxies = match proxy.as_deref().map(Proxy::of_setting).transpose().map_err(unusable)? {
            None => inherited.clone().except(past),
            Some(Some(proxy)) => Proxies::through(proxy, past),
            Some(None) => return Ok(Proxies::none()),
        };
        let Some(path) = proxy_login_file else { return Ok(proxies) };
        proxies.with_login_of(path).map_err(|cause| {
            Failure::usage(format!("the login for the proxy in {} cannot be used", path.display()))
                .advice("it must hold one line, `user:password`, readable for root only")
                .because(cause)
                .into()
        })
    }

    /// Variables to set in the environment of programs that the agent runs.
    pub fn proxies_for_children(&self) -> Result<Vec<(&'static str, String)>> {
        match self.proxies()? {
            // There is no proxy to tell them about: they inherit the environment as it is.
            proxies if proxies == Proxies::none() && self.network.proxy.is_none() => Ok(Vec::new()),
            proxies => Ok(proxies.for_children()),
        }
    }

    pub(super) fn validate_network(&self) -> Result<()> {
        self.network.proxy.as_deref().map(Proxy::of_setting).transpose().map_err(unusable)?;
        self.network.proxy_login_file.as_deref().map_or(Ok(()), require_absolute)
    }
}

fn unusable(why: String) -> anyhow::Error {
    Failure::usage(format!("network.proxy cannot be used: {why}"))
        .advice("write `http://host:port`, or `none`, and a login into network.proxy_login_file")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    fn config(network: NetworkConfig, environment: &[(&str, &str)]) -> Config {
        let owned = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let inherited_proxies = Proxies::of_environment(&owned.collect::<Vec<_>>());
        Config { network, inherited_proxies, ..Config::default() }
    }

    fn before(config: &Config, url: &str) -> Option<String> {
        let proxies = config.proxies().expect("can be used");
        proxies.before(url).expect("can be used").map(ToString::to_string)
    }

    #[test]
    fn the_configuration_wins_over_the_environment() {
        let environment = [("https_proxy", "http://old:1"), ("NO_PROXY", "10.0.0.0/8")];
        let proxy = |setting: &str| NetworkConfig { proxy: Some(setting.to_owned()), ..NetworkConfig::default() };
        let inherited = config(NetworkConfig::default(), &environment);
        assert_eq!(before(&inherited, "https://x").as_deref(), Some("http://old:1"));
        let set = config(proxy("http://new:2"), &environment);
        assert_eq!(before(&set, "https://x").as_deref(), Some("http://new:2"));
        assert_eq!(before(&set, "https://10.0.0.1"), None, "the exceptions of the environment still count");
        let off = config(proxy("none"), &environment);
        assert_eq!(before(&off, "https://x"), None);
        let told = off.proxies_for_children().expect("are known");
        assert!(told.contains(&("https_proxy", String::new())), "no child goes another way: {told:?}");
        let listed = NetworkConfig { no_proxy: Some("x".to_owned()), ..NetworkConfig::default() };
        assert_eq!(before(&config(listed, &environment), "https://x"), None);
        assert!(config(NetworkConfig::default(), &[]).proxies_for_children().expect("none").is_empty());
    }

    #[test]
    fn a_login_comes_from_its_file_for_either() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("login");
        std::fs::write(&path, "me:secret\n").expect("writes");
        let network = NetworkConfig { proxy_login_file: Some(path.clone()), ..NetworkConfig::default() };
        let config = config(network, &[("HTTPS_PROXY", "http://proxy:3128")]);
        let told = config.proxies_for_children().expect("are known");
        assert!(told.contains(&("HTTPS_PROXY", "http://me:secret@proxy:3128".to_owned())), "{told:?}");
        assert!(!format!("{config:?}").contains("secret"));
        std::fs::write(&path, "planted").expect("writes");
        let rendered = Rendered::of(&config.proxies().expect_err("is no login"));
        assert_eq!(rendered.exit, Exit::Usage);
        assert!(!rendered.to_string().contains("planted"), "{rendered}");
    }
}

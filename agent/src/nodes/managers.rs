//! The managers that a host may join through: where their addresses come from, and which of them accept connections.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use futures_util::future::join_all;

use super::program;
use crate::{
    config::{Config, join::ManagerAddr},
    host::network::{self, Answer},
    outcome::failure::Failure,
};

/// Time for a name server.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

/// Time for a manager to accept a connection. A dead address costs this much.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Most addresses that are used: a program that prints something else must not keep a host busy.
const MOST: usize = 100;

/// The addresses of one round, and why others are missing.
#[derive(Debug, Default)]
pub struct Found {
    /// Without repetitions, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    pub missing: Vec<anyhow::Error>,
}

/// Returns an error (exit 2) if nothing names a manager.
pub fn require_configured(config: &Config, given: &[ManagerAddr]) -> Result<()> {
    let join = &config.join;
    if !given.is_empty() || !join.managers.is_empty() || !join.managers_command.is_empty() {
        return Ok(());
    }
    Err(Failure::usage("no manager of the swarm is named")
        .advice("name one with --manager, or with join.managers or join.managers_command in the configuration")
        .into())
}

/// Finds the addresses: those of the command line, the configured ones, and those that the configured program prints.
/// Names are resolved each time, since what they stand for may change while a host waits.
pub async fn find(config: &Config, given: &[ManagerAddr]) -> Found {
    let mut found = Found::default();
    let mut named: Vec<ManagerAddr> = given.iter().cloned().chain(config.join.manager_addrs()).collect();
    if !config.join.managers_command.is_empty() {
        match printed(config).await {
            Ok(printed) => named.extend(printed),
            Err(error) => found.missing.push(error),
        }
    }
    let mut seen = BTreeSet::new();
    for resolved in join_all(named.iter().map(resolve)).await {
        match resolved {
            Ok(addresses) => found.addresses.extend(addresses.into_iter().filter(|address| seen.insert(*address))),
            Err(error) => found.missing.push(error),
        }
    }
    found.addresses.truncate(MOST);
    found
}

async fn printed(config: &Config) -> Result<Vec<ManagerAddr>> {
    const SETTING: &str = "join.managers_command";
    let text = program::output(config, SETTING, &config.join.managers_command).await?;
    parse(&text).with_context(|| format!("{SETTING} prints what is no list of managers"))
}

/// Parses one address a line; empty lines are passed over.
fn parse(text: &str) -> Result<Vec<ManagerAddr>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(MOST);
    lines.map(|line| line.parse().map_err(|why: String| anyhow::anyhow!(why))).collect()
}

async fn resolve(addr: &ManagerAddr) -> Result<Vec<SocketAddr>> {
    let asked = tokio::net::lookup_host((addr.host.as_str(), addr.port));
    let answer = tokio::time::timeout(RESOLVE_LIMIT, asked).await;
    let answer = answer.map_err(|_| anyhow::anyhow!("no answer within {} s", RESOLVE_LIMIT.as_secs()));
    let resolved = answer.and_then(|resolved| Ok(resolved?.collect()));
    resolved.with_context(|| format!("the name {} cannot be resolved", addr.host))
}

/// Asks all of them at once, and returns those that accept a connection in the given order, and the others with the
/// reason.
pub async fn probe(addresses: &[SocketAddr]) -> (Vec<SocketAddr>, Vec<(SocketAddr, String)>) {
    let answers = join_all(addresses.iter().map(async |addr| (*addr, network::ask(*addr, CONNECT_LIMIT).await)));
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for (addr, answer) in answers.await {
        match answer {
            Answer::Yes => open.push(addr),
            Answer::No => closed.push((addr, "it accepts no connection".to_owned())),
            Answer::NotAsked(why) => closed.push((addr, format!("this host cannot ask it: {why}"))),
        }
    }
    (open, closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    #[tokio::test]
    async fn addresses_come_from_all_places_in_order_and_once() {
        let mut config = Config::default();
        config.join.managers = vec!["10.0.0.2".to_owned(), "10.0.0.1:2377".to_owned()];
        let words = ["printf", "10.0.0.3:4000\n\n 10.0.0.2:2377 \n"];
        config.join.managers_command = words.map(str::to_owned).to_vec();
        let given = ["10.0.0.1".parse().expect("is one")];
        let found = find(&config, &given).await;
        let shown: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1:2377", "10.0.0.2:2377", "10.0.0.3:4000"]);
        assert!(found.missing.is_empty(), "{:?}", found.missing);
    }

    #[tokio::test]
    async fn what_cannot_be_found_is_told_and_the_rest_is_used() {
        let mut config = Config::default();
        config.join.managers = vec!["10.0.0.2".to_owned(), "no-such-name.invalid".to_owned()];
        config.join.managers_command = ["echo", "not an address"].map(str::to_owned).to_vec();
        let found = find(&config, &[]).await;
        assert_eq!(found.addresses.len(), 1);
        let told: Vec<String> = found.missing.iter().map(|error| format!("{error:#}")).collect();
        assert!(told[0].contains("join.managers_command") && told[0].contains("not an address"), "{told:?}");
        assert!(told[1].contains("no-such-name.invalid cannot be resolved"), "{told:?}");
    }

    #[tokio::test]
    async fn only_what_accepts_a_connection_is_tried() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let open = socket.local_addr().expect("is bound");
        let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let closed = gone.local_addr().expect("is bound");
        drop(gone);
        let (yes, no) = probe(&[closed, open]).await;
        assert_eq!((yes, no[0].0), (vec![open], closed));
    }

    #[test]
    fn a_host_without_managers_says_what_to_write() {
        let mut config = Config::default();
        let rendered = Rendered::of(&require_configured(&config, &[]).expect_err("names none"));
        assert!(rendered.exit == Exit::Usage && rendered.advice[0].contains("join.managers"), "{rendered}");
        config.join.managers_command = vec!["x".to_owned()];
        require_configured(&config, &[]).expect("a program names them");
    }
}

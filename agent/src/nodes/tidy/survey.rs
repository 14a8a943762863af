//! The nodes of the swarm, and which of those that are down answer nevertheless.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use futures_util::future::join_all;

use crate::{
    nodes::roster::{Led, Listed},
    restore::dead_nodes,
};

/// Ports that an engine of a swarm listens on: that of managers, and that of the overlay networks' gossip, which workers
/// have too (moby `daemon/libnetwork/agent.go`).
const PORTS: [u16; 2] = [2377, 7946];

#[derive(Debug, Default)]
pub struct Survey {
    pub nodes: Vec<Listed>,
    /// Ids of nodes that are down for the leader, and accept a connection, or could not be asked.
    pub answering: BTreeSet<String>,
}

impl Survey {
    pub async fn of(led: &Led, limit: Duration) -> Result<Self> {
        Self::asking(led, limit, |_| true).await
    }

    /// Asks only this node whether it answers.
    pub async fn of_one(led: &Led, limit: Duration, id: &str) -> Result<Self> {
        Self::asking(led, limit, |asked| asked == id).await
    }

    async fn asking(led: &Led, limit: Duration, is_meant: impl Fn(&str) -> bool) -> Result<Self> {
        let nodes = led.nodes().await?;
        let asked = nodes.iter().filter(|listed| is_meant(listed.id()));
        let asked = asked.filter_map(|listed| Some((listed.id(), own_address(listed, &nodes)?)));
        let answers = asked.map(|(id, ip)| async move { (!is_silent(ip, limit).await).then(|| id.to_owned()) });
        let answering = join_all(answers).await.into_iter().flatten().collect();
        Ok(Self { nodes, answering })
    }

    pub fn node(&self, id: &str) -> Option<&Listed> {
        self.nodes.iter().find(|listed| listed.id() == id)
    }
}

/// The address of a node that is down. None if another node has it by now, which would answer for it.
fn own_address(listed: &Listed, all: &[Listed]) -> Option<IpAddr> {
    let ip: IpAddr = listed.node.addr.as_deref().filter(|_| listed.node.is_down())?.parse().ok()?;
    let same = |other: &&Listed| !other.node.is_down() && other.node.addr == listed.node.addr;
    (!ip.is_unspecified() && !ip.is_loopback() && !all.iter().any(|other| same(&other))).then_some(ip)
}

async fn is_silent(ip: IpAddr, limit: Duration) -> bool {
    let asked = PORTS.map(|port| dead_nodes::is_silent(SocketAddr::new(ip, port), limit));
    join_all(asked).await.into_iter().all(|silent| silent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(id: &str, state: &str, addr: &str) -> Listed {
        Listed::of(json!({ "ID": id, "Status": { "State": state, "Addr": addr } })).expect("is a node")
    }

    #[test]
    fn only_an_address_of_its_own_says_something_about_a_dead_node() {
        let nodes = vec![
            node("dead", "down", "10.0.0.5"),
            node("replaced", "down", "10.0.0.6"),
            node("its-heir", "ready", "10.0.0.6"),
            node("twice-a", "down", "10.0.0.7"),
            node("twice-b", "down", "10.0.0.7"),
            node("nowhere", "down", "0.0.0.0"),
            node("unnamed", "down", ""),
        ];
        let asked: Vec<&str> = nodes.iter().filter(|it| own_address(it, &nodes).is_some()).map(Listed::id).collect();
        assert_eq!(asked, ["dead", "twice-a", "twice-b"]);
    }

    #[tokio::test]
    async fn a_host_that_accepts_a_connection_is_not_silent() {
        let gossip = tokio::net::TcpListener::bind("127.7.0.9:7946").await.expect("listens");
        assert!(!is_silent("127.7.0.9".parse().expect("is one"), Duration::from_secs(5)).await);
        drop(gossip);
        assert!(is_silent("127.7.0.9".parse().expect("is one"), Duration::from_secs(5)).await);
    }
}

//! The calls that join a swarm as a manager, and those that change a node.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    Engine,
    raw_call::{Refusal, call, get},
};
use crate::host::wait::{self, Probe};

/// A node's spec as the engine lists it: fields that are unknown here go back unchanged.
pub type NodeSpec = Map<String, Value>;

/// Time limit of an update that keeps conflicting with those of other clients.
const UPDATE_LIMIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

/// The body of `POST /swarm/join`.
///
/// Both addresses are specific. Without an advertised one the swarm takes the one that the connection came from; with a
/// wildcard to listen on, the engine asks the kernel at each start for the route to the manager that it once joined,
/// and does not start where there is none (moby `daemon/cluster/cluster.go`, `newNodeRunner`).
#[derive(Debug)]
pub struct Join<'a> {
    pub own: SocketAddr,
    pub data_path_addr: Option<&'a str>,
    pub manager: SocketAddr,
    pub token: &'a Zeroizing<String>,
}

impl Join<'_> {
    /// The body, with the availability `drain`, which `bollard` lacks: no task starts before the node is made active.
    fn body(&self) -> Zeroizing<String> {
        let body = serde_json::json!({
            "ListenAddr": self.own.to_string(),
            "AdvertiseAddr": self.own.to_string(),
            "DataPathAddr": self.data_path_addr.unwrap_or_default(),
            "RemoteAddrs": [self.manager.to_string()],
            "JoinToken": self.token.as_str(),
            "Availability": "drain",
        });
        Zeroizing::new(body.to_string())
    }
}

impl Engine {
    /// Joins the swarm and returns when the node is ready. The engine itself stops waiting after 20 s and goes on in
    /// the background.
    pub async fn join(&self, join: &Join<'_>, limit: Duration) -> Result<()> {
        let body = Bytes::from(join.body().as_bytes().to_vec());
        tokio::time::timeout(limit, call(self.socket(), Method::POST, "/swarm/join", body))
            .await
            .with_context(|| format!("the engine did not join the swarm within {} s", limit.as_secs()))?
            .with_context(|| format!("the engine could not join the swarm at {} as {}", join.manager, join.own))?;
        Ok(())
    }

    /// Returns the token with which managers join. Never shown.
    pub async fn manager_token(&self) -> Result<Zeroizing<String>> {
        let swarm = get(self.socket(), "/swarm").await.context("failed to ask the engine for its swarm")?;
        let token = swarm.pointer("/JoinTokens/Manager").and_then(Value::as_str);
        Ok(Zeroizing::new(token.context("the engine gave no join token")?.to_owned()))
    }

    /// Takes the tasks off a node and gives it no others: `docker node update --availability drain`.
    pub async fn drain(&self, id: &str) -> Result<()> {
        let drain = |spec: &mut NodeSpec| drop(spec.insert("Availability".to_owned(), "drain".into()));
        self.update_node(id, drain).await.with_context(|| format!("failed to drain the node {id}"))
    }

    /// Changes a node's spec. The swarm changes its nodes too, often while they come up, so what was read may be stale
    /// by the time it is written.
    pub async fn update_node(&self, id: &str, change: impl Fn(&mut NodeSpec)) -> Result<()> {
        let attempt = async || match self.try_to_update(id, &change).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            done => done.map(Probe::Done),
        };
        wait::until(UPDATE_LIMIT, POLL, "the swarm to leave the node alone", attempt)
            .await
            .with_context(|| format!("failed to update the node {id}"))
    }

    async fn try_to_update(&self, id: &str, change: impl Fn(&mut NodeSpec)) -> Result<()> {
        let node = get(self.socket(), &format!("/nodes/{id}")).await?;
        let version = node.pointer("/Version/Index").and_then(Value::as_u64).context("it has no version")?;
        let mut spec = node.get("Spec").and_then(Value::as_object).cloned().unwrap_or_default();
        change(&mut spec);
        let body = Bytes::from(serde_json::to_vec(&spec)?);
        call(self.socket(), Method::POST, &format!("/nodes/{id}/update?version={version}"), body).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_names_its_addresses_and_runs_nothing() {
        let token = Zeroizing::new("SWMTKN-1-x".to_owned());
        let join = Join {
            own: "[fd00::2]:2377".parse().expect("an address"),
            data_path_addr: None,
            manager: "[fd00::1]:2377".parse().expect("an address"),
            token: &token,
        };
        let body: serde_json::Value = serde_json::from_str(&join.body()).expect("is JSON");
        assert_eq!(body["ListenAddr"], "[fd00::2]:2377");
        assert_eq!(body["AdvertiseAddr"], "[fd00::2]:2377");
        assert_eq!(body["RemoteAddrs"][0], "[fd00::1]:2377");
        assert_eq!(body["Availability"], "drain");
    }
}

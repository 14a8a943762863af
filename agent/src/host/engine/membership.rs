//! The calls by which a host becomes a worker of a swarm, or leaves one, and those about join tokens.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    Engine,
    raw_call::{Refusal, call, get, in_time},
};

/// Time limit of a join: the engine itself stops waiting after 20 s (moby `daemon/cluster/cluster.go`,
/// `swarmConnectTimeout`).
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// The default of `docker swarm join`.
const LISTEN: &str = "0.0.0.0:2377";

/// The body of `POST /swarm/join` of a node that is to run tasks at once.
#[derive(Debug)]
pub struct WorkerJoin<'a> {
    pub manager: SocketAddr,
    /// Address or interface; without it, the swarm takes the address that the connection came from.
    pub advertise: Option<&'a str>,
    pub token: &'a Zeroizing<String>,
}

impl WorkerJoin<'_> {
    /// One manager: of several the engine uses only the first (moby `daemon/cluster/swarm.go`, `Join`).
    fn body(&self) -> Zeroizing<String> {
        let body = serde_json::json!({
            "ListenAddr": LISTEN,
            "AdvertiseAddr": self.advertise.unwrap_or_default(),
            "RemoteAddrs": [self.manager.to_string()],
            "JoinToken": self.token.as_str(),
        });
        Zeroizing::new(body.to_string())
    }
}

/// The tokens of a swarm. `Debug` does not show them.
pub struct JoinTokens {
    pub worker: Zeroizing<String>,
    pub manager: Zeroizing<String>,
}

impl std::fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinTokens(..)")
    }
}

impl JoinTokens {
    fn of(swarm: &Value) -> Result<Self> {
        let token = |path| {
            let text = swarm.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
            Ok::<_, anyhow::Error>(Zeroizing::new(text.context("the engine gave no join token")?.to_owned()))
        };
        Ok(Self { worker: token("/JoinTokens/Worker")?, manager: token("/JoinTokens/Manager")? })
    }
}

impl Engine {
    /// Joins a swarm, and returns when the node is ready. If a join takes longer than 20 s, the engine answers with an
    /// error for which [`goes_on_in_background`] is true. A join that fails before leaves nothing on the disk.
    pub async fn join_as_worker(&self, join: &WorkerJoin<'_>) -> Result<()> {
        let body = Bytes::from(join.body().as_bytes().to_vec());
        let asked = call(self.socket(), Method::POST, "/swarm/join", body);
        let limited = tokio::time::timeout(JOIN_LIMIT, asked).await;
        limited.with_context(|| format!("the engine did not answer within {} s", JOIN_LIMIT.as_secs()))?.map(drop)
    }

    /// Leaves the swarm as `docker swarm leave` does, without `--force`: the engine refuses if this node is a manager,
    /// or locked. Containers of the swarm's tasks are removed from this host.
    pub async fn leave(&self) -> Result<()> {
        in_time(call(self.socket(), Method::POST, "/swarm/leave", Bytes::new())).await?;
        Ok(())
    }

    /// Returns the tokens with which nodes join. Never shown.
    pub async fn join_tokens(&self) -> Result<JoinTokens> {
        let swarm = get(self.socket(), "/swarm").await.context("failed to ask the engine for its swarm")?;
        JoinTokens::of(&swarm)
    }

    /// Makes new tokens for workers and managers, and returns them. The swarm's settings go back as they were read,
    /// unknown ones included. Nodes that are in the swarm are not affected.
    pub async fn rotate_join_tokens(&self) -> Result<JoinTokens> {
        let before = self.join_tokens().await?;
        let asked = self.update_swarm("&rotateWorkerToken=true&rotateManagerToken=true", |_| Ok(true)).await;
        let asked = match asked.context("failed to rotate the join tokens") {
            Err(error) if Refusal::is_out_of_sequence(&error) || Refusal::is_certain(&error) => return Err(error),
            asked => asked,
        };
        // Without a clear answer they may have been rotated all the same.
        let after = self.join_tokens().await?;
        if after.worker == before.worker || after.manager == before.manager {
            asked?;
            bail!("the swarm still has the tokens of before");
        }
        Ok(after)
    }
}

/// True if the engine stopped waiting for a join, and still tries it.
pub fn goes_on_in_background(error: &anyhow::Error) -> bool {
    Refusal::find(error).is_some_and(|refusal| refusal.says("continue in the background"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_names_one_manager_and_leaves_the_rest_to_the_engine() {
        let token = Zeroizing::new("SWMTKN-1-x".to_owned());
        let manager = "[fd00::1]:2377".parse().expect("an address");
        let join = WorkerJoin { manager, advertise: Some("eth1"), token: &token };
        let body: Value = serde_json::from_str(&join.body()).expect("is JSON");
        assert_eq!(body["RemoteAddrs"], serde_json::json!(["[fd00::1]:2377"]));
        assert_eq!((&body["AdvertiseAddr"], &body["ListenAddr"]), (&"eth1".into(), &LISTEN.into()));
        assert_eq!(body["JoinToken"], "SWMTKN-1-x");
        assert_eq!(body["Availability"], Value::Null);
    }

    #[test]
    fn tokens_are_not_shown() {
        let swarm = serde_json::json!({ "JoinTokens": { "Worker": "planted-w", "Manager": "planted-m" } });
        let tokens = JoinTokens::of(&swarm).expect("has both");
        assert_eq!((tokens.worker.as_str(), tokens.manager.as_str()), ("planted-w", "planted-m"));
        assert!(!format!("{tokens:?}").contains("planted"));
        JoinTokens::of(&serde_json::json!({ "JoinTokens": { "Worker": "", "Manager": "m" } })).expect_err("has none");
    }
}

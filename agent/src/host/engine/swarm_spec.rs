//! The settings of a swarm as raw JSON: read, and changed without a loss of what is unknown here.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value};

use super::{
    Engine,
    raw_call::{Refusal, call, get, in_time},
};
use crate::host::wait::{self, Probe};

/// A swarm's settings as the engine returns them: fields that are unknown here go back unchanged.
pub type SwarmSpec = Map<String, Value>;

/// Time limit of an update that keeps conflicting with those of other clients: a leader updates its swarm too while it
/// comes up.
const UPDATE_LIMIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

impl Engine {
    /// Returns the settings of the swarm.
    pub async fn swarm_spec(&self) -> Result<SwarmSpec> {
        Ok(self.versioned_spec().await?.1)
    }

    /// Changes the settings of the swarm.
    pub async fn update_swarm_spec(&self, change: impl Fn(&mut SwarmSpec)) -> Result<()> {
        let always = |spec: &mut SwarmSpec| {
            change(spec);
            Ok(true)
        };
        self.update_swarm("", always).await.map(drop)
    }

    /// Changes the settings of the swarm, and asks for what `query` (`&name=value`) names besides, such as new tokens. The
    /// swarm changes its own object too, so what was read may be stale by the time it is written: then it is read again.
    /// `change` returns whether anything is to be sent, and so does this.
    pub(super) async fn update_swarm(
        &self,
        query: &str,
        change: impl Fn(&mut SwarmSpec) -> Result<bool>,
    ) -> Result<bool> {
        let attempt = async || match self.try_to_update_swarm(query, &change).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            done => done.map(Probe::Done),
        };
        wait::until(UPDATE_LIMIT, POLL, "the swarm to leave its settings alone", attempt).await
    }

    async fn try_to_update_swarm(&self, query: &str, change: impl Fn(&mut SwarmSpec) -> Result<bool>) -> Result<bool> {
        let (version, mut spec) = self.versioned_spec().await?;
        if !change(&mut spec)? {
            return Ok(false);
        }
        let body = Bytes::from(serde_json::to_vec(&spec)?);
        let path = format!("/swarm/update?version={version}{query}");
        let sent = in_time(call(self.socket(), Method::POST, &path, body)).await;
        sent.context("failed to update the settings of the swarm").map(|_| true)
    }

    async fn versioned_spec(&self) -> Result<(u64, SwarmSpec)> {
        let swarm = get(self.socket(), "/swarm").await.context("failed to read the settings of the swarm")?;
        let version = swarm.pointer("/Version/Index").and_then(Value::as_u64).context("the swarm has no version")?;
        let spec = swarm.get("Spec").and_then(Value::as_object).cloned().context("the swarm has no settings")?;
        Ok((version, spec))
    }
}

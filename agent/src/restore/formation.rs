//! The formation of a one-manager cluster from a placed state.

use std::time::Duration;

use anyhow::Result;

use super::plan::{InitRequest, checks};
use crate::{host::engine::Engine, swarm::Inventory};

/// Answers with what it leaves to be told.
///
/// An engine forms the cluster first and updates its settings then. Where the swarm has no key of its root CA it does not
/// take any settings while no external CA answers (swarmkit `controlapi/ca_rotation.go`): then they stay what they were
/// in the backup, and the manager works (seen on 20.10, 26.1 and 28.5).
pub async fn form(
    engine: &Engine,
    init: &InitRequest,
    recorded: Option<&Inventory>,
    limit: Duration,
) -> Result<Option<String>> {
    let Err(error) = engine.force_new_cluster(init.to_api(), limit).await else { return Ok(None) };
    let urls = recorded.and_then(|recorded| recorded.cluster.external_cas.as_ref()).filter(|urls| !urls.is_empty());
    let Some(urls) = urls else { return Err(error) };
    if !engine.facts().await.is_ok_and(|facts| checks::works(&facts.swarm)) {
        return Err(error);
    }
    Ok(Some(format!(
        "the external CA of the swarm is needed ({}): until it answers, no node can join, and no certificate is renewed; {}",
        urls.join(", "),
        error.root_cause()
    )))
}

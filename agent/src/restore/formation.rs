//! The formation of a one-manager cluster from a placed state.

use std::time::Duration;

use anyhow::{Result, bail};
use swarmdr_archive::manifest::Manifest;

use super::plan::{InitRequest, checks};
use crate::{
    host::{
        engine::{Engine, EngineFacts, LocalSwarm},
        listing,
    },
    swarm::{Inventory, inventory::Compared},
};

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

/// Whether the engine formed what it was to form.
pub fn require_formed(swarm: &LocalSwarm, cluster: &str, node: &str) -> Result<()> {
    if swarm.cluster_id == cluster && swarm.node_id == node {
        return Ok(());
    }
    bail!(
        "the engine formed node {} of swarm {} instead of node {node} of swarm {cluster}",
        swarm.node_id,
        swarm.cluster_id
    )
}

/// The same in a second engine: the old manager at its old address. Nothing of it may run, so the node is drained as
/// soon as there is one.
pub async fn form_apart(
    engine: &Engine,
    manifest: &Manifest,
    recorded: Option<&Inventory>,
    limit: Duration,
) -> Result<()> {
    // No external CA is reached from there, and none is needed to come back.
    form(engine, &InitRequest::at_old_address(manifest)?, recorded, limit).await?;
    let works = |facts: &EngineFacts| checks::works(&facts.swarm);
    let swarm = engine.wait(limit, "the swarm of the second engine to be active", works).await?.swarm;
    require_formed(&swarm, &manifest.cluster_id, &manifest.node_id)?;
    engine.drain(&swarm.node_id).await
}

/// What came back, object by object, in the second engine's own words.
pub async fn compare_apart(engine: &Engine, manifest: &Manifest, recorded: &Inventory) -> Result<()> {
    let view = engine.manager_view().await?;
    let raft_addr = view.raft_addr(&manifest.node_id);
    if raft_addr.as_deref() != Some(manifest.raft_addr.to_string().as_str()) {
        bail!("the manager is at {raft_addr:?} in its raft log, not at {}", manifest.raft_addr);
    }
    match Compared::of(recorded, &listing::inventory(&view)).loss() {
        Some(loss) => bail!("the booted swarm is not what was recorded: {loss}"),
        None => Ok(()),
    }
}

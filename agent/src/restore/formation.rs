//! The formation of a one-manager cluster from a placed state.

use std::time::Duration;

use anyhow::{Result, bail};
use swarm_state::{Inventory, inventory::Compared};
use swarmdr_archive::{SwarmNode, manifest::Manifest};

use crate::host::engine::{Engine, EngineFacts, InitRequest, LocalSwarm, listing};

/// Forces a new cluster. Returns a warning to report, if there is one.
///
/// An engine forms the cluster first and updates its settings then. If the swarm has no key of its root CA, and no
/// external CA answers, the engine refuses all settings (swarmkit `controlapi/ca_rotation.go`): they stay as they were
/// in the backup, and the manager works (seen on 20.10, 26.1 and 28.5).
pub async fn form(
    engine: &Engine,
    init: &InitRequest,
    recorded: Option<&Inventory>,
    limit: Duration,
) -> Result<Option<String>> {
    let Err(error) = engine.force_new_cluster(init, limit).await else { return Ok(None) };
    let urls = recorded.and_then(|recorded| recorded.cluster.external_cas.as_ref()).filter(|urls| !urls.is_empty());
    let Some(urls) = urls else { return Err(error) };
    if !engine.facts().await.is_ok_and(|facts| facts.swarm.works()) {
        return Err(error);
    }
    Ok(Some(format!(
        "the external CA of the swarm is needed ({}): until it answers, no node can join, and no certificate is renewed; {}",
        urls.join(", "),
        error.root_cause()
    )))
}

/// Checks that the engine formed the cluster and node that were wanted.
pub fn require_formed(swarm: &LocalSwarm, wanted: &SwarmNode) -> Result<()> {
    let formed = swarm.swarm_node()?;
    if formed != *wanted {
        bail!("the engine formed {formed} instead of {wanted}");
    }
    Ok(())
}

/// Forms the cluster in a second engine, as the old manager at its old address. No task of it may run there, so the
/// node is drained as soon as it exists.
pub async fn form_apart(
    engine: &Engine,
    manifest: &Manifest,
    recorded: Option<&Inventory>,
    limit: Duration,
) -> Result<()> {
    // The second engine reaches no external CA, and needs none to come back.
    form(engine, &InitRequest::at_old_address(manifest)?, recorded, limit).await?;
    let works = |facts: &EngineFacts| facts.swarm.works();
    let swarm = engine.wait(limit, "the swarm of the second engine to be active", works).await?.swarm;
    require_formed(&swarm, &manifest.swarm_node())?;
    engine.drain(manifest.node_id.as_str()).await
}

/// Compares what came back in the second engine with the backup, object by object.
pub async fn compare_apart(engine: &Engine, manifest: &Manifest, recorded: &Inventory) -> Result<()> {
    let view = engine.manager_view().await?;
    view.require_raft_addr(&manifest.node_id, manifest.raft_addr)?;
    match Compared::of(recorded, &listing::inventory(&view)).loss() {
        Some(loss) => bail!("the booted swarm is not what was recorded: {loss}"),
        None => Ok(()),
    }
}

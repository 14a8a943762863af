//! The examination of the copied state, by which a backup is stored or refused.

use anyhow::{Context, Result};
use swarm_state::{Examined, Identity, Proof, UnlockKey};

use super::{BackupPlan, commit_mark, snapshot::Snapshot};
use crate::{config::Mode, outcome::failure::Failure};

/// Examines the copy. Fails if no swarm could be restored from it; a log that is damaged further on is reported in
/// `attention`.
pub(super) async fn prove(
    snapshot: Snapshot,
    key: Option<UnlockKey>,
    plan: &BackupPlan,
    attention: &mut Vec<String>,
) -> Result<(Snapshot, Examined)> {
    let (snapshot, examined) = examine(snapshot, plan.mode, key).await?;
    let examined = examined.context(NOT_RESTORABLE)?;
    check_identity(&examined.identity, plan)?;
    check_joined(&examined.identity)?;
    if let Proof::Unproven(damage) = &examined.proof {
        let told = format!("the backup is stored but cannot be relied on: its raft log breaks at {damage}");
        attention.push(told);
    }
    Ok((snapshot, examined))
}

pub(super) const NOT_RESTORABLE: &str =
    "the copied state is not one that a swarm could be restored from; nothing was stored";

/// Reads the copied state as an engine would. Runs on a blocking thread, since it reads all of it.
pub(super) async fn examine(
    snapshot: Snapshot,
    mode: Mode,
    key: Option<UnlockKey>,
) -> Result<(Snapshot, Result<Examined, swarm_state::Error>)> {
    let examine = tokio::task::spawn_blocking(move || -> Result<_> {
        let examined = || swarm_state::examine(snapshot.dir(), key.as_ref());
        let first = examined();
        let raft = first.as_ref().ok().and_then(|first| first.raft.as_ref());
        let is_behind = raft.is_some_and(|raft| raft.commit < raft.last_index);
        // A stopped engine has written its commit mark; a frozen one may not have.
        let again = mode == Mode::Freeze && is_behind && commit_mark::complete(&snapshot)? > 0;
        let examined = if again { examined() } else { first };
        Ok((snapshot, examined))
    });
    examine.await.context("the examination ended unexpectedly")?
}

/// Refuses the state of a node that is still joining its swarm, as a restore would. An engine clears
/// `join_in_progress` when it has joined, and only then reports that it is active.
fn check_joined(identity: &Identity) -> Result<()> {
    if identity.engine.as_ref().is_none_or(|engine| !engine.join_in_progress) {
        return Ok(());
    }
    Err(Failure::refused("according to docker-state.json this node is still joining its swarm; nothing was stored")
        .advice("try again in a minute; if it stays so, demote this manager and promote it again")
        .into())
}

/// Fails unless the files belong to the node and the swarm that the engine reported.
pub(super) fn check_identity(identity: &Identity, plan: &BackupPlan) -> Result<()> {
    if plan.swarm_node().is(&identity.cluster_id, &identity.node_id) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} holds node {} of swarm {}, but the engine is node {} of swarm {}; nothing was stored",
        plan.state_dir.display(),
        identity.node_id,
        identity.cluster_id,
        plan.node_id,
        plan.cluster_id
    ))
    .advice("check that `data-root` in /etc/docker/daemon.json is what the running engine uses")
    .into())
}

//! The swarm that this host has at present: whether a restore of the backup may replace it.

use anyhow::Result;
use swarmdr_archive::{NodeId, manifest::Manifest};

use super::{Overrides, Seen};
use crate::{
    host::engine::{LocalSwarm, SwarmState},
    outcome::failure::Failure,
    restore::on_disk::{Held, OnDisk},
};

/// Meaning of the swarm on this host for a restore of this backup.
pub(super) enum Present {
    /// The restore may go on.
    Free,
    /// There is nothing to restore.
    Healed,
    /// There is nothing to restore, but the engine waits for its unlock key.
    Locked,
}

/// Decides whether there is anything to restore: by the state on disk first, and then by what the engine makes of it. A
/// state that an engine starts with is never replaced without `--force`, even if it does not work: changes since the
/// backup would be lost.
pub(super) fn judge<P>(manifest: &Manifest<P>, seen: &Seen<'_>, overrides: &Overrides) -> Result<Present> {
    let swarm = &seen.here.facts.swarm;
    if overrides.force {
        return Ok(Present::Free);
    }
    // At another address the manager gets another node id.
    let is_node = |node: &NodeId| *node == manifest.node_id || overrides.readdress.is_some();
    let is_held = |held: &Held| held.own.cluster == manifest.cluster_id && is_node(&held.own.node);
    let is_same = seen.here.on_disk.held().is_some_and(is_held);
    match (swarm.state, seen.here.on_disk) {
        (SwarmState::Active, _) if swarm.works() && swarm.cluster_id.as_ref() == Some(&manifest.cluster_id) => {
            same_swarm(manifest, seen)
        }
        (SwarmState::Locked, _) if is_same && seen.here.has_unlock_key => Ok(Present::Locked),
        (SwarmState::Locked, _) if is_same => Err(Failure::refused("this host holds the swarm of this backup, locked")
            .advice("unlock it: `docker swarm unlock`, or name its key with --unlock-key FILE")
            .advice(GO_BACK)
            .into()),
        _ if is_same => Err(does_not_work(swarm)),
        (SwarmState::Inactive | SwarmState::Error, OnDisk::Nothing) => Ok(Present::Free),
        (SwarmState::Inactive, OnDisk::State(held)) if !held.is_taken_up => Ok(Present::Free),
        _ => Err(replaces(swarm, seen.here.on_disk)),
    }
}

const GO_BACK: &str = "or use --force to go back to the backup (the present state is moved aside, not deleted)";

fn does_not_work(swarm: &LocalSwarm) -> anyhow::Error {
    let why = match swarm.state {
        _ if !swarm.error.is_empty() => swarm.error.as_str(),
        SwarmState::Inactive => "the engine does not start it",
        SwarmState::Pending => "it is still looking for its managers",
        _ => "the engine gives no reason",
    };
    Failure::refused(format!(
        "this host is the manager of this backup, and its own state may be newer, but its swarm does not work: {why}"
    ))
    .advice("see `journalctl -u docker`: it comes back by itself once its address, clock or disk is right")
    .advice("bring the other managers back, or keep what is here with `swarmdr-agent recover-quorum`")
    .advice(GO_BACK)
    .into()
}

/// Decides whether the swarm of this host or the backup of it is newer.
fn same_swarm<P>(manifest: &Manifest<P>, seen: &Seen<'_>) -> Result<Present> {
    let refuse = |what: String| {
        Err(Failure::refused(what)
            .advice("to see what would be lost: `swarmdr-agent diff ID /var/lib/docker/swarm`")
            .advice("to go back anyway: --force (the present state is moved aside, not deleted)")
            .into())
    };
    match seen.last_restore {
        Some((id, _)) if id == manifest.id => Ok(Present::Healed),
        Some((id, at)) if seen.newest && manifest.created_at < at => refuse(format!(
            "the swarm on this host works, and was restored from backup {id}, which is not the newest one from before {at}"
        )),
        _ if seen.newest => Ok(Present::Healed),
        _ => refuse(format!(
            "the swarm of this backup works on this host, and has moved on since {}",
            manifest.created_at
        )),
    }
}

fn replaces(swarm: &LocalSwarm, on_disk: &OnDisk) -> anyhow::Error {
    let present = match swarm.state {
        SwarmState::Locked => "this host holds a locked swarm".to_owned(),
        SwarmState::Pending | SwarmState::Inactive | SwarmState::Error => match on_disk {
            OnDisk::State(held) => format!(
                "this host is {}, which does not work at the moment{}",
                held.own,
                if swarm.error.is_empty() { String::new() } else { format!(" ({})", swarm.error) }
            ),
            OnDisk::Unknown if swarm.state == SwarmState::Inactive => {
                "the engine's state directory on this host holds a swarm's files, but not which swarm's: they cannot be read"
                    .to_owned()
            }
            OnDisk::Nothing | OnDisk::Unknown => "this host is joining a swarm".to_owned(),
        },
        _ => match &swarm.cluster_id {
            Some(cluster) => format!("this host is an active node of swarm {cluster}"),
            None => "this host is an active node of another swarm".to_owned(),
        },
    };
    Failure::refused(format!("{present}; a restore would replace it"))
        .advice("restore on a fresh host, or use --force to replace it (its state is moved aside, not deleted)")
        .into()
}

//! What speaks against a restore on this host. Each check refuses (exit 4) and names the way out.

use std::{fmt::Display, net::IpAddr};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::manifest::{Manifest, Proof};

use super::{EngineVersion, Overrides, Seen};
use crate::restore::{
    fence::listed,
    holding::{Held, OnDisk},
};
use crate::{
    fault::Fault,
    host::{
        engine::{EngineFacts, LocalSwarm, SwarmState},
        network::{self, LocalAddress},
    },
    inspection::renews,
    swarm::{Examined, Proof as StateProof, Warning},
};

/// A certificate that begins a little later than this host's clock is a clock that is a little off.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// What the swarm on this host means for a restore of this backup.
pub(super) enum Present {
    /// Nothing stands in the way.
    Free,
    /// There is nothing to heal.
    Healed,
    /// It is healed, and waits for its unlock key.
    Locked,
}

/// Decides whether there is anything to restore, by what lies on the disk first and by what the engine makes of it then.
/// A state that an engine starts with is never replaced unless told to, however little it works: what came into it since
/// the backup would be lost.
pub(super) fn present<P>(manifest: &Manifest<P>, seen: &Seen<'_>, overrides: &Overrides) -> Result<Present> {
    let swarm = &seen.facts.swarm;
    if overrides.force {
        return Ok(Present::Free);
    }
    // At another address the manager is another node.
    let is_node = |node: &str| node == manifest.node_id || overrides.readdress.is_some();
    let is_held = |held: &Held| held.cluster_id == manifest.cluster_id && is_node(&held.node_id);
    let is_same = seen.on_disk.held().is_some_and(is_held);
    match (swarm.state, seen.on_disk) {
        (SwarmState::Active, _) if works(swarm) && swarm.cluster_id == manifest.cluster_id => {
            same_swarm(manifest, seen)
        }
        (SwarmState::Locked, _) if is_same && seen.has_unlock_key => Ok(Present::Locked),
        (SwarmState::Locked, _) if is_same => Err(Fault::refused("this host holds the swarm of this backup, locked")
            .advice("unlock it: `docker swarm unlock`, or name its key with --unlock-key FILE")
            .advice(GO_BACK)
            .into()),
        _ if is_same => Err(does_not_work(swarm)),
        (SwarmState::Inactive | SwarmState::Error, OnDisk::Nothing) => Ok(Present::Free),
        (SwarmState::Inactive, OnDisk::State(held)) if !held.is_taken_up => Ok(Present::Free),
        _ => Err(replaces(swarm, seen.on_disk)),
    }
}

const GO_BACK: &str = "or say --force to go back to the backup (the present state is moved aside, not deleted)";

fn does_not_work(swarm: &LocalSwarm) -> anyhow::Error {
    let why = match swarm.state {
        _ if !swarm.error.is_empty() => swarm.error.as_str(),
        SwarmState::Inactive => "the engine does not take it up",
        SwarmState::Pending => "it is still looking for its managers",
        _ => "the engine does not say why",
    };
    Fault::refused(format!(
        "this host is the manager of this backup, and its own state may be newer, but its swarm does not work: {why}"
    ))
    .advice("see `journalctl -u docker`: an address, a clock or a disk that is set right lets it come back by itself")
    .advice("bring the other managers back, or keep what is here with `swarmdr-agent recover-quorum`")
    .advice(GO_BACK)
    .into()
}

/// A manager that answers for its cluster.
pub fn works(swarm: &LocalSwarm) -> bool {
    swarm.state == SwarmState::Active && swarm.is_manager && swarm.error.is_empty()
}

/// The backup is of the swarm that runs here. Which of the two is newer?
fn same_swarm<P>(manifest: &Manifest<P>, seen: &Seen<'_>) -> Result<Present> {
    let refuse = |what: String| {
        Err(Fault::refused(what)
            .advice("to see what would be lost: `swarmdr-agent diff ID /var/lib/docker/swarm`")
            .advice("to go back all the same: --force (the present state is moved aside, not deleted)")
            .into())
    };
    match seen.receipt {
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
                "this host is node {} of swarm {}, which does not work at the moment{}",
                held.node_id,
                held.cluster_id,
                if swarm.error.is_empty() { String::new() } else { format!(" ({})", swarm.error) }
            ),
            OnDisk::Unknown if swarm.state == SwarmState::Inactive => {
                "something of a swarm lies in the engine's state directory on this host, and whose it is cannot be read"
                    .to_owned()
            }
            OnDisk::Nothing | OnDisk::Unknown => "this host is joining a swarm".to_owned(),
        },
        _ if swarm.cluster_id.is_empty() => "this host is an active node of another swarm".to_owned(),
        _ => format!("this host is an active node of swarm {}", swarm.cluster_id),
    };
    Fault::refused(format!("{present}; a restore would replace it"))
        .advice("restore on a fresh host, or say --force to replace it (its state is moved aside, not deleted)")
        .into()
}

/// Settings of this host's engine with which it would not start.
pub fn engine_settings(facts: &EngineFacts) -> Result<()> {
    if !facts.live_restore {
        return Ok(());
    }
    Err(Fault::refused("this engine is set to `live-restore`, with which it does not start as part of a swarm")
        .advice("remove `live-restore` from /etc/docker/daemon.json and restart the engine")
        .into())
}

/// The name of the interface that has the swarm's address; `None` where it is translated to this host.
pub(super) fn address<P>(
    manifest: &Manifest<P>,
    addresses: &[LocalAddress],
    overrides: &Overrides,
) -> Result<Option<String>> {
    let wanted = manifest.raft_addr.ip();
    if let Some(local) = addresses.iter().find(|local| local.ip == wanted) {
        return Ok(Some(local.interface.clone()));
    }
    if overrides.address_elsewhere && !manifest.raft_addr_local {
        return Ok(None);
    }
    let mut fault = Fault::refused(format!(
        "the swarm of this backup lives at {wanted}, and this host has {}",
        network::describe(addresses)
    ))
    .because(anyhow::anyhow!(
        "an engine keeps the old address in its raft log whatever it is told: it would start and hand out join commands to {wanted}"
    ));
    if !manifest.raft_addr_local {
        fault = fault.advice(format!(
            "the address was on no interface of the backed-up host either: if {wanted} is translated to this host (NAT), say --address-elsewhere"
        ));
    }
    Err(fault
        .advice(format!(
            "give this host the address {wanted} (on EC2: the same private address on its network interface)"
        ))
        .advice("if the address is still on its way: --wait-for-ip 120s")
        .advice("if the swarm is to live at an address of this host from now on: --readdress")
        .into())
}

/// The address of the overlay traffic, if it was set apart; this host must have it.
pub(super) fn data_path_addr<P>(manifest: &Manifest<P>, addresses: &[LocalAddress]) -> Result<Option<String>> {
    let Some(recorded) = manifest.restore.data_path_addr.as_deref().filter(|addr| !addr.is_empty()) else {
        return Ok(None);
    };
    let is_elsewhere = |ip: IpAddr| !network::has(addresses, ip);
    if recorded.parse().is_ok_and(is_elsewhere) {
        return Err(Fault::refused(format!(
            "the overlay traffic of this swarm goes through {recorded}, and this host has {}",
            network::describe(addresses)
        ))
        .advice(format!("give this host the address {recorded} too"))
        .advice("or name another one of this host's addresses with --data-path-addr ADDRESS")
        .into());
    }
    Ok(Some(recorded.to_owned()))
}

/// What the clear part of the archive says of the state.
pub fn state<P>(manifest: &Manifest<P>, has_unlock_key: bool, now: Timestamp) -> Result<()> {
    if manifest.autolock && !has_unlock_key {
        return Err(Fault::refused("the swarm of this backup is autolocked, and its unlock key was not given")
            .advice("write what `docker swarm unlock-key -q` printed into a file and name it with --unlock-key FILE, or with restore.unlock_key_file in the configuration")
            .advice("or choose an older backup from before autolock was switched on (`swarmdr-agent list`)")
            .into());
    }
    if manifest.proof == Proof::Unproven {
        let reason = manifest.proof_reason.as_deref().unwrap_or("no reason was recorded");
        return Err(Fault::refused(format!(
            "the raft log in this backup could not be replayed when it was made: {reason}"
        ))
        .advice("choose another backup (`swarmdr-agent list`)")
        .into());
    }
    certificates(manifest, now)
}

fn certificates<P>(manifest: &Manifest<P>, now: Timestamp) -> Result<()> {
    if let Some(begin) = manifest.certificate.node_not_before
        && begin > now + CLOCK_TOLERANCE
    {
        return Err(Fault::refused(format!(
            "the certificate of the backup is valid from {begin} on, and this host's clock says {now:.0}"
        ))
        .advice("set this host's clock (`timedatectl`), then try again")
        .into());
    }
    if let Some(end) = manifest.certificate.root_not_after
        && end < now
    {
        return Err(Fault::refused(format!("the root CA of the backup expired at {end}"))
            .advice("no engine accepts it: make a new swarm and deploy the services anew")
            .into());
    }
    Ok(())
}

/// An engine that is older than the one that wrote the state.
pub fn engine_version<P>(manifest: &Manifest<P>, facts: &EngineFacts) -> Result<()> {
    let (backup, host) = (EngineVersion::parse(&manifest.engine_version), EngineVersion::parse(&facts.version));
    if let (Some(backup), Some(host)) = (backup, host)
        && host < backup
    {
        return Err(Fault::refused(format!(
            "this host's engine {} is older than the engine {} that wrote the state, and would drop what it does not know",
            facts.version, manifest.engine_version
        ))
        .advice(format!("install engine {} or newer", manifest.engine_version))
        .into());
    }
    Ok(())
}

/// Old managers that still answer: the restored twin has their raft ids in its list of removed members, and whoever
/// is told so deletes its own state (swarmkit `manager/state/raft/transport/peer.go`, `node/node.go`).
pub fn fence<T: Display>(living: &[T]) -> Result<()> {
    if living.is_empty() {
        return Ok(());
    }
    Err(Fault::refused(format!(
        "old managers of this swarm are alive at {}: a restored twin would make them delete their state",
        listed(living)
    ))
    .advice("if the swarm is well, join this host to it instead: `docker swarm join-token manager` there")
    .advice("if it is dying, shut those managers down or cut them off for good, then say --fenced")
    .advice(
        "if you want a copy to look at, use `swarmdr-agent inspect`, or restore in a network that cannot reach them",
    )
    .into())
}

/// What only the unpacked state says. Answers with what an operator should know of it.
pub fn staged(examined: &Examined, manifest: &Manifest, now: Timestamp) -> Result<Vec<String>> {
    let identity = &examined.identity;
    if identity.cluster_id != manifest.cluster_id || identity.node_id != manifest.node_id {
        anyhow::bail!(
            "the certificate in the backup is of node {} in swarm {}, but its manifest says {} in {}",
            identity.node_id,
            identity.cluster_id,
            manifest.node_id,
            manifest.cluster_id
        );
    }
    if identity.engine.as_ref().is_some_and(|engine| engine.join_in_progress) {
        return Err(Fault::refused(
            "the backed-up node was still joining its swarm, so its state is not that of a manager",
        )
        .advice("choose another backup (`swarmdr-agent list`)")
        .into());
    }
    match &examined.proof {
        StateProof::Proven => {}
        StateProof::Unproven(damage) => {
            return Err(Fault::refused(format!("the raft log in the backup breaks: {damage}"))
                .advice("choose another backup (`swarmdr-agent list`)")
                .into());
        }
        StateProof::Sealed(_) => {
            return Err(Fault::refused("the state in the backup is locked, and its unlock key was not given")
                .advice("name the unlock key with --unlock-key FILE")
                .into());
        }
    }
    let expired = identity.node_certificate.not_after < now;
    if expired && examined.inventory.as_ref().and_then(renews) == Some(false) {
        return Err(Fault::refused(format!(
            "the node certificate in the backup expired at {}, and the swarm cannot renew it by itself: it has no key of its root CA, or an external one signs",
            identity.node_certificate.not_after
        ))
        .advice("choose a newer backup (`swarmdr-agent list`)")
        .into());
    }
    Ok(examined.warnings.iter().filter(|warning| matters(warning)).map(Warning::to_string).collect())
}

/// Of what an examination finds, the part that a restore changes nothing about.
fn matters(warning: &Warning) -> bool {
    matches!(
        warning,
        Warning::RootRotation
            | Warning::ExternalCa { .. }
            | Warning::NoCaKey
            | Warning::RootCaDiffers
            | Warning::RootCaExpiresSoon { .. }
    )
}

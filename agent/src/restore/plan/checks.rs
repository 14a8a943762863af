//! Reasons not to restore on this host. Each check refuses (exit 4) and names the way out.

use std::{fmt::Display, net::IpAddr};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use swarm_state::{Examined, Proof as StateProof, Warning};
use swarmdr_archive::manifest::{Manifest, Proof};

use super::Overrides;
use crate::{
    archive::inspection::renews,
    host::{
        engine::{EngineFacts, version},
        network::{self, LocalAddress},
    },
    outcome::failure::Failure,
    restore::fence::listed,
};

/// Tolerated difference between this host's clock and the start of a certificate.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Refuses an engine whose settings would keep it from starting.
pub fn engine_settings(facts: &EngineFacts) -> Result<()> {
    if !facts.live_restore {
        return Ok(());
    }
    Err(Failure::refused("this engine is set to `live-restore`, with which it does not start as part of a swarm")
        .advice("remove `live-restore` from /etc/docker/daemon.json and restart the engine")
        .into())
}

/// Returns the name of the interface that has the swarm's address; `None` if the address is translated to this host.
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
    let mut failure = Failure::refused(format!(
        "the swarm of this backup has the address {wanted}, and this host has {}",
        network::describe(addresses)
    ))
    .because(anyhow::anyhow!(
        "an engine keeps the old address in its raft log, whatever address it is given: it would start and hand out join commands to {wanted}"
    ));
    if !manifest.raft_addr_local {
        failure = failure.advice(format!(
            "the address was on no interface of the backed-up host either: if {wanted} is translated to this host (NAT), use --address-elsewhere"
        ));
    }
    Err(failure
        .advice(format!(
            "give this host the address {wanted} (on EC2: the same private address on its network interface)"
        ))
        .advice("if the address comes later: --wait-for-ip 120s")
        .advice("to move the swarm to an address of this host: --readdress")
        .into())
}

/// Returns the address of the overlay traffic if it was set; this host must have it.
pub(super) fn data_path_addr<P>(manifest: &Manifest<P>, addresses: &[LocalAddress]) -> Result<Option<String>> {
    let Some(recorded) = manifest.restore.data_path_addr.as_deref().filter(|addr| !addr.is_empty()) else {
        return Ok(None);
    };
    let is_elsewhere = |ip: IpAddr| !network::has(addresses, ip);
    if recorded.parse().is_ok_and(is_elsewhere) {
        return Err(Failure::refused(format!(
            "the overlay traffic of this swarm goes through {recorded}, and this host has {}",
            network::describe(addresses)
        ))
        .advice(format!("give this host the address {recorded} too"))
        .advice("or name another one of this host's addresses with --data-path-addr ADDRESS")
        .into());
    }
    Ok(Some(recorded.to_owned()))
}

/// Checks what the manifest says about the state.
pub fn state<P>(manifest: &Manifest<P>, has_unlock_key: bool, now: Timestamp) -> Result<()> {
    if manifest.autolock && !has_unlock_key {
        return Err(Failure::refused("the swarm of this backup is autolocked, and its unlock key was not given")
            .advice("write the output of `docker swarm unlock-key -q` into a file and name it with --unlock-key FILE, or with restore.unlock_key_file in the configuration")
            .advice("or choose an older backup from before autolock was switched on (`swarmdr-agent list`)")
            .into());
    }
    if manifest.proof == Proof::Unproven {
        let reason = manifest.proof_reason.as_deref().unwrap_or("no reason was recorded");
        return Err(Failure::refused(format!(
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
        return Err(Failure::refused(format!(
            "the certificate of the backup is valid from {begin} on, and the clock of this host shows {now:.0}"
        ))
        .advice("set this host's clock (`timedatectl`), then try again")
        .into());
    }
    if let Some(end) = manifest.certificate.root_not_after
        && end < now
    {
        return Err(Failure::refused(format!("the root CA of the backup expired at {end}"))
            .advice("no engine accepts it: make a new swarm and deploy the services again")
            .into());
    }
    Ok(())
}

/// Refuses an engine that is older than the one that wrote the state.
pub fn engine_version<P>(manifest: &Manifest<P>, facts: &EngineFacts) -> Result<()> {
    Ok(version::require_not_older("this host's", &facts.version, &manifest.engine_version, "the state")?)
}

/// Refuses while old managers answer: the restored duplicate has their raft ids in its list of removed members, and a
/// manager that learns this deletes its own state (swarmkit `manager/state/raft/transport/peer.go`, `node/node.go`).
pub fn fence<T: Display>(living: &[T]) -> Result<()> {
    if living.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "old managers of this swarm are alive at {}: a second copy of this manager would make them delete their state",
        listed(living)
    ))
    .advice("if the swarm is well, join this host to it instead: `docker swarm join-token manager` there")
    .advice("if it is dying, shut those managers down or cut them off for good, then use --fenced")
    .advice("to examine a copy of it, use `swarmdr-agent inspect`, or restore in a network that cannot reach them")
    .into())
}

/// Checks what only the unpacked state shows. Returns warnings for the operator.
pub fn staged(examined: &Examined, manifest: &Manifest, now: Timestamp) -> Result<Vec<String>> {
    let identity = &examined.identity;
    if !manifest.swarm_node().is(&identity.cluster_id, &identity.node_id) {
        anyhow::bail!(
            "the certificate in the backup is of node {} in swarm {}, but its manifest says {} in {}",
            identity.node_id,
            identity.cluster_id,
            manifest.node_id,
            manifest.cluster_id
        );
    }
    if identity.engine.as_ref().is_some_and(|engine| engine.join_in_progress) {
        return Err(Failure::refused(
            "the backed-up node was still joining its swarm, so its state is not that of a manager",
        )
        .advice("choose another backup (`swarmdr-agent list`)")
        .into());
    }
    require_proven(&examined.proof)?;
    let expired = identity.node_certificate.not_after < now;
    if expired && examined.inventory.as_ref().and_then(renews) == Some(false) {
        return Err(Failure::refused(format!(
            "the node certificate in the backup expired at {}, and the swarm cannot renew it by itself: it has no key of its root CA, or an external one signs",
            identity.node_certificate.not_after
        ))
        .advice("choose a newer backup (`swarmdr-agent list`)")
        .into());
    }
    Ok(examined.warnings.iter().filter(|warning| matters(warning)).map(Warning::to_string).collect())
}

fn require_proven(proof: &StateProof) -> Result<(), Failure> {
    match proof {
        StateProof::Proven => Ok(()),
        StateProof::Unproven(damage) => Err(Failure::refused(format!("the raft log in the backup breaks: {damage}"))
            .advice("choose another backup (`swarmdr-agent list`)")),
        StateProof::Sealed(_) => {
            Err(Failure::refused("the state in the backup is locked, and its unlock key was not given")
                .advice("name the unlock key with --unlock-key FILE"))
        }
    }
}

/// Keeps the warnings of an examination that a restore does not resolve.
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

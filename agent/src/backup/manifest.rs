//! The manifest (the clear part) of an archive: facts about the backup, and its place in the chain of backups.

use swarm_state::{Examined, Identity, Inventory};
use swarmdr_archive::{
    ManifestDraft,
    manifest::{CertificateTimes, FORMAT, Manager, Manifest, RestoreHints, Snapshot, SnapshotMode},
};

use super::{plan::BackupPlan, previous::PreviousBackups};
use crate::{archive::proof, config::Mode, downtime::pause::Downtime, host::engine::view::Node};

/// The manifest, without the facts about the payload.
pub fn draft(
    plan: &BackupPlan,
    managers: Vec<Manager>,
    examined: &Examined,
    inventory: &Inventory,
    snapshot: Snapshot,
    previous: &PreviousBackups,
) -> ManifestDraft {
    let identity = &examined.identity;
    let stated = proof::state(examined);
    Manifest {
        format: FORMAT,
        id: plan.id,
        sequence: previous.next_sequence(),
        previous: previous.newest_digest(),
        created_at: plan.created_at,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        engine_version: plan.engine_version.clone(),
        cluster_id: plan.cluster_id.clone(),
        node_id: plan.node_id.clone(),
        hostname: plan.hostname.clone(),
        raft_addr: plan.raft_addr,
        raft_addr_local: plan.raft_addr_local,
        managers,
        raft: stated.raft,
        certificate: CertificateTimes {
            node_not_before: Some(identity.node_certificate.not_before),
            node_not_after: Some(identity.node_certificate.not_after),
            root_not_after: Some(identity.root_ca.not_after),
        },
        autolock: plan.autolock,
        kek_version: None,
        proof: stated.proof,
        proof_reason: stated.reason,
        restore: hints(inventory, identity, plan),
        snapshot,
        counts: proof::counts(inventory),
        specs: plan.specs,
        payload: (),
    }
}

/// Returns how the copy was made. Without a downtime the engine was left running.
pub fn snapshot(mode: Mode, downtime: Option<&Downtime>) -> Snapshot {
    Snapshot {
        mode: match (downtime, mode) {
            (None, _) => SnapshotMode::Running,
            (Some(_), Mode::Cold) => SnapshotMode::Cold,
            (Some(_), Mode::Freeze) => SnapshotMode::Freeze,
        },
        engine_down_ms: downtime.map_or(0, |down| down.total_ms),
        ours_ms: downtime.map_or(0, |down| down.ours_ms),
    }
}

/// The managers other than this one, as the swarm lists them.
pub fn other_managers(nodes: &[Node], own: &str) -> Vec<Manager> {
    let others = nodes.iter().filter(|node| node.id != own);
    others
        .filter_map(|node| {
            let status = node.manager.as_ref()?;
            Some(Manager {
                node_id: node.id.clone(),
                addr: status.addr.clone().unwrap_or_default(),
                hostname: Some(node.hostname.clone()).filter(|name| !name.is_empty()),
            })
        })
        .collect()
}

/// Hints for a restore. An inventory from the log is exact, and of the same moment as the copy; without a log it is the
/// engine's listing.
fn hints(inventory: &Inventory, identity: &Identity, plan: &BackupPlan) -> RestoreHints {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let engine = identity.engine.as_ref();
    RestoreHints {
        auto_lock_managers: inventory.cluster.autolock.unwrap_or_default(),
        force_rotate: inventory.cluster.force_rotate.unwrap_or_default(),
        listen_addr: engine.and_then(|engine| given(&engine.listen_addr)),
        advertise_addr: engine.and_then(|engine| given(&engine.advertise_addr)),
        data_path_addr: engine.and_then(|engine| given(&engine.data_path_addr)),
        data_path_port: engine.map(|engine| engine.data_path_port).filter(|port| *port != 0),
        data_root: plan.data_root().ok().map(|root| root.display().to_string()),
    }
}

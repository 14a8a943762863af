//! The clear part of an archive, from what was seen, and its place in the chain of backups.

use swarmdr_archive::{
    ManifestDraft,
    manifest::{CertificateTimes, FORMAT, Manager, Manifest, RestoreHints, Snapshot, SnapshotMode},
};

use super::{chain::Chain, plan::BackupPlan};
use crate::{
    config::Mode,
    host::{
        quiesce::Downtime,
        view::{ManagerView, Node},
    },
    proof,
    swarm::{Examined, Identity, Inventory},
};

/// Everything but the payload. Without a downtime the engine was left running.
pub fn draft(
    plan: &BackupPlan,
    view: &ManagerView,
    examined: &Examined,
    inventory: &Inventory,
    downtime: Option<&Downtime>,
    chain: &Chain,
) -> ManifestDraft {
    let identity = &examined.identity;
    let stated = proof::state(examined);
    Manifest {
        format: FORMAT,
        id: plan.id,
        sequence: chain.next_sequence(),
        previous: chain.previous(),
        created_at: plan.created_at,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        engine_version: plan.engine_version.clone(),
        cluster_id: plan.cluster_id.clone(),
        node_id: plan.node_id.clone(),
        hostname: plan.hostname.clone(),
        raft_addr: plan.raft_addr,
        raft_addr_local: plan.raft_addr_local,
        managers: other_managers(&view.nodes, &plan.node_id),
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
        snapshot: Snapshot {
            mode: match (downtime, plan.mode) {
                (None, _) => SnapshotMode::Running,
                (Some(_), Mode::Cold) => SnapshotMode::Cold,
                (Some(_), Mode::Freeze) => SnapshotMode::Freeze,
            },
            engine_down_ms: downtime.map_or(0, |down| down.total_ms),
            ours_ms: downtime.map_or(0, |down| down.ours_ms),
        },
        counts: proof::counts(inventory),
        payload: (),
    }
}

fn other_managers(nodes: &[Node], own: &str) -> Vec<Manager> {
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

/// The log is exact, and of the same moment as the copy; without it the inventory is the engine's listing.
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
        data_root: plan.state_dir.parent().map(|root| root.display().to_string()),
    }
}

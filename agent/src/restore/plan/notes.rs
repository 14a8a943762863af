//! Notes of a restore plan: what the operator should know before it is carried out.

use swarmdr_archive::manifest::Manifest;

use super::Here;
use crate::{outcome::count::count, restore::on_disk::OnDisk};

/// Returns what differs between the backup and this host, and what the restore brings with it.
pub(super) fn notes<P>(manifest: &Manifest<P>, here: &Here<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if manifest.engine_version != here.facts.version {
        notes.push(format!(
            "the state was written by engine {}; this host runs {}",
            manifest.engine_version, here.facts.version
        ));
    }
    if let Some(end) = manifest.certificate.node_not_after
        && end < here.now
    {
        notes.push(format!("the node certificate expired at {end}; force-new-cluster renews it"));
    }
    if let OnDisk::State(held) = here.on_disk {
        notes.push(format!("the state of {} on this host is moved aside", held.own));
    }
    let there = manifest.restore.data_root.as_deref();
    if let Some(there) = there.filter(|there| *there != here.facts.data_root.to_string_lossy()) {
        notes.push(format!(
            "the engine of the backup kept its data in {there}; this one keeps it in {}",
            here.facts.data_root.display()
        ));
    }
    if manifest.autolock {
        notes.push(
            "the swarm is autolocked: its key is on disk unencrypted until the new manager has locked it again"
                .to_owned(),
        );
    }
    if !manifest.managers.is_empty() {
        let names: Vec<&str> =
            manifest.managers.iter().map(|manager| manager.hostname.as_deref().unwrap_or(&manager.node_id)).collect();
        notes.push(format!(
            "{} will be listed as down until they are removed: {}",
            count(names.len() as u64, "old manager"),
            names.join(", ")
        ));
    }
    notes
}

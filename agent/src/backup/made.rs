//! A backup that is sealed in the spool: made of the copied state, and not stored in a vault yet.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use swarm_state::{Examined, Inventory, UnlockKey, Warning};
use swarmdr_archive::{ManifestDraft, Recipient, writer::Sealed};

use super::{
    Backup,
    examination::prove,
    lag, manifest,
    pack::{self, Parts},
    prepare::Prepared,
    snapshot::Snapshot,
    spool::Spooled,
};
use crate::{
    archive::removals::{memory::Memory, object::Object},
    downtime::pause::Downtime,
    host::engine::listing,
    keys::signing::SigningKey,
    outcome::phases::Phases,
};

/// A backup that is sealed in the spool, and not stored in a vault yet.
pub(super) struct Made {
    pub sealed: Sealed,
    pub spooled: Spooled,
    /// Findings about the copied state, for the operator.
    pub attention: Vec<String>,
    /// The objects that the backup holds; `None` if some may be missing in its inventory.
    pub objects: Option<Vec<Object>>,
}

impl Made {
    /// Returns what this host remembers of the backup once it is stored; `None` if its inventory is not complete.
    pub fn memory(&self) -> Option<Memory> {
        let manifest = &self.sealed.manifest;
        Some(Memory { backup: manifest.id, cluster: manifest.cluster_id.clone(), objects: self.objects.clone()? })
    }

    /// Error of an engine that did not come back, although its backup is sealed.
    pub fn only_sealed(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!(
            "backup {} is sealed in {}, but the engine did not come back",
            self.spooled.id,
            self.spooled.path.display()
        ))
    }
}

impl Backup<'_> {
    /// Examines the copy, unless `broken` is its examination already, and seals it into the spool.
    pub(super) async fn make(
        &self,
        prepared: &mut Prepared,
        (snapshot, state_key, broken): (Snapshot, Option<UnlockKey>, Option<Examined>),
        downtime: Option<&Downtime>,
        key: &SigningKey,
        phases: &mut Phases,
    ) -> Result<Made> {
        let Prepared { plan, view, uploader, recipients, previous, .. } = prepared;
        let mut attention = Vec::new();
        let (snapshot, examined) = match broken {
            Some(examined) => (snapshot, examined),
            None => {
                phases.begin("examine");
                prove(snapshot, state_key, plan, &mut attention).await?
            }
        };
        attention.extend(examined.raft.as_ref().and_then(|raft| lag::behind(view, raft)));
        attention.extend(view.unclear.iter().cloned());
        attention.extend(snapshot.strays());
        let of_disk = |warning: &&Warning| matches!(warning, Warning::SnapshotPassedOver { .. });
        attention.extend(examined.warnings.iter().filter(of_disk).map(Warning::to_string));
        // An inventory from the log is exact; the engine's listing was made a moment before the stop.
        let inventory = examined.inventory.clone().unwrap_or_else(|| listing::inventory(view));
        // What is not in the copy, or cannot be relied on there, is still to be backed up.
        plan.specs = plan.specs.filter(|_| lag::holds(view, &examined));
        // What an engine could not list would look removed.
        let is_complete = examined.inventory.is_some() || view.unclear.is_empty();
        let objects = is_complete.then(|| Object::all_of(&inventory));

        phases.begin("pack");
        let managers = manifest::other_managers(&view.nodes, plan.node_id.as_str());
        let copy = manifest::snapshot(plan.mode, downtime);
        let draft = manifest::draft(plan, managers, &examined, &inventory, copy, previous);
        let parts = self.parts(draft, &inventory, std::mem::take(recipients), key)?;
        let (_snapshot, sealed) = self.pack(snapshot, parts, uploader.spool.partial(plan.id)).await?;
        let spooled = uploader.spool.admit(plan.id)?;
        Ok(Made { sealed, spooled, attention, objects })
    }

    /// Everything that goes into the archive, apart from the copy.
    pub(super) fn parts(
        &self,
        manifest: ManifestDraft,
        inventory: &Inventory,
        recipients: Vec<Recipient>,
        key: &SigningKey,
    ) -> Result<Parts> {
        let (inventory, level) = (serde_json::to_value(inventory)?, self.run.config.backup.compression_level);
        Ok(Parts { manifest, inventory, recipients, level, key: Arc::clone(&key.key) })
    }

    /// Seals the copy into the new file `out`; returns the copy as well.
    pub(super) async fn pack(&self, snapshot: Snapshot, parts: Parts, out: PathBuf) -> Result<(Snapshot, Sealed)> {
        let (progress, shutdown) = (self.run.progress, self.run.shutdown.clone());
        let pack = tokio::task::spawn_blocking(move || {
            let sealed = pack::pack(&snapshot, parts, &out, progress, &shutdown)?;
            Ok((snapshot, sealed))
        });
        pack.await.context("the packing ended unexpectedly")?
    }
}

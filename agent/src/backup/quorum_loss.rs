//! Backup of a manager whose swarm has no leader. The API cannot list the swarm then, so all facts come from the
//! manager's own files, copied while its engine is stopped.

use std::path::PathBuf;

use anyhow::{Context, Result};
use swarm_state::{Damage, Examined, Inventory, Proof, UnlockKey};
use swarmdr_archive::{
    ManifestDraft,
    manifest::{self as archived, Manager, Manifest, SnapshotMode},
};

use super::{
    Backup, BackupPlan, check_space,
    deliver::{Sent, Uploader},
    examination::{NOT_RESTORABLE, check_identity, examine},
    fitness::Fitness,
    manifest,
    previous::PreviousBackups,
    snapshot::Snapshot,
};
use crate::{
    archive::owner,
    backup::spool::Spooled,
    config::Mode,
    downtime::running_before::RunningBefore,
    host::{
        engine::EngineFacts,
        files::{
            copy::{CopyLimits, Deadline},
            mirror::Writer,
            placement,
        },
        network::{self, LocalAddress},
    },
    keys::{recipients, signing},
    outcome::failure::Failure,
    vaults::Archive,
};

/// The sealed backup of a manager without quorum, which waits in the spool, and the copy that it was made of.
#[derive(Debug)]
pub struct QuorumLossBackup {
    pub manifest: Manifest,
    pub inventory: Inventory,
    /// The directory with the copied state, which the caller removes.
    pub copy: PathBuf,
    pub spooled: Spooled,
    archive: Archive,
}

/// Manifest of such a backup, without its payload. It can be made before anything is touched.
pub fn draft(plan: &BackupPlan, examined: &Examined, previous: &PreviousBackups) -> Result<ManifestDraft> {
    let inventory = examined.inventory.as_ref().context("a proven state has an inventory")?;
    let managers = recorded_managers(inventory, plan.node_id.as_str());
    // The engine is stopped for the recovery, not for the backup.
    let snapshot = archived::Snapshot { mode: SnapshotMode::Cold, engine_down_ms: 0, ours_ms: 0 };
    Ok(manifest::draft(plan, managers, examined, inventory, snapshot, previous))
}

/// Plan of such a backup; the identity comes from the state on disk.
pub fn plan(
    backup: &Backup<'_>,
    facts: &EngineFacts,
    examined: &Examined,
    addresses: &[LocalAddress],
) -> Result<BackupPlan> {
    let config = backup.run.config;
    Fitness::of(&facts.data_root.join("swarm"))?;
    let id = swarmdr_archive::BackupId::new(backup.run.now, crate::host::random::tag()?);
    let identity = &examined.identity;
    let own = owner::of(identity)?;
    let raft_addr = examined.raft_address.context("no file of the state holds the address of the manager")?;
    Ok(BackupPlan {
        created_at: id.created_at(),
        hostname: facts.hostname.clone(),
        engine_version: facts.version.clone(),
        cluster_id: own.cluster,
        node_id: own.node,
        raft_addr,
        raft_addr_local: network::has(addresses, raft_addr.ip()),
        // An engine without quorum cannot list what is set.
        specs: None,
        autolock: identity.key.is_some_and(|key| key.autolocked),
        mode: Mode::Cold,
        units: config.engine.units(),
        found: RunningBefore::default(),
        state_dir: facts.data_root.join("swarm"),
        snapshot_dir: placement::work_dir(&facts.data_root).join(format!("snapshot-{id}")),
        spool_file: config.spool_dir().join(format!("{id}.swarmdr")),
        vaults: config.vaults().iter().map(|vault| vault.url.clone()).collect(),
        recipients: config.recipients.clone(),
        notes: Vec::new(),
        id,
    })
}

impl Backup<'_> {
    /// Checks what can be checked before the engine is stopped: the state directory, space, and the recipients. Returns
    /// the allocated size of the copy, in bytes.
    pub fn check_quorum_loss_backup(&self, plan: &BackupPlan) -> Result<u64> {
        let allocated = Fitness::of(&plan.state_dir)?.allocated;
        check_space(plan, allocated)?;
        recipients::parse(self.run.config)?;
        Ok(allocated)
    }

    /// Copies the state and seals it into the spool. The engine must be stopped; `held` is called after the copy, and
    /// fails unless the engine has stayed so. At the `deadline` the failsafe may start it.
    pub async fn seal_quorum_loss_backup(
        &self,
        plan: &BackupPlan,
        key: Option<&UnlockKey>,
        uploader: &mut Uploader,
        deadline: Deadline,
        held: impl AsyncFn() -> Result<()>,
    ) -> Result<QuorumLossBackup> {
        uploader.spool.prepare()?;
        check_space(plan, Fitness::of(&plan.state_dir)?.allocated)?;
        // If a required vault does not answer, the backup follows the newest one in the vaults that do. Readers of the
        // chain allow for a backup whose writer could not reach the other vaults.
        let (previous, unlisted) = uploader.known_backups(&plan.cluster_id).await;
        if let Some(error) = unlisted {
            tracing::warn!("a required vault cannot be listed: {error:#}");
        }
        let (state_dir, snapshot_dir, shutdown) =
            (plan.state_dir.clone(), plan.snapshot_dir.clone(), self.run.shutdown.clone());
        let copy = tokio::task::spawn_blocking(move || -> Result<Snapshot> {
            let mut snapshot = Snapshot::begin(&state_dir, &snapshot_dir)?;
            snapshot.copy(Writer::Still, &CopyLimits { shutdown: &shutdown, deadline: Some(deadline) })?;
            snapshot.complete()?;
            Ok(snapshot)
        });
        let snapshot = copy.await.context("the copy ended unexpectedly")??;
        held().await?;
        let (snapshot, examined) = examine(snapshot, Mode::Cold, key.cloned()).await?;
        let examined = examined.context(NOT_RESTORABLE)?;
        check_identity(&examined.identity, plan)?;
        if let Proof::Unproven(damage) = &examined.proof {
            return Err(breaks(damage));
        }
        let inventory = examined.inventory.clone().context("a proven state has an inventory")?;
        let draft = draft(plan, &examined, &previous)?;
        let signing = signing::load_or_make(self.run.config)?;
        let recipients = recipients::parse(self.run.config)?;
        let parts = self.parts(draft, &inventory, recipients, &signing)?;
        let (snapshot, sealed) = self.pack(snapshot, parts, uploader.spool.partial(plan.id)).await?;
        let spooled = uploader.spool.admit(plan.id)?;
        let archive = Archive::sealed(&spooled.path, &sealed);
        Ok(QuorumLossBackup { manifest: sealed.manifest, inventory, copy: snapshot.keep(), spooled, archive })
    }

    /// Stores the backup in the vaults. If one of them does not take it, it waits in the spool, and the result gives
    /// the reason.
    pub async fn deliver_quorum_loss_backup(&self, made: &QuorumLossBackup, uploader: &mut Uploader) -> Result<Sent> {
        let patience = self.run.config.spool.patience.duration();
        Ok(uploader.deliver(&made.archive, patience).await?.into_sent())
    }
}

/// The refusal of a log from which no swarm can be formed.
pub fn breaks(damage: &Damage) -> anyhow::Error {
    Failure::refused(format!("the raft log of this manager breaks: {damage}"))
        .advice("no swarm can be formed from it; recover on another manager, or restore a backup")
        .into()
}

/// The other managers, as the raft log has them.
fn recorded_managers(inventory: &Inventory, own: &str) -> Vec<Manager> {
    let others = inventory.nodes.iter().filter(|node| node.id != own);
    others
        .filter_map(|node| {
            Some(Manager {
                node_id: node.id.clone(),
                addr: node.manager_addr.clone()?,
                hostname: Some(node.hostname.clone()).filter(|name| !name.is_empty()),
            })
        })
        .collect()
}

//! The backup of a manager whose swarm has no leader: nobody can be asked, so all that it says comes from the manager's
//! own files, copied while its engine is stopped.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use swarmdr_archive::{ManifestDraft, manifest::Manifest};

use super::{
    Backup, BackupPlan, NOT_RESTORABLE,
    chain::Chain,
    check_identity, check_space,
    deliver::{Courier, Sent},
    examine,
    fitness::Fitness,
    manifest,
    prepare::parse_recipients,
    snapshot::Snapshot,
};
use crate::{
    config::Mode,
    fault::Fault,
    host::{
        as_found::AsFound,
        copy::Patience,
        engine::EngineFacts,
        mirror::Writer,
        network::{self, LocalAddress},
        placement,
        quiesce::Downtime,
        view::{ManagerStatus, ManagerView, Node},
    },
    signing,
    spool::Spooled,
    swarm::{Damage, Examined, Inventory, Proof, UnlockKey},
    vaults::Archive,
};

/// A sealed backup that waits in the spool, and the copy that it was made of.
#[derive(Debug)]
pub struct Stranded {
    pub manifest: Manifest,
    pub inventory: Inventory,
    /// The state as it was copied, an own directory beside it. The caller's to remove.
    pub copy: PathBuf,
    pub spooled: Spooled,
    archive: Archive,
}

/// The head of such a backup, as far as it is known before anything is touched.
pub fn draft(backup: &Backup<'_>, plan: &BackupPlan, examined: &Examined, chain: &Chain) -> Result<ManifestDraft> {
    let inventory = examined.inventory.as_ref().context("a proven state has an inventory")?;
    Ok(manifest::draft(plan, &view_of(inventory), examined, inventory, Some(&none(backup)), chain))
}

/// The plan of such a backup: the identity comes from what was read of the state.
pub fn plan(
    backup: &Backup<'_>,
    facts: &EngineFacts,
    examined: &Examined,
    addresses: &[LocalAddress],
) -> Result<BackupPlan> {
    let config = backup.config;
    Fitness::of(&facts.data_root.join("swarm"))?;
    let id = swarmdr_archive::BackupId::new(backup.now, crate::random::tag()?);
    let identity = &examined.identity;
    let raft_addr = examined.raft_address.context("no file of the state says at which address the manager is")?;
    Ok(BackupPlan {
        created_at: id.created_at(),
        hostname: facts.hostname.clone(),
        engine_version: facts.version.clone(),
        cluster_id: identity.cluster_id.clone(),
        node_id: identity.node_id.clone(),
        raft_addr,
        raft_addr_local: network::has(addresses, raft_addr.ip()),
        autolock: identity.key.is_some_and(|key| key.autolocked),
        mode: Mode::Cold,
        units: config.engine.units(),
        found: AsFound::default(),
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
    /// What can be known to refuse it before the engine is stopped: space, and the recipients. Answers with the size of
    /// the copy, in bytes on disk.
    pub fn check_stranded(&self, plan: &BackupPlan) -> Result<u64> {
        let allocated = Fitness::of(&plan.state_dir)?.allocated;
        check_space(plan, allocated)?;
        parse_recipients(self.config)?;
        Ok(allocated)
    }

    /// Copies the state and seals it into the spool. The engine must be stopped, and `held` says whether it stayed so
    /// until the copy was made. `until` is when the failsafe may start it, and how long that is from the stop on.
    pub async fn seal_stranded(
        &self,
        plan: &BackupPlan,
        key: Option<&UnlockKey>,
        courier: &mut Courier,
        until: (Instant, Duration),
        held: impl AsyncFn() -> Result<()>,
    ) -> Result<Stranded> {
        courier.spool.prepare()?;
        check_space(plan, Fitness::of(&plan.state_dir)?.allocated)?;
        // Without a vault the chain is not known; its readers allow for a backup that was made on an island.
        let chain = courier.chain(&plan.cluster_id).await.unwrap_or_else(|error| {
            tracing::warn!("{error:#}");
            Chain::default()
        });
        let (state_dir, snapshot_dir, shutdown) =
            (plan.state_dir.clone(), plan.snapshot_dir.clone(), self.shutdown.clone());
        let copy = tokio::task::spawn_blocking(move || -> Result<Snapshot> {
            let mut snapshot = Snapshot::begin(&state_dir, &snapshot_dir)?;
            snapshot.copy(Writer::Still, &Patience { shutdown: &shutdown, until: Some(until) })?;
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
        let draft = draft(self, plan, &examined, &chain)?;
        let signing = signing::load_or_make(self.config)?;
        let recipients = parse_recipients(self.config)?;
        let parts = self.parts(draft, &inventory, recipients, &signing)?;
        let (snapshot, sealed) = self.pack(snapshot, parts, courier.spool.partial(plan.id)).await?;
        let spooled = courier.spool.admit(plan.id)?;
        let archive = Archive::sealed(&spooled.path, &sealed);
        Ok(Stranded { manifest: sealed.manifest, inventory, copy: snapshot.keep(), spooled, archive })
    }

    /// Brings it into the vaults. What could not be stored waits in the spool, and is told.
    pub async fn deliver_stranded(&self, stranded: &Stranded, courier: &mut Courier) -> Result<Sent> {
        let patience = Duration::from_secs(self.config.spool.patience);
        Ok(courier.deliver(&stranded.archive, patience).await?.into_sent())
    }
}

/// The refusal of a log from which no swarm can be formed.
pub fn breaks(damage: &Damage) -> anyhow::Error {
    Fault::refused(format!("the raft log of this manager breaks: {damage}"))
        .advice("no swarm can be formed from it; recover on another manager, or restore a backup")
        .into()
}

/// What the listing of a swarm with a leader would say, as far as a manifest needs it.
fn view_of(inventory: &Inventory) -> ManagerView {
    let status = |addr: &String| ManagerStatus { addr: Some(addr.clone()), ..ManagerStatus::default() };
    let nodes = inventory.nodes.iter().map(|node| Node {
        id: node.id.clone(),
        hostname: node.hostname.clone(),
        manager: node.manager_addr.as_ref().map(status),
        ..Node::default()
    });
    ManagerView { nodes: nodes.collect(), inventory: inventory.clone(), services: Vec::new(), unclear: Vec::new() }
}

/// The engine is stopped for the recovery, not for the backup.
fn none(backup: &Backup<'_>) -> Downtime {
    Downtime { since: backup.now, total_ms: 0, stopping_ms: 0, ours_ms: 0, ours_us: 0, starting_ms: 0 }
}

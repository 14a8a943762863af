//! The backup flow: plan, pre-copy, quiesce, snapshot, resume, examine, pack, store, confirm.
//!
//! Everything that can refuse comes before the engine is touched; everything that takes time comes
//! before that too, or after it is back. Between the two there is nothing but the copy of what changed last.

mod chain;
mod commit_mark;
mod deliver;
mod fitness;
mod lag;
pub mod managers;
mod manifest;
mod pack;
pub mod plan;
mod precopy;
mod prepare;
pub mod quorum;
mod report;
mod snapshot;
pub mod stranded;
mod take;
pub mod turn;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::{ManifestDraft, Recipient, writer::Sealed};

pub(crate) use chain::Chain;
pub use deliver::{Courier, Sent};
use fitness::Fitness;
use pack::Parts;
pub use plan::BackupPlan;
use precopy::Precopy;
pub use prepare::{Prepared, Step};
pub use report::{BackupReport, SentReport};
use snapshot::Snapshot;
pub use stranded::Stranded;
use take::Taken;

use crate::{
    config::{Config, Mode},
    fault::{Fault, Rendered},
    host::{
        absences::Absences,
        leftovers::{Note, RunNote, Stage},
        listing, space,
        unlock::RunningKey,
    },
    progress::Progress,
    report::Phases,
    shutdown::Shutdown,
    signing::{self, SigningKey},
    swarm::{self, Examined, Identity, Inventory, Proof, UnlockKey, Warning},
    vault::catalog::chain::Remembered,
    vaults::Archive,
    witness::Witness,
};

/// What a run is asked to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    pub if_due: bool,
    pub allow_quorum_loss: bool,
    /// Find out and say, send and write nothing.
    pub dry_run: bool,
}

/// A run and what it works with.
#[derive(Debug)]
pub struct Backup<'a> {
    pub config: &'a Config,
    pub shutdown: &'a Shutdown,
    pub progress: Progress,
    pub now: Timestamp,
}

impl Backup<'_> {
    /// Does what was planned.
    pub async fn run(&self, prepared: Prepared) -> Result<BackupReport> {
        let Prepared { mut plan, request, view, mut courier, recipients, mut chain, sent, unlock_key } = prepared;
        courier.spool.prepare()?;
        let key = signing::load_or_make(self.config)?;
        check_space(&plan, Fitness::of(&plan.state_dir)?.allocated)?;
        let mut phases = Phases::new();

        let mut note = RunNote::write(self.config, note(&plan))?;

        phases.begin("pre-copy");
        let state_key = unlock_key.as_ref().map(RunningKey::for_state).transpose()?;
        let precopy = self.precopy(&plan, state_key.as_ref()).await?;
        let recheck = self.recheck(request, &plan, &mut courier, &mut chain);
        let (taken, examined) = match precopy {
            Precopy::Sound(snapshot) => {
                let taken = self.take(&plan, snapshot, unlock_key.as_ref(), &mut phases, &mut note, recheck).await;
                let taken = self.or_in_vain(&plan, &note, taken)?;
                phases.begin("examine");
                self.or_in_vain(&plan, &note, taken.examine(state_key, &plan).await)?
            }
            Precopy::Broken(broken) => {
                self.shutdown.or_interrupted(recheck).await?;
                broken.left_alone(&plan)
            }
        };
        let Taken { snapshot, downtime, notes, mut attention, away } = taken;
        plan.notes.extend(notes);
        attention.extend(examined.raft.as_ref().and_then(|raft| lag::behind(&view, raft)));
        attention.extend(view.unclear.iter().cloned());
        attention.extend(snapshot.strays());
        let of_disk = |warning: &&Warning| matches!(warning, Warning::SnapshotPassedOver { .. });
        attention.extend(examined.warnings.iter().filter(of_disk).map(Warning::to_string));
        // The log itself is exact; the engine's listing was made a moment before the stop.
        let inventory = examined.inventory.clone().unwrap_or_else(|| listing::inventory(&view));

        phases.begin("pack");
        let draft = manifest::draft(&plan, &view, &examined, &inventory, downtime.as_ref(), &chain);
        let parts = self.parts(draft, &inventory, recipients, &key)?;
        let packed = self.pack(snapshot, parts, courier.spool.partial(plan.id)).await;
        let sealed = self.or_in_vain(&plan, &note, packed)?.1;
        let spooled = courier.spool.admit(plan.id)?;
        if let Some(error) = away {
            // Nothing is more urgent; the next run sends what waits.
            return Err(error.context(format!(
                "backup {} is sealed in {}, but the engine did not come back",
                plan.id,
                spooled.path.display()
            )));
        }
        if let (Some(downtime), Mode::Cold) = (&downtime, plan.mode) {
            Absences::note_good(&self.config.state_dir, downtime.since, downtime.stopping_ms);
        }

        phases.begin("store");
        let patience = Duration::from_secs(self.config.spool.patience);
        let delivery = courier.deliver(&Archive::sealed(&spooled.path, &sealed), patience).await?;
        let delivery = delivery.require_stored(&spooled)?;
        let (cluster, sequence) = (plan.cluster_id.clone(), sealed.manifest.sequence);
        let locked_until = delivery.kept.iter().filter_map(|kept| kept.lock).map(|lock| lock.until).max();
        Witness::of(self.config).note(Remembered { id: plan.id, cluster, sequence, locked_until });
        attention.extend(delivery.complaints());
        attention.append(&mut courier.attention);
        let report =
            BackupReport::new(plan, sealed, downtime, delivery.kept, phases.finish(), self.key_note(&key), attention);
        Ok(report.with_sent(sent))
    }

    /// Writes down an error that makes the engine's absence one for nothing; a person who interrupts it knows.
    fn or_in_vain<T>(&self, plan: &BackupPlan, note: &RunNote, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| {
            if plan.mode == Mode::Cold && note.was_away() && !self.shutdown.is_requested() {
                let rendered = Rendered::of(error);
                let why = rendered.because.first().unwrap_or(&rendered.what);
                Absences::note_in_vain(&self.config.state_dir, self.now, why.clone());
            }
        })
    }

    /// What the archive is made of, beside the copy.
    fn parts(
        &self,
        manifest: ManifestDraft,
        inventory: &Inventory,
        recipients: Vec<Recipient>,
        key: &SigningKey,
    ) -> Result<Parts> {
        let (inventory, level) = (serde_json::to_value(inventory)?, self.config.backup.compression_level);
        Ok(Parts { manifest, inventory, recipients, level, key: Arc::clone(&key.key) })
    }

    /// Seals the copy into `out`, and hands it back.
    async fn pack(&self, snapshot: Snapshot, parts: Parts, out: PathBuf) -> Result<(Snapshot, Sealed)> {
        let (progress, shutdown) = (self.progress, self.shutdown.clone());
        let pack = tokio::task::spawn_blocking(move || {
            let sealed = pack::pack(&snapshot, parts, &out, progress, &shutdown)?;
            Ok((snapshot, sealed))
        });
        pack.await.context("the packing ended unexpectedly")?
    }

    fn key_note(&self, key: &SigningKey) -> report::KeyNote {
        report::KeyNote {
            made: key.made,
            secret: self.config.signing_key_path(),
            public: key.key.public().to_string(),
            public_path: self.config.public_key_path(),
        }
    }
}

impl Taken {
    /// The proof of the copy; what breaks in it is told.
    async fn examine(mut self, key: Option<UnlockKey>, plan: &BackupPlan) -> Result<(Self, Examined)> {
        let (snapshot, examined) = examine(self.snapshot, plan.mode, key).await?;
        self.snapshot = snapshot;
        let examined = examined.context(NOT_RESTORABLE)?;
        check_identity(&examined.identity, plan)?;
        check_joined(&examined.identity)?;
        if let Proof::Unproven(damage) = &examined.proof {
            let told = format!("the backup is stored but cannot be relied on: its raft log breaks at {damage}");
            self.attention.push(told);
        }
        Ok((self, examined))
    }
}

const NOT_RESTORABLE: &str = "the copied state is not one that a swarm could be restored from; nothing was stored";

/// Reads the copied state as an engine would; runs beside the runtime, since it reads all of it.
async fn examine(
    snapshot: Snapshot,
    mode: Mode,
    key: Option<UnlockKey>,
) -> Result<(Snapshot, Result<Examined, swarm::Error>)> {
    let examine = tokio::task::spawn_blocking(move || -> Result<_> {
        let examined = || swarm::examine(snapshot.dir(), key.as_ref());
        let first = examined();
        let raft = first.as_ref().ok().and_then(|first| first.raft.as_ref());
        let is_behind = raft.is_some_and(|raft| raft.commit < raft.last_index);
        // A stopped engine has written all that it knew.
        let again = mode == Mode::Freeze && is_behind && commit_mark::complete(&snapshot)? > 0;
        let examined = if again { examined() } else { first };
        Ok((snapshot, examined))
    });
    examine.await.context("the examination ended unexpectedly")?
}

/// What to write down before the engine is touched.
pub fn note(plan: &BackupPlan) -> Note {
    Note {
        id: plan.id.to_string(),
        process: std::process::id(),
        begun_at: plan.created_at,
        mode: plan.mode,
        stage: Stage::BeforePause,
        snapshot_dir: plan.snapshot_dir.clone(),
    }
}

/// The copy takes what the files that are kept have allocated; the archive is at most as large again.
fn check_space(plan: &BackupPlan, state: u64) -> Result<()> {
    let data_root = plan.state_dir.parent().context("the state directory has no parent")?;
    let spool = plan.spool_file.ancestors().skip(1).find(|path| path.exists()).context("the spool has a parent")?;
    if space::same_filesystem(data_root, spool)? {
        return space::require(data_root, 2 * state, "a copy of the state and its archive");
    }
    space::require(data_root, state, "a copy of the state")?;
    space::require(spool, state, "the archive")
}

/// An engine clears this when it has come into the swarm, and only then says that it is active. A restore refuses it.
fn check_joined(identity: &Identity) -> Result<()> {
    if identity.engine.as_ref().is_none_or(|engine| !engine.join_in_progress) {
        return Ok(());
    }
    Err(Fault::refused("docker-state.json says that this node is still joining its swarm; nothing was stored")
        .advice("try again in a minute; if it stays so, demote this manager and promote it again")
        .into())
}

/// The files must belong to the swarm that the engine said it is in.
fn check_identity(identity: &Identity, plan: &BackupPlan) -> Result<()> {
    if identity.cluster_id == plan.cluster_id && identity.node_id == plan.node_id {
        return Ok(());
    }
    Err(Fault::failed(format!(
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

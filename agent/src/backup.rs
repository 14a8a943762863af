//! The backup flow: plan, pre-copy, quiesce, snapshot, resume, examine, pack, store, confirm.
//!
//! Everything that can refuse comes before the engine is touched; everything that takes time comes
//! before that too, or after it is back. Between the two there is nothing but the copy of what changed last.

mod aftermath;
mod chain;
mod commit_mark;
mod deliver;
mod fitness;
#[cfg(test)]
mod growth;
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

use aftermath::Aftermath;
pub(crate) use chain::Chain;
use deliver::Delivery;
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
        listing,
        quiesce::Downtime,
        space,
        unlock::RunningKey,
    },
    progress::Progress,
    report::Phases,
    shutdown::Shutdown,
    signing::{self, SigningKey},
    spool::Spooled,
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

/// A backup that is made, and not stored yet.
struct Made {
    sealed: Sealed,
    spooled: Spooled,
    /// What is worth a look in what was copied.
    attention: Vec<String>,
}

impl Backup<'_> {
    /// Does what was planned.
    pub async fn run(&self, mut prepared: Prepared) -> Result<BackupReport> {
        prepared.courier.spool.prepare()?;
        let key = signing::load_or_make(self.config)?;
        check_space(&prepared.plan, Fitness::of(&prepared.plan.state_dir)?.allocated)?;
        let mut phases = Phases::new();
        let mut note = RunNote::write(self.config, note(&prepared.plan))?;
        if prepared.plan.mode == Mode::Cold {
            Absences::require_writable(&self.config.state_dir)?;
        }

        phases.begin("pre-copy");
        let state_key = prepared.unlock_key.as_ref().map(RunningKey::for_state).transpose()?;
        let copied = self.copy(&mut prepared, state_key.as_ref(), &mut phases, &mut note).await;
        let (taken, broken) = self.or_in_vain(&prepared.plan, &note, copied)?;
        let Taken { snapshot, downtime, notes, attention, away } = taken;
        prepared.plan.notes.extend(notes);
        let after = Aftermath { away, missing: attention };

        let state = (snapshot, state_key, broken);
        let made = self.make(&mut prepared, state, downtime.as_ref(), &key, &mut phases).await;
        let made = match self.or_in_vain(&prepared.plan, &note, made) {
            Ok(made) => made,
            Err(error) => return Err(after.told_with(error)),
        };
        if after.away.is_none() {
            note.advance(Stage::Sealed);
        }
        if let Some(error) = after.away {
            // Nothing is more urgent; the next run sends what waits.
            return Err(error.context(format!(
                "backup {} is sealed in {}, but the engine did not come back",
                prepared.plan.id,
                made.spooled.path.display()
            )));
        }
        if let (Some(downtime), Mode::Cold) = (&downtime, prepared.plan.mode) {
            Absences::note_good(&self.config.state_dir, downtime.since, downtime.stopping_ms);
        }

        phases.begin("store");
        let mut courier = prepared.courier;
        let delivery = match self.store(&mut courier, &made).await {
            Ok(delivery) => delivery,
            Err(error) => return Err(after.told_with(error)),
        };
        let mut attention = after.missing;
        attention.extend(made.attention.into_iter().chain(delivery.complaints()).chain(courier.attention));
        let (plan, phases) = (prepared.plan, phases.finish());
        let report =
            BackupReport::new(plan, made.sealed, downtime, delivery.kept, phases, self.key_note(&key), attention);
        Ok(report.with_sent(prepared.sent))
    }

    /// Copies the state, with the engine away for the last of it. An engine whose log is found to be broken is left alone;
    /// then the examination has been done.
    async fn copy(
        &self,
        prepared: &mut Prepared,
        state_key: Option<&UnlockKey>,
        phases: &mut Phases,
        note: &mut RunNote,
    ) -> Result<(Taken, Option<Examined>)> {
        let Prepared { plan, request, courier, chain, unlock_key, .. } = prepared;
        let precopy = self.precopy(plan, state_key).await?;
        let recheck = self.recheck(*request, plan, courier, chain, unlock_key.as_ref());
        match precopy {
            Precopy::Sound(snapshot) => {
                Ok((self.take(plan, snapshot, unlock_key.as_ref(), phases, note, recheck).await?, None))
            }
            Precopy::Broken(broken) => {
                self.shutdown.or_interrupted(recheck).await?;
                let (taken, examined) = broken.left_alone(plan);
                Ok((taken, Some(examined)))
            }
        }
    }

    /// Proves the copy, unless that was done, and seals it into the spool.
    async fn make(
        &self,
        prepared: &mut Prepared,
        (snapshot, state_key, broken): (Snapshot, Option<UnlockKey>, Option<Examined>),
        downtime: Option<&Downtime>,
        key: &SigningKey,
        phases: &mut Phases,
    ) -> Result<Made> {
        let Prepared { plan, view, courier, recipients, chain, .. } = prepared;
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
        // The log itself is exact; the engine's listing was made a moment before the stop.
        let inventory = examined.inventory.clone().unwrap_or_else(|| listing::inventory(view));

        phases.begin("pack");
        let draft = manifest::draft(plan, view, &examined, &inventory, downtime, chain);
        let parts = self.parts(draft, &inventory, std::mem::take(recipients), key)?;
        let (_snapshot, sealed) = self.pack(snapshot, parts, courier.spool.partial(plan.id)).await?;
        let spooled = courier.spool.admit(plan.id)?;
        Ok(Made { sealed, spooled, attention })
    }

    /// Brings it where it has to be, and remembers that.
    async fn store(&self, courier: &mut Courier, made: &Made) -> Result<Delivery> {
        let patience = Duration::from_secs(self.config.spool.patience);
        let delivery = courier.deliver(&Archive::sealed(&made.spooled.path, &made.sealed), patience).await?;
        let delivery = delivery.require_stored(&made.spooled)?;
        let manifest = &made.sealed.manifest;
        let locked_until = delivery.kept.iter().filter_map(|kept| kept.lock).map(|lock| lock.until).max();
        Witness::of(self.config).note(Remembered {
            id: manifest.id,
            cluster: manifest.cluster_id.clone(),
            sequence: manifest.sequence,
            locked_until,
            digest: Some(made.sealed.manifest_digest),
        });
        Ok(delivery)
    }

    /// Writes down an error that makes the engine's absence one for nothing. A person who interrupts it knows, unless the
    /// engine is not back.
    fn or_in_vain<T>(&self, plan: &BackupPlan, note: &RunNote, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| {
            let is_wish = self.shutdown.is_requested() && note.is_back();
            if plan.mode == Mode::Cold && note.was_away() && !is_wish {
                let rendered = Rendered::of(error);
                let why = rendered.because.first().unwrap_or(&rendered.what);
                Absences::note_in_vain(&self.config.state_dir, note.in_vain(why.clone()));
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

/// The proof of the copy; what breaks in it is told.
async fn prove(
    snapshot: Snapshot,
    key: Option<UnlockKey>,
    plan: &BackupPlan,
    attention: &mut Vec<String>,
) -> Result<(Snapshot, Examined)> {
    let (snapshot, examined) = examine(snapshot, plan.mode, key).await?;
    let examined = examined.context(NOT_RESTORABLE)?;
    check_identity(&examined.identity, plan)?;
    check_joined(&examined.identity)?;
    if let Proof::Unproven(damage) = &examined.proof {
        let told = format!("the backup is stored but cannot be relied on: its raft log breaks at {damage}");
        attention.push(told);
    }
    Ok((snapshot, examined))
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
        since: None,
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

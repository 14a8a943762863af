//! The backup flow: plan, pre-copy, quiesce, snapshot, resume, examine, pack, store, confirm.
//!
//! All checks that can refuse a backup run before the engine is touched. Everything that takes time runs before that
//! too, or after the engine is back. While it is stopped or frozen, the agent only copies what changed since the
//! pre-copy.

mod aftermath;
mod attempt;
pub mod changes;
mod commit_mark;
mod conclusion;
mod deliver;
pub mod designation;
mod examination;
mod fitness;
#[cfg(test)]
mod growth;
mod lag;
mod made;
pub mod managers;
mod manifest;
pub(crate) mod pack;
pub mod plan;
mod precopy;
mod prepare;
mod previous;
pub mod quorum;
pub mod quorum_loss;
mod recheck;
mod report;
mod saved;
mod snapshot;
pub mod spool;
mod superseded;
mod take;
mod turn;

use anyhow::{Context, Result};

use aftermath::Aftermath;
use conclusion::Taken;
use deliver::Delivery;
pub use deliver::{Sent, Uploader};
pub use designation::NotOurTurn;
use fitness::Fitness;
use made::Made;
pub use plan::BackupPlan;
use precopy::Precopy;
pub use prepare::{Prepared, Step};
pub(crate) use previous::PreviousBackups;
pub use quorum_loss::QuorumLossBackup;
pub use report::{BackupReport, SentReport};
use saved::Kept;
pub use saved::{Belief, Saved};
use swarm_state::{Examined, UnlockKey};
use swarmdr_vault::catalog::lineage::Remembered;

use crate::{
    config::{Config, Mode},
    downtime::{
        run_note::{Note, RunNote, Stage},
        stop_history::StopHistory,
    },
    host::{engine::unlock::RunningKey, files::space},
    keys::signing::{self, SigningKey},
    outcome::{failure::Rendered, phases::Phases},
    run::Run,
    vaults::{Archive, Shared, last_seen::LastSeen},
};

/// When a run makes a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum When {
    /// In any case, on this host.
    #[default]
    Now,
    /// If a due time of the schedule has passed, on the manager whose turn it is.
    Due,
    /// If people changed the swarm since its newest backup, on the manager whose turn it is.
    Changed,
}

/// Options of a backup run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    pub when: When,
    pub allow_quorum_loss: bool,
    /// True to check and report only: nothing is sent or written.
    pub dry_run: bool,
}

/// A backup run and its context.
#[derive(Debug)]
pub struct Backup<'a> {
    pub run: Run<'a>,
    pub vaults: Shared,
    /// The configuration whose vaults and locks hold for what other runs made, if this run has others.
    pub usual: Option<&'a Config>,
}

impl Backup<'_> {
    /// Carries out the plan, unless another manager has made the backup by then.
    pub async fn run(&self, mut prepared: Prepared) -> Result<Result<BackupReport, NotOurTurn>> {
        let (key, mut note) = self.begin(&prepared)?;
        let mut phases = Phases::new();
        phases.begin("pre-copy");
        let state_key = prepared.unlock_key.as_ref().map(RunningKey::for_state).transpose()?;
        let copied = self.copy(&mut prepared, state_key.as_ref(), &mut phases, &mut note).await;
        let (taken, broken) = match self.record_failed_stop(&prepared.plan, &note, copied)? {
            Ok(copied) => copied,
            Err(why) => return Ok(Err(why)),
        };
        let Taken { snapshot, downtime, notes, attention, away } = taken;
        prepared.plan.notes.extend(notes);
        let after = Aftermath { away, missing: attention };

        let state = (snapshot, state_key, broken);
        let made = self.make(&mut prepared, state, downtime.as_ref(), &key, &mut phases).await;
        let made = match self.record_failed_stop(&prepared.plan, &note, made) {
            Ok(made) => made,
            Err(error) => return Err(after.add_to(error)),
        };
        if after.away.is_none() {
            note.advance(Stage::Sealed);
        }
        Saved::note(self.run.config, &prepared.plan, Kept::Spool);
        if let Some(error) = after.away {
            // Nothing is more urgent than this; the next run sends the archive.
            return Err(made.only_sealed(error));
        }
        if let (Some(downtime), Mode::Cold) = (&downtime, prepared.plan.mode) {
            StopHistory::note_good(&self.run.config.state_dir, downtime.since, downtime.stopping_ms);
        }

        phases.begin("store");
        let mut uploader = prepared.uploader;
        let delivery = match self.store(&mut uploader, &made).await {
            Ok(delivery) => delivery,
            Err(error) => return Err(after.add_to(error)),
        };
        Saved::note(self.run.config, &prepared.plan, Kept::Vault);
        let removed = made.memory().filter(|_| self.run.config.watch.removals);
        let removed = removed.and_then(|memory| memory.replace(&self.run.config.state_dir));
        let found = [after.missing, made.attention, delivery.complaints(), uploader.attention].concat();
        let (plan, phases) = (prepared.plan, phases.finish());
        let report = BackupReport::new(plan, made.sealed, downtime, delivery.kept, phases, self.key_note(&key), found);
        Ok(Ok(report.with_sent(prepared.sent).with_removed(removed)))
    }

    /// Makes sure, before anything is copied, that what the run will write can be written.
    fn begin(&self, prepared: &Prepared) -> Result<(SigningKey, RunNote)> {
        prepared.uploader.spool.prepare()?;
        let key = signing::load_or_make(self.run.config)?;
        check_space(&prepared.plan, Fitness::of(&prepared.plan.state_dir)?.allocated)?;
        let note = RunNote::write(self.run.config, note(&prepared.plan))?;
        if prepared.plan.mode == Mode::Cold {
            StopHistory::require_writable(&self.run.config.state_dir)?;
        }
        Ok((key, note))
    }

    /// Copies the state; the engine is stopped or frozen only for the last part of it. If its log turns out to be
    /// damaged, the engine is left running, and the examination of the copy is returned as well.
    async fn copy(
        &self,
        prepared: &mut Prepared,
        state_key: Option<&UnlockKey>,
        phases: &mut Phases,
        note: &mut RunNote,
    ) -> Result<Result<(Taken, Option<Examined>), NotOurTurn>> {
        let Prepared { plan, request, uploader, previous, unlock_key, .. } = prepared;
        let precopy = self.precopy(plan, state_key).await?;
        let recheck = self.recheck(*request, plan, uploader, previous, unlock_key.as_ref());
        match precopy {
            Precopy::Sound(snapshot) => {
                let taken = self.take(plan, snapshot, unlock_key.as_ref(), phases, note, recheck).await?;
                Ok(taken.map(|taken| (taken, None)))
            }
            Precopy::Broken(broken) => {
                let rechecked = self.run.shutdown.or_interrupted(recheck).await?;
                Ok(rechecked.map(|()| {
                    let (taken, examined) = broken.left_alone(plan);
                    (taken, Some(examined))
                }))
            }
        }
    }

    /// Stores the backup in the vaults, and records it as the newest one that this host knows of.
    async fn store(&self, uploader: &mut Uploader, made: &Made) -> Result<Delivery> {
        let patience = self.run.config.spool.patience.duration();
        let delivery = uploader.deliver(&Archive::sealed(&made.spooled.path, &made.sealed), patience).await?;
        let delivery = delivery.require_stored(&made.spooled)?;
        let manifest = &made.sealed.manifest;
        let locked_until = delivery.kept.iter().filter_map(|kept| kept.lock).map(|lock| lock.until).max();
        LastSeen::of(self.run.config).note(Remembered {
            id: manifest.id,
            cluster: manifest.cluster_id.clone(),
            sequence: manifest.sequence,
            locked_until,
            digest: Some(made.sealed.manifest_digest),
        });
        Ok(delivery)
    }

    /// Records a stop in vain in the stop history if the outcome is an error after the engine was stopped. An
    /// interruption by the operator is recorded only if the engine is not back.
    fn record_failed_stop<T>(&self, plan: &BackupPlan, note: &RunNote, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| {
            let is_wish = self.run.shutdown.is_requested() && note.is_back();
            if plan.mode == Mode::Cold && note.was_down() && !is_wish {
                let rendered = Rendered::of(error);
                let why = rendered.because.first().unwrap_or(&rendered.what);
                StopHistory::note_in_vain(&self.run.config.state_dir, note.in_vain(why.clone()));
            }
        })
    }

    fn key_note(&self, key: &SigningKey) -> report::KeyNote {
        report::KeyNote {
            made: key.made,
            secret: self.run.config.signing_key_path(),
            public: key.key.public().to_string(),
            public_path: self.run.config.public_key_path(),
        }
    }
}

/// Content of the note that a run writes before it touches the engine.
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

/// Requires space for the copy and the archive. `state` is the allocated size of the files that are kept, in bytes: the
/// copy takes as much, and the archive at most as much again.
fn check_space(plan: &BackupPlan, state: u64) -> Result<()> {
    let data_root = plan.data_root()?;
    let spool = plan.spool_file.ancestors().skip(1).find(|path| path.exists()).context("the spool has a parent")?;
    if space::same_filesystem(data_root, spool)? {
        return space::require(data_root, 2 * state, "a copy of the state and its archive");
    }
    space::require(data_root, state, "a copy of the state")?;
    space::require(spool, state, "the archive")
}

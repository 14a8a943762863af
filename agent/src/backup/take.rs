//! The only part of a backup in which the engine is stopped or frozen.
//!
//! The pre-copy has made most of the copy, while the engine ran. Now the failsafe is armed, the engine is stopped or
//! frozen, the changes since then are copied, and the engine is brought back: on every way out, and by the failsafe if
//! this process cannot do it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use super::{Backup, BackupPlan, attempt::Attempt, conclusion::Taken, designation::NotOurTurn, snapshot::Snapshot};
use crate::{
    config::Mode,
    downtime::{
        engine_units::EngineControl,
        freeze::Freezer,
        pause::{Quiesced, overdue},
        run_note::{RunNote, Stage},
        stop_history::StopHistory,
        stop_time::{self, Allowed},
    },
    host::{
        engine::{log_lock, unlock::RunningKey},
        files::{copy::CopyLimits, mirror::Writer},
        systemd::inhibitor::Inhibitor,
    },
    outcome::{failpoint, failure::Failure, phases::Phases},
};

/// Number of attempts in freeze mode. A copy that took too long is tried once more: large changes are in the copy by
/// then, and the others were read once.
const FREEZE_ATTEMPTS: u32 = 2;

/// A copy that runs on a blocking thread.
enum Copying {
    Ended(Option<Snapshot>, Result<()>),
    /// It still runs at the deadline: the engine must not wait for it any longer.
    Late(JoinHandle<(Snapshot, Result<()>)>),
}

impl Backup<'_> {
    /// Pauses the engine, copies what changed since the pre-copy in `snapshot`, and brings the engine back, on every
    /// way out. `recheck` comes last before the engine is touched, since the pre-copy took time; it may leave the
    /// backup to another manager.
    pub(super) async fn take(
        &self,
        plan: &BackupPlan,
        mut snapshot: Snapshot,
        key: Option<&RunningKey>,
        phases: &mut Phases,
        note: &mut RunNote,
        recheck: impl Future<Output = Result<Result<(), NotOurTurn>>>,
    ) -> Result<Result<Taken, NotOurTurn>> {
        // The pre-copy took time, and an API call would start an engine that an operator has stopped meanwhile.
        EngineControl::require_awake(self.run.config).await?;
        let control = EngineControl::connect(self.run.config).await?;
        if plan.mode == Mode::Cold {
            // Checked again: the pre-copy took time, and containers come and go.
            let absences = StopHistory::read(&self.run.config.state_dir);
            stop_time::require(&control, &Allowed::of_backup(self.run.config), &absences).await?;
        }
        let mut notes = Vec::new();
        let why = "a backup has paused the Docker engine";
        let inhibitor = Inhibitor::take(control.systemd().bus(), why, self.run.shutdown).await;
        if let Err(error) = &inhibitor {
            notes.push(format!("a shutdown of this host would not have waited for the engine: {error:#}"));
        }
        if let Err(why) = self.run.shutdown.or_interrupted(recheck).await? {
            return Ok(Err(why));
        }
        let attempts = if plan.mode == Mode::Freeze { FREEZE_ATTEMPTS } else { 1 };
        for left in (0..attempts).rev() {
            let attempt = self.attempt(plan, &control, (snapshot, key.is_some()), phases, note).await?;
            match attempt {
                Attempt { overdue: true, resumed: Ok(_), snapshot: Some(again), .. } if left > 0 => {
                    tracing::warn!("the copy took too long; the engine was thawed, and one more try follows");
                    snapshot = again;
                }
                attempt => return self.conclude(plan, &control, attempt, key, notes).await.map(Ok),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Arms the failsafe, pauses the engine, copies and resumes. An error means that the engine was not touched.
    async fn attempt(
        &self,
        plan: &BackupPlan,
        control: &EngineControl,
        (snapshot, comes_locked): (Snapshot, bool),
        phases: &mut Phases,
        note: &mut RunNote,
    ) -> Result<Attempt> {
        phases.begin("quiesce");
        let armed = self.arm(plan, control).await;
        let mut quiesced = armed.context("no backup was made; the engine was not touched")?;
        note.advance(Stage::EngineDown);
        failpoint::reach("armed");
        let asked = Instant::now();
        let held = self.run.shutdown.or_interrupted(quiesced.hold()).await;
        if held.is_err() && quiesced.is_overdue() {
            note.stop_failed(asked.elapsed());
        }
        phases.begin_quietly("snapshot");
        // An engine that does not stop has an error of its own.
        let overdue_matters = held.is_ok() || plan.mode == Mode::Freeze;
        let copying = match held {
            Ok(()) => self.copy_while_it_stands_still(plan, &quiesced, snapshot).await,
            Err(error) => Copying::Ended(Some(snapshot), Err(error)),
        };
        let overdue = overdue_matters && quiesced.is_overdue();
        phases.begin_quietly("resume");
        let left_alone = plan.mode == Mode::Cold && !control.was_stopped();
        let stage = if left_alone { Stage::BeforePause } else { Stage::EngineBack };
        let (downtime, resumed) = quiesced.resume(comes_locked, || note.advance(stage)).await;
        let (snapshot, copied) = match copying {
            Copying::Ended(Some(snapshot), Ok(())) => complete(snapshot).await,
            Copying::Ended(snapshot, copied) => (snapshot, copied),
            // The copy ends at the deadline by itself, unless a disk hangs; the engine is back anyway.
            Copying::Late(copy) => {
                let snapshot = copy.await.ok().map(|(snapshot, _)| snapshot);
                (snapshot, Err(self.too_late(plan)))
            }
        };
        Ok(Attempt { snapshot, copied, downtime, resumed, overdue })
    }

    async fn arm(&self, plan: &BackupPlan, control: &EngineControl) -> Result<Quiesced> {
        let tag = plan.id.to_string();
        match plan.mode {
            Mode::Cold => {
                let limit = self.run.config.backup.max_pause.duration();
                Quiesced::arm_cold(control.clone(), &tag, limit).await
            }
            Mode::Freeze => {
                let limit = self.run.config.backup.max_freeze_ms.duration();
                let freezer = Freezer::prepare(control, &plan.state_dir).await?;
                Quiesced::arm_freeze(freezer, &tag, limit).await
            }
        }
    }

    /// Copies the changes, and returns at the deadline at the latest, even if the disk hangs.
    async fn copy_while_it_stands_still(
        &self,
        plan: &BackupPlan,
        quiesced: &Quiesced,
        mut snapshot: Snapshot,
    ) -> Copying {
        if plan.mode == Mode::Cold
            && let Err(error) = nobody_writes(plan)
        {
            return Copying::Ended(Some(snapshot), Err(error));
        }
        let (until, deadline) = (quiesced.until(), quiesced.deadline());
        let shutdown = self.run.shutdown.clone();
        let mut copy = tokio::task::spawn_blocking(move || {
            failpoint::reach("copying");
            let limits = CopyLimits { shutdown: &shutdown, deadline: Some(deadline) };
            let copied = snapshot.copy(Writer::Still, &limits);
            (snapshot, copied)
        });
        match tokio::time::timeout_at(until.into(), &mut copy).await {
            Ok(Ok((snapshot, Ok(())))) => {
                failpoint::reach("copied");
                let held = quiesced.check_held().await;
                let held = held.and_then(|()| if plan.mode == Mode::Cold { nobody_writes(plan) } else { Ok(()) });
                Copying::Ended(Some(snapshot), held)
            }
            Ok(Ok((snapshot, Err(error)))) => Copying::Ended(Some(snapshot), Err(error)),
            Ok(Err(panic)) => Copying::Ended(None, Err(panic).context("the copy ended unexpectedly")),
            Err(_) => Copying::Late(copy),
        }
    }

    fn limit(&self, plan: &BackupPlan) -> Duration {
        match plan.mode {
            Mode::Cold => self.run.config.backup.max_pause.duration(),
            Mode::Freeze => self.run.config.backup.max_freeze_ms.duration(),
        }
    }

    fn too_late(&self, plan: &BackupPlan) -> anyhow::Error {
        overdue(self.limit(plan))
    }
}

/// Fails if a process has the state open although the unit is stopped, such as an engine elsewhere.
fn nobody_writes(plan: &BackupPlan) -> Result<()> {
    if !log_lock::is_held(&plan.state_dir)? {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "a process still has the raft log in {} open although the engine was stopped; the copy was discarded",
        plan.state_dir.display()
    ))
    .advice("find it with `fuser -v` on the files in raft/wal-v3-encrypted: two engines on one state destroy it")
    .into())
}

/// Writes the changes into the copy that were only read during the pause.
async fn complete(mut snapshot: Snapshot) -> (Option<Snapshot>, Result<()>) {
    let complete = tokio::task::spawn_blocking(move || {
        let completed = snapshot.complete();
        (snapshot, completed)
    });
    match complete.await {
        Ok((snapshot, completed)) => (Some(snapshot), completed),
        Err(panic) => (None, Err(panic).context("the copy ended unexpectedly")),
    }
}

//! The only part of a backup in which the engine is away.
//!
//! Most of the copy was made before, beside the running engine. The failsafe is armed, the engine made to stand
//! still, what changed since copied, and the engine brought back: on every way out, and by the failsafe if this
//! process cannot.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use super::{Backup, BackupPlan, aftermath::Aftermath, snapshot::Snapshot};
use crate::{
    config::Mode,
    fault::Fault,
    faults,
    host::{
        absences::Absences,
        copy::Patience,
        engine::{Engine, EngineFacts, SwarmState},
        engine_units::EngineControl,
        freeze::Freezer,
        inhibitor::Inhibitor,
        leftovers::{RunNote, Stage},
        log_lock,
        mirror::Writer,
        quiesce::{Downtime, Quiesced, overdue},
        stop_price::{self, Allowed},
        unlock::RunningKey,
    },
    report::Phases,
};

/// A frozen engine that took too long is tried once more: by then most of the rest is copied too.
const FREEZE_ATTEMPTS: u32 = 2;

/// The state of an engine that stood still, copied, and the engine back.
pub struct Taken {
    pub snapshot: Snapshot,
    /// None if the engine was left alone.
    pub downtime: Option<Downtime>,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// What is wrong with the engine.
    pub attention: Vec<String>,
    /// Why the engine did not come back.
    pub away: Option<anyhow::Error>,
}

/// What became of one try.
struct Attempt {
    /// Lost where the copying ended unexpectedly.
    snapshot: Option<Snapshot>,
    copied: Result<()>,
    downtime: Downtime,
    resumed: Result<()>,
    /// The copy was not done in time.
    overdue: bool,
}

/// A copy that runs beside the runtime.
enum Copying {
    Ended(Option<Snapshot>, Result<()>),
    /// The engine must not wait for it any longer.
    Late(JoinHandle<(Snapshot, Result<()>)>),
}

impl Backup<'_> {
    /// Pauses the engine, copies what changed since the `snapshot` beside the running one, brings it back. It is brought
    /// back on every way out. `recheck` is asked last before the engine is touched, since that copy took time.
    pub(super) async fn take(
        &self,
        plan: &BackupPlan,
        mut snapshot: Snapshot,
        key: Option<&RunningKey>,
        phases: &mut Phases,
        note: &mut RunNote,
        recheck: impl Future<Output = Result<()>>,
    ) -> Result<Taken> {
        // The copy took time, and a question would start an engine that somebody has stopped meanwhile.
        EngineControl::require_awake(self.config).await?;
        let control = EngineControl::connect(self.config).await?;
        if plan.mode == Mode::Cold {
            // Once more: the copy took time, and containers come and go.
            let absences = Absences::read(&self.config.state_dir);
            stop_price::require(&control, &Allowed::of_backup(self.config), &absences).await?;
        }
        let mut notes = Vec::new();
        let why = "a backup has paused the Docker engine";
        let inhibitor = Inhibitor::take(control.systemd().bus(), why, self.shutdown).await;
        if let Err(error) = &inhibitor {
            notes.push(format!("a shutdown of this host would not have waited for the engine: {error:#}"));
        }
        self.shutdown.or_interrupted(recheck).await?;
        let attempts = if plan.mode == Mode::Freeze { FREEZE_ATTEMPTS } else { 1 };
        for left in (0..attempts).rev() {
            let attempt = self.attempt(plan, &control, (snapshot, key.is_some()), phases, note).await?;
            match attempt {
                Attempt { overdue: true, resumed: Ok(_), snapshot: Some(again), .. } if left > 0 => {
                    tracing::warn!("the copy took too long; the engine was thawed, and one more try follows");
                    snapshot = again;
                }
                attempt => return self.conclude(plan, &control, attempt, key, notes).await,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Arms, holds, copies, resumes. An error means that the engine was not touched.
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
        note.advance(Stage::EngineAway);
        faults::reach("armed");
        let asked = Instant::now();
        let held = self.shutdown.or_interrupted(quiesced.hold()).await;
        if held.is_err() && quiesced.is_overdue() {
            note.stop_failed(asked.elapsed());
        }
        phases.begin_quietly("snapshot");
        // An engine that does not stop has its own words.
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
            // It notices by itself, unless it waits for a disk that hangs; the engine is back all the same.
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
                let limit = Duration::from_secs(self.config.backup.max_pause);
                Quiesced::arm_cold(control.clone(), &tag, limit).await
            }
            Mode::Freeze => {
                let limit = Duration::from_millis(self.config.backup.max_freeze_ms);
                let freezer = Freezer::prepare(control, &plan.state_dir).await?;
                Quiesced::arm_freeze(freezer, &tag, limit).await
            }
        }
    }

    /// Comes back at the deadline at the latest, even if the disk hangs.
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
        let (until, limit) = (quiesced.until(), self.limit(plan));
        let shutdown = self.shutdown.clone();
        let mut copy = tokio::task::spawn_blocking(move || {
            faults::reach("copying");
            let patience = Patience { shutdown: &shutdown, until: Some((until, limit)) };
            let copied = snapshot.copy(Writer::Still, &patience);
            (snapshot, copied)
        });
        match tokio::time::timeout_at(until.into(), &mut copy).await {
            Ok(Ok((snapshot, Ok(())))) => {
                faults::reach("copied");
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
            Mode::Cold => Duration::from_secs(self.config.backup.max_pause),
            Mode::Freeze => Duration::from_millis(self.config.backup.max_freeze_ms),
        }
    }

    fn too_late(&self, plan: &BackupPlan) -> anyhow::Error {
        overdue(self.limit(plan))
    }

    async fn conclude(
        &self,
        plan: &BackupPlan,
        control: &EngineControl,
        attempt: Attempt,
        key: Option<&RunningKey>,
        mut notes: Vec<String>,
    ) -> Result<Taken> {
        let Attempt { snapshot, copied, downtime, resumed, overdue } = attempt;
        let copied = copied.and_then(|()| snapshot.context("the copy was lost"));
        match (copied, resumed) {
            (Ok(snapshot), Ok(())) => {
                // The copy is good whatever becomes of the engine, so it is stored first and told after.
                let late = self.await_engine(key).await.err();
                let mut attention: Vec<String> = late.iter().map(|error| format!("{error:#}")).collect();
                attention.extend(bring_back(plan, control, &mut notes).await);
                Ok(Taken { snapshot, downtime: Some(downtime), notes, attention, away: None })
            }
            // The engine was not even asked to stop.
            (Err(error), Ok(_)) if plan.mode == Mode::Cold && !control.was_stopped() => {
                Err(error.context("no backup was made; the engine was not touched"))
            }
            (Err(error), Ok(_)) => {
                let back = self.await_engine(key).await;
                let missing = bring_back(plan, control, &mut notes).await;
                notes.iter().for_each(|note| tracing::warn!("{note}"));
                let mut fault = Fault::failed("no backup was made; the engine runs again");
                if overdue {
                    fault = fault.advice(advice_on_time(plan.mode));
                }
                let late = back.err().map(|late| format!("{late:#}"));
                let missing = late.into_iter().chain(missing).collect();
                Err(Aftermath { away: None, missing }.told_with(fault.because(error).into()))
            }
            (Ok(snapshot), Err(error)) => {
                tracing::error!(
                    "the engine did not come back, and the copy of its state is good: storing it first: {error:#}"
                );
                let (downtime, attention) = (Some(downtime), Vec::new());
                Ok(Taken { snapshot, downtime, notes, attention, away: Some(error) })
            }
            (Err(first), Err(error)) => Err(Aftermath { away: Some(error), missing: Vec::new() }.told_with(first)),
        }
    }

    /// A started unit is not yet a working manager; an autolocked one is locked.
    async fn await_engine(&self, key: Option<&RunningKey>) -> Result<()> {
        let limit = Duration::from_secs(self.config.engine.start_timeout);
        let engine = Engine::at(&self.config.engine.socket);
        let back = |facts: &EngineFacts| matches!(facts.swarm.state, SwarmState::Active | SwarmState::Locked);
        let facts = engine.wait(limit, "the swarm on this host to be back", back).await?;
        if facts.swarm.state == SwarmState::Locked {
            let key = key.context("this manager is locked: unlock it with `docker swarm unlock`")?;
            let unlock = tokio::time::timeout(limit, key.unlock(&self.config.engine.socket));
            unlock
                .await
                .context("the engine took too long to unlock its swarm; do it with `docker swarm unlock`")??;
            let active = |facts: &EngineFacts| facts.swarm.state == SwarmState::Active;
            engine.wait(limit, "the unlocked swarm to be active", active).await?;
        }
        Ok(())
    }
}

/// When the swarm is back, which may have had to be unlocked for it. Answers with what is not as it was.
async fn bring_back(plan: &BackupPlan, control: &EngineControl, notes: &mut Vec<String>) -> Vec<String> {
    if plan.mode == Mode::Freeze {
        return Vec::new();
    }
    control.ask_for_dependents().await;
    let back = control.bring_back().await;
    notes.extend(back.notes);
    back.attention
}

/// The unit is stopped; this asks whether an engine elsewhere has the same state open.
fn nobody_writes(plan: &BackupPlan) -> Result<()> {
    if !log_lock::is_held(&plan.state_dir)? {
        return Ok(());
    }
    Err(Fault::failed(format!(
        "a process still has the raft log in {} open although the engine was stopped; the copy was thrown away",
        plan.state_dir.display()
    ))
    .advice("find it with `fuser -v` on the files in raft/wal-v3-encrypted: two engines on one state destroy it")
    .into())
}

/// What the pause was too short for.
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

fn advice_on_time(mode: Mode) -> &'static str {
    match mode {
        Mode::Cold => "find out why the disk is so slow, or raise backup.max_pause",
        Mode::Freeze => {
            "this host is too slow or too busy to freeze its engine for a moment: write `mode = \"cold\"` below `[backup]`"
        }
    }
}

//! The part of a restore that changes the host: from stopping the engine to the proof that the swarm
//! is back, and the way back if it is not.
//!
//! The engine may start by itself at any moment, as at a boot after a power cut. What it then finds, phase by phase:
//! the old state (`stop`), no state (`aside`), a state without `docker-state.json`, which it leaves alone (`place`,
//! `start`, `unlock`), the restored manager (`init` on). Only force-new-cluster itself is the engine's own: it writes
//! `docker-state.json` and the new membership one after the other. Between the two it starts as the old manager
//! without its peers: without a leader, and with nothing lost.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result};
use futures_util::FutureExt;

use super::{
    Restore, RestoreReport,
    confirm::Confirmed,
    formation::form,
    holding::OnDisk,
    journal::{Journal, Phase, Record, Reserve},
    strictness::Strictness,
};
use crate::{
    fault::Fault,
    faults,
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        engine_units::EngineControl,
        failsafe::Failsafe,
        key_file::{self, OpenKey},
        placement::Placement,
        systemd::UnitState,
    },
    report::Phases,
    stage,
};

/// For two renames, beyond what the engine may take to stop.
const PLACING: Duration = Duration::from_secs(60);

/// One change of this host.
pub struct Change<'a> {
    pub(super) restore: &'a Restore<'a>,
    pub(super) placement: Placement,
    pub(super) journal: Journal,
    pub(super) control: EngineControl,
    pub(super) engine: Engine,
    pub(super) start_limit: Duration,
    /// The key of a locked state, while it lies open.
    pub(super) open_key: Option<OpenKey>,
    /// What the forming of the cluster left to be told.
    pub(super) attention: Vec<String>,
    /// What could not be done on the way back beside what matters there.
    undo_complaints: Vec<String>,
    /// Starts the engine if this process does not: whatever lies there by then may be started.
    failsafe: Option<Failsafe>,
    /// What the unit was when it was stopped for the copy that is placed.
    stopped: Option<UnitState>,
    /// What lay on the disk when it was decided to replace it.
    replaces: Option<OnDisk>,
    /// How often a failsafe was armed; its units need names of their own.
    armed: u32,
}

impl<'a> Change<'a> {
    /// Connects to systemd; changes nothing yet.
    pub async fn new(restore: &'a Restore<'a>, placement: Placement, journal: Journal) -> Result<Self> {
        let config = restore.config;
        let look = async {
            let open_key = OpenKey::find(&placement.state_dir(), &placement.open_key())?;
            anyhow::Ok((open_key, EngineControl::connect(config).await?))
        };
        let (open_key, control) = match look.await {
            Ok(found) => found,
            // Nothing was changed, so nothing is left of it.
            Err(error) if journal.record.phase == Phase::Ready => {
                placement.tidy();
                journal.forget()?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            restore,
            placement,
            journal,
            control,
            engine: Engine::at(&config.engine.socket),
            start_limit: Duration::from_secs(config.engine.start_timeout),
            open_key,
            attention: Vec::new(),
            undo_complaints: Vec::new(),
            failsafe: None,
            stopped: None,
            replaces: None,
            armed: 0,
        })
    }

    pub(super) fn record(&self) -> &Record {
        &self.journal.record
    }

    /// Places, starts, forms the cluster and confirms it; on an error, a panic or a signal the old state
    /// is back and the engine started before this returns.
    pub async fn carry_out(self, phases: &mut Phases) -> Result<RestoreReport> {
        self.or_undo(async |change: &mut Self| {
            change.enter(Phase::Stop, phases)?;
            change.arm().await?;
            change.control.stop().await?;
            if let Some(stopped) = &change.stopped {
                change.control.check_stopped(stopped).await?;
            }
            change.check_replaced()?;
            change.enter(Phase::Aside, phases)?;
            change.placement.move_aside()?;
            change.enter(Phase::Place, phases)?;
            change.placement.place()?;
            change.form(phases).await
        })
        .await
    }

    /// Stops the engine; starts it again, and answers false, where `holds` does not while it is stopped. Call
    /// [`Change::form_again`] next if this is true.
    pub async fn stop_if(
        &mut self,
        holds: impl AsyncFnOnce(&Self) -> Result<bool>,
        phases: &mut Phases,
    ) -> Result<bool> {
        phases.begin("stop");
        self.arm().await?;
        let stopped = async {
            self.control.stop().await?;
            holds(self).await
        };
        let outcome = self.restore.shutdown.or_interrupted(stopped).await;
        if matches!(outcome, Ok(true)) {
            return Ok(true);
        }
        self.control.start().await?;
        self.disarm().await?;
        outcome
    }

    /// Goes on where the engine was asked to form the cluster and is not known to have done so; it is stopped.
    pub async fn form_again(self, phases: &mut Phases) -> Result<RestoreReport> {
        self.or_undo(async |change: &mut Self| {
            stage::take_out_engine_state(&change.placement.state_dir())?;
            change.form(phases).await
        })
        .await
    }

    /// Confirms a swarm that has been running on its own for a while: what is missing by now may have been removed, so
    /// nothing is undone. An open key that the earlier run left is overwritten once the engine has locked its own.
    pub async fn confirm_late(mut self, phases: &mut Phases) -> Result<RestoreReport> {
        let confirmed = match self.record().plan.readdress {
            Some(_) => Box::pin(self.finish_elsewhere(Strictness::Late, phases)).await?,
            None => {
                self.enter(Phase::Confirm, phases)?;
                self.confirm(Strictness::Late).await?
            }
        };
        Ok(self.finish(confirmed).await)
    }

    pub(super) async fn or_undo(
        mut self,
        attempt: impl AsyncFnOnce(&mut Self) -> Result<Confirmed>,
    ) -> Result<RestoreReport> {
        let shutdown = self.restore.shutdown;
        let attempt = shutdown.or_interrupted(attempt(&mut self));
        let outcome = AssertUnwindSafe(attempt).catch_unwind().await;
        match outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the restore panicked"))) {
            Ok(confirmed) => Ok(self.finish(confirmed).await),
            Err(error) if self.is_alone_elsewhere() => Err(stays(error)),
            Err(error) => Err(self.undo(error).await),
        }
    }

    /// At another address, once the old manager is none any more: this host has the only copy of the swarm that lives.
    fn is_alone_elsewhere(&self) -> bool {
        let phase = self.record().phase;
        self.record().plan.readdress.is_some() && (Phase::Remove..Phase::Undo).contains(&phase)
    }

    /// From a placed state and a stopped engine to a confirmed swarm.
    async fn form(&mut self, phases: &mut Phases) -> Result<Confirmed> {
        self.enter(Phase::Start, phases)?;
        // What hangs on the engine may want its swarm, or make one: it is started when that is back.
        self.control.start_engine().await?;
        let answers = |facts: &EngineFacts| facts.swarm.state == SwarmState::Inactive;
        self.engine.wait(self.start_limit, "the engine to answer without a swarm", answers).await?;
        self.disarm().await?;
        if key_file::is_locked_in(&self.placement.state_dir())? {
            self.enter(Phase::Unlock, phases)?;
            let key = self.restore.unlock_key.as_ref().context("the state is locked, and no unlock key was given")?;
            let mark = self.placement.open_key();
            self.open_key = Some(OpenKey::lay_open(&self.placement.state_dir(), key.for_state(), Some(&mark))?);
        }
        self.enter(Phase::Init, phases)?;
        let limit = Duration::from_secs(self.restore.config.restore.init_timeout);
        let record = self.record();
        let formed = form(&self.engine, &record.plan.init, record.recorded.as_ref(), limit).await?;
        self.attention.extend(formed);
        self.enter(Phase::Confirm, phases)?;
        self.confirm(Strictness::Fresh).await
    }

    /// What lies on the disk is what is to be replaced: until the engine was stopped somebody may have joined a swarm.
    pub fn only_over(mut self, replaces: OnDisk) -> Self {
        self.replaces = Some(replaces);
        self
    }

    pub(super) fn check_replaced(&self) -> Result<()> {
        let state_dir = self.placement.state_dir();
        match &self.replaces {
            Some(replaces) if OnDisk::read(&state_dir) != *replaces => Err(Fault::refused(
                "this host changed right before its engine was stopped: another state lies on its disk",
            )
            .advice("see `docker info` and `docker node ls`; run it again if the swarm there is still to be replaced")
            .into()),
            _ => Ok(()),
        }
    }

    /// Arms a failsafe for a stop that comes next; one that is armed already is replaced by it.
    pub(super) async fn arm(&mut self) -> Result<()> {
        let delay = Duration::from_secs(self.restore.config.engine.stop_timeout) + PLACING;
        self.armed += 1;
        let tag = format!("restore-{}-{}-{}", self.record().plan.id, std::process::id(), self.armed);
        let armed = Failsafe::arm(self.control.systemd(), &tag, &self.control.rescue(), delay).await?;
        if let Some(before) = self.failsafe.replace(armed) {
            before.disarm().await?;
        }
        Ok(())
    }

    /// The failsafe of a stop that came before, and what the unit was then: the failsafe stays armed until this change arms
    /// one of its own, and an engine that was started since has its state left alone.
    pub fn take_on(&mut self, failsafe: Failsafe, stopped: UnitState) {
        self.failsafe = Some(failsafe);
        self.stopped = Some(stopped);
    }

    pub(super) async fn disarm(&mut self) -> Result<()> {
        match self.failsafe.take() {
            Some(failsafe) => failsafe.disarm().await,
            None => Ok(()),
        }
    }

    /// Writes down what comes next.
    pub(super) fn enter(&mut self, phase: Phase, phases: &mut Phases) -> Result<()> {
        phases.begin(phase.word());
        self.journal.enter(phase)?;
        faults::reach(&format!("{}-noted", phase.word()));
        Ok(())
    }

    /// Writes the receipt: the swarm is back, whatever comes now. What is only awaited or optional comes after it and
    /// can add to what is reported, and undo nothing.
    pub(super) async fn finish(mut self, confirmed: Confirmed) -> RestoreReport {
        let aside = self.placement.aside().filter(|aside| aside.exists()).map(std::path::Path::to_owned);
        let before = self.record().clone();
        faults::reach("done");
        let mut attention = confirmed.attention.clone();
        if let Err(error) = self.journal.finish() {
            attention.push(format!("{error:#}; the next run looks at the swarm once more, and changes nothing"));
        }
        faults::reach("finished");
        self.placement.tidy();
        let mut report = self.report(confirmed);
        report.aside = aside.filter(|aside| aside.exists());
        let shutdown = self.restore.shutdown;
        let after = shutdown.or_interrupted(self.afterwards(&before, &mut report, &mut attention));
        let after = AssertUnwindSafe(after).catch_unwind().await;
        if let Err(error) = after.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic"))) {
            attention.push(format!("the swarm is back, but not all was done that comes after that: {error:#}"));
        }
        report.attention = attention;
        report
    }

    /// Puts back what was there and starts the engine; answers with the error to report.
    pub(super) async fn undo(mut self, cause: anyhow::Error) -> anyhow::Error {
        tracing::warn!("the restore failed; putting back what was there: {cause:#}");
        let undone = self.put_back().await;
        let state = self.placement.state_dir();
        match undone {
            Ok(kept) => {
                let mut fault = Fault::failed("the restore failed; what was there before is back and the engine runs");
                if let Some(kept) = kept {
                    fault =
                        fault.advice(format!("the state that did not work is kept in {} for a look", kept.display()));
                }
                for complaint in self.undo_complaints {
                    fault = fault.advice(complaint);
                }
                if let Err(error) = self.journal.forget() {
                    tracing::warn!("{error:#}");
                }
                self.placement.tidy();
                fault.because(cause).into()
            }
            Err(second) => {
                let mut fault = Fault::failed(format!("the restore failed ({cause:#}), and so did undoing it"));
                fault = fault.advice("run the same command again: it goes on with the undoing first");
                if let Some(aside) = self.placement.aside().filter(|aside| aside.exists()) {
                    fault = fault.advice(format!(
                        "or stop the engine, move {} away, rename {} to it, start the engine",
                        state.display(),
                        aside.display()
                    ));
                }
                fault.because(second).into()
            }
        }
    }

    /// Puts back what was there and starts the engine. Safe to repeat, from wherever it was cut short. Returns where the
    /// state that did not work was kept.
    ///
    /// A failsafe is armed before the engine is stopped, and the engine is asked to start on every way out: whatever
    /// lies there may be started. A note that cannot be written is reported and stops nothing, for renames and starts
    /// need no space.
    pub(super) async fn put_back(&mut self) -> Result<Option<std::path::PathBuf>> {
        if let Err(error) = self.journal.enter(Phase::Undo) {
            tracing::error!("{error:#}; going on without the note");
        }
        faults::reach("undo-noted");
        let placed = self.replace_back().await;
        faults::reach("undone");
        self.journal.release(Reserve::Start);
        let started = self.control.start().await.context("failed to start the engine on the old state");
        if started.is_ok()
            && let Err(error) = self.disarm().await
        {
            tracing::warn!("the failsafe could not be removed; it will find nothing to do: {error:#}");
        }
        let kept = placed?;
        started?;
        Ok(kept)
    }

    /// The part for which the engine is stopped.
    async fn replace_back(&mut self) -> Result<Option<std::path::PathBuf>> {
        if !self.placement.has_moved() {
            return Ok(None);
        }
        match self.arm().await {
            Err(error) if self.failsafe.is_some() => tracing::warn!("{error:#}; the earlier failsafe is armed still"),
            armed => armed?,
        }
        faults::reach("undo-armed");
        self.control.stop().await.context("failed to stop the engine to put the old state back")?;
        faults::reach("undo-stopped");
        let closed = self.close_key();
        let kept = self.placement.put_back()?;
        // Not what keeps the old state from coming back.
        if let Err(error) = closed {
            tracing::error!("{error:#}");
            let at = kept.as_deref().unwrap_or(&self.placement.work_dir()).display().to_string();
            self.undo_complaints.push(format!(
                "the key of the autolocked state may lie open in {at} ({error:#}): remove that directory with `shred`, or let nobody read this disk"
            ));
        }
        Ok(kept)
    }

    /// Locks the state that is put away, and overwrites the key that lay open.
    fn close_key(&self) -> Result<()> {
        if let Some(locked) = &self.record().locked_key {
            key_file::close(&self.placement.state_dir(), locked)?;
        }
        key_file::sweep(&self.placement.open_key())?;
        Ok(())
    }
}

/// After the point of no return of a move to another address.
fn stays(cause: anyhow::Error) -> anyhow::Error {
    Fault::failed("the swarm is on this host alone now, but moving it here did not come to its end")
        .advice("run the same command again: it goes on from there; nothing is undone")
        .because(cause)
        .into()
}

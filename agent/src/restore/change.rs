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
    formation::form,
    journal::{Journal, Phase, Record},
    strictness::Strictness,
};
use crate::{
    fault::Fault,
    faults,
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        engine_units::EngineControl,
        failsafe::{Failsafe, Rescue},
        key_file::{self, OpenKey},
        placement::Placement,
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
    /// Starts the engine if this process does not: whatever lies there by then may be started.
    failsafe: Option<Failsafe>,
}

impl<'a> Change<'a> {
    /// Connects to systemd; changes nothing yet.
    pub async fn new(restore: &'a Restore<'a>, placement: Placement, journal: Journal) -> Result<Self> {
        let config = restore.config;
        Ok(Self {
            restore,
            placement,
            journal,
            control: EngineControl::connect(config).await?,
            engine: Engine::at(&config.engine.socket),
            start_limit: Duration::from_secs(config.engine.start_timeout),
            open_key: None,
            attention: Vec::new(),
            failsafe: None,
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
            change.enter(Phase::Aside, phases)?;
            change.placement.move_aside()?;
            change.enter(Phase::Place, phases)?;
            change.placement.place()?;
            change.form(phases).await
        })
        .await
    }

    /// Goes on where the engine was asked to form the cluster and is not known to have done so.
    pub async fn form_again(self, phases: &mut Phases) -> Result<RestoreReport> {
        self.or_undo(async |change: &mut Self| {
            phases.begin("stop");
            change.arm().await?;
            change.control.stop().await?;
            stage::take_out_engine_state(&change.placement.state_dir())?;
            change.form(phases).await
        })
        .await
    }

    /// Confirms a swarm that has been running on its own for a while: what is missing by now may have been removed, so
    /// nothing is undone.
    pub async fn confirm_late(mut self, phases: &mut Phases) -> Result<RestoreReport> {
        let report = match self.record().plan.readdress {
            Some(_) => Box::pin(self.finish_elsewhere(Strictness::Late, phases)).await?,
            None => {
                self.enter(Phase::Confirm, phases)?;
                self.confirm(Strictness::Late).await?
            }
        };
        self.finish(report)
    }

    pub(super) async fn or_undo(
        mut self,
        attempt: impl AsyncFnOnce(&mut Self) -> Result<RestoreReport>,
    ) -> Result<RestoreReport> {
        let shutdown = self.restore.shutdown;
        let attempt = shutdown.or_interrupted(attempt(&mut self));
        let outcome = AssertUnwindSafe(attempt).catch_unwind().await;
        match outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the restore panicked"))) {
            Ok(report) => self.finish(report),
            Err(error) => Err(self.undo(error).await),
        }
    }

    /// From a placed state and a stopped engine to a confirmed swarm.
    async fn form(&mut self, phases: &mut Phases) -> Result<RestoreReport> {
        self.enter(Phase::Start, phases)?;
        self.control.start().await?;
        let answers = |facts: &EngineFacts| facts.swarm.state == SwarmState::Inactive;
        self.engine.wait(self.start_limit, "the engine to answer without a swarm", answers).await?;
        self.disarm().await?;
        if key_file::is_locked_in(&self.placement.state_dir())? {
            self.enter(Phase::Unlock, phases)?;
            let key = self.restore.unlock_key.as_ref().context("the state is locked, and no unlock key was given")?;
            self.open_key = Some(OpenKey::lay_open(&self.placement.state_dir(), key.for_state())?);
        }
        self.enter(Phase::Init, phases)?;
        let limit = Duration::from_secs(self.restore.config.restore.init_timeout);
        let record = self.record();
        let formed = form(&self.engine, &record.plan.init, record.recorded.as_ref(), limit).await?;
        self.attention.extend(formed);
        self.enter(Phase::Confirm, phases)?;
        self.confirm(Strictness::Fresh).await
    }

    pub(super) async fn arm(&mut self) -> Result<()> {
        let units = self.control.units().into_iter().map(str::to_owned).collect();
        let delay = Duration::from_secs(self.restore.config.engine.stop_timeout) + PLACING;
        let tag = format!("restore-{}", self.record().plan.id);
        self.failsafe = Some(Failsafe::arm(self.control.systemd(), &tag, &Rescue::Start(units), delay).await?);
        Ok(())
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

    /// The swarm is back, whatever comes now.
    pub(super) fn finish(mut self, mut report: RestoreReport) -> Result<RestoreReport> {
        let aside = self.placement.aside().filter(|aside| aside.exists()).map(std::path::Path::to_owned);
        faults::reach("done");
        self.journal.finish()?;
        self.placement.tidy();
        report.aside = aside.filter(|aside| aside.exists());
        Ok(report)
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

    /// Safe to repeat, from wherever it was cut short. Answers where the state that did not work was kept.
    pub(super) async fn put_back(&mut self) -> Result<Option<std::path::PathBuf>> {
        self.journal.enter(Phase::Undo)?;
        faults::reach("undo-noted");
        self.control.stop().await.context("failed to stop the engine to put the old state back")?;
        if let Some(locked) = self.record().locked_key.as_ref().filter(|_| self.placement.has_moved()) {
            // Not what keeps the old state from coming back.
            if let Err(error) = key_file::close(&self.placement.state_dir(), locked) {
                tracing::error!("{error:#}");
            }
        }
        let kept = self.placement.put_back()?;
        faults::reach("undone");
        self.control.start().await.context("failed to start the engine on the old state")?;
        self.disarm().await?;
        Ok(kept)
    }
}

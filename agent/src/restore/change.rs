//! The part of a restore that changes the host: from stopping the engine to the proof that the swarm is back.
//!
//! The engine may start by itself at any moment, as at a boot after a power cut. Phase by phase, it then finds: the old
//! state (`stop`), no state (`aside`), a state without `docker-state.json`, which it ignores (`place`, `start`,
//! `unlock`), the restored manager (from `init` on; from `place` on if the state was formed beforehand). Only force-new-cluster is up to the engine: it writes
//! `docker-state.json` first and the new membership second. An engine that is killed between the two starts as the old
//! manager without its peers: it has no leader, and nothing is lost.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result};
use futures_util::FutureExt;

use super::{
    Restore, RestoreReport,
    formation::form,
    journal::{Journal, Phase, Record},
    on_disk::OnDisk,
    report::Confirmed,
    strictness::Strictness,
};
use crate::{
    archive::stage,
    downtime::{engine_units::EngineControl, failsafe::Failsafe},
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        files::{
            key_file::{self, PlaintextKey},
            placement::Placement,
        },
        systemd::UnitState,
    },
    outcome::{failpoint, failure::Failure, phases::Phases},
};

/// Time for two renames, in addition to the stop timeout of the engine.
const PLACING: Duration = Duration::from_secs(60);

/// A change of this host that can be undone.
pub struct Change<'a> {
    pub(super) restore: &'a Restore<'a>,
    pub(super) placement: Placement,
    pub(super) journal: Journal,
    pub(super) control: EngineControl,
    pub(super) engine: Engine,
    pub(super) start_limit: Duration,
    /// The decrypted key file of an autolocked state, while there is one.
    pub(super) open_key: Option<PlaintextKey>,
    /// Warnings from the formation of the cluster.
    pub(super) attention: Vec<String>,
    /// Steps of an undo that failed and do not keep the old state from coming back.
    pub(super) undo_complaints: Vec<String>,
    /// Starts the engine if this process does not. Any state that is in place by then may be started.
    pub(super) failsafe: Option<Failsafe>,
    /// State of the unit when it was stopped for the copy that is placed.
    stopped: Option<UnitState>,
    /// Content of the state directory when the decision to replace it was made.
    replaces: Option<OnDisk>,
    /// Number of failsafes that were armed; each needs unit names of its own.
    armed: u32,
}

impl<'a> Change<'a> {
    /// Connects to systemd; changes nothing yet.
    pub async fn new(restore: &'a Restore<'a>, placement: Placement, journal: Journal) -> Result<Self> {
        let config = restore.run.config;
        let look = async {
            let open_key = PlaintextKey::find(&placement.state_dir(), &placement.open_key())?;
            anyhow::Ok((open_key, EngineControl::connect(config).await?))
        };
        let (open_key, control) = match look.await {
            Ok(found) => found,
            // Nothing was changed, so the journal has nothing to say.
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
            start_limit: config.engine.start_timeout.duration(),
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

    /// Places the state, starts the engine, forms the cluster and confirms it. After an error, a panic or a signal, the
    /// old state is back and the engine is started before this returns.
    pub async fn carry_out(self, phases: &mut Phases) -> Result<RestoreReport> {
        self.or_undo(async |change: &mut Self| {
            change.enter(Phase::Stop, phases)?;
            change.arm().await?;
            change.control.stop().await?;
            if let Some(stopped) = &change.stopped {
                change.control.check_stopped(stopped).await?;
            }
            change.check_replaced()?;
            change.use_claim()?;
            change.enter(Phase::Aside, phases)?;
            change.placement.move_aside()?;
            change.enter(Phase::Place, phases)?;
            change.placement.place()?;
            match change.record().plan.formed {
                true => change.take_up(phases).await,
                false => change.form(phases).await,
            }
        })
        .await
    }

    /// Stops the engine. Starts it again and returns false if `holds` is false once it is stopped. If this returns
    /// true, call [`Change::form_again`] next.
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
        let outcome = self.restore.run.shutdown.or_interrupted(stopped).await;
        if matches!(outcome, Ok(true)) {
            return Ok(true);
        }
        self.control.start().await?;
        self.disarm().await?;
        outcome
    }

    /// Continues where the engine, which is stopped, was asked to form the cluster and may not have done so.
    pub async fn form_again(self, phases: &mut Phases) -> Result<RestoreReport> {
        self.or_undo(async |change: &mut Self| {
            stage::take_out_engine_state(&change.placement.state_dir())?;
            change.form(phases).await
        })
        .await
    }

    /// Confirms a swarm that has been running for a while. Objects that are missing may have been removed since, so
    /// nothing is undone. A decrypted key that the earlier run left is overwritten once the engine has locked its own.
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
        let shutdown = self.restore.run.shutdown;
        let attempt = shutdown.or_interrupted(attempt(&mut self));
        let outcome = AssertUnwindSafe(attempt).catch_unwind().await;
        match outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the restore panicked"))) {
            Ok(confirmed) => Ok(self.finish(confirmed).await),
            Err(error) if self.is_alone_elsewhere() => Err(stays(error)),
            Err(error) => Err(self.undo(error).await),
        }
    }

    /// True at another address once the old manager is demoted: then this host has the only living copy of the swarm.
    fn is_alone_elsewhere(&self) -> bool {
        let phase = self.record().phase;
        self.record().plan.readdress.is_some() && (Phase::Remove..Phase::Undo).contains(&phase)
    }

    /// Goes from a placed state that was formed beforehand, and a stopped engine, to a confirmed swarm. From the placing on
    /// any start of the engine brings the swarm up.
    async fn take_up(&mut self, phases: &mut Phases) -> Result<Confirmed> {
        self.enter(Phase::Start, phases)?;
        self.control.start_engine().await?;
        let works = |facts: &EngineFacts| facts.swarm.works();
        self.engine.wait(self.start_limit, "the state that was formed beforehand to find its leader", works).await?;
        self.disarm().await?;
        self.enter(Phase::Confirm, phases)?;
        self.confirm(Strictness::Fresh).await
    }

    /// Goes from a placed state and a stopped engine to a confirmed swarm.
    async fn form(&mut self, phases: &mut Phases) -> Result<Confirmed> {
        self.enter(Phase::Start, phases)?;
        // Units that depend on the engine may use its swarm, or create one: they are started when the swarm is back.
        self.control.start_engine().await?;
        let answers = |facts: &EngineFacts| facts.swarm.state == SwarmState::Inactive;
        self.engine.wait(self.start_limit, "the engine to answer without a swarm", answers).await?;
        self.disarm().await?;
        if key_file::is_locked_in(&self.placement.state_dir())? {
            self.enter(Phase::Unlock, phases)?;
            let key =
                self.restore.keyring.unlock_key.as_ref().context("the state is locked, and no unlock key was given")?;
            let mark = self.placement.open_key();
            self.open_key = Some(PlaintextKey::decrypt(&self.placement.state_dir(), key.for_state(), Some(&mark))?);
        }
        self.enter(Phase::Init, phases)?;
        let limit = self.restore.run.config.restore.init_timeout.duration();
        let record = self.record();
        let formed = form(&self.engine, &record.plan.init, record.recorded.as_ref(), limit).await?;
        self.attention.extend(formed);
        self.enter(Phase::Confirm, phases)?;
        self.confirm(Strictness::Fresh).await
    }

    /// Checks that the state on disk is still the one that is to be replaced: an operator may have joined this host to
    /// a swarm until the engine was stopped.
    pub fn only_over(mut self, replaces: OnDisk) -> Self {
        self.replaces = Some(replaces);
        self
    }

    pub(super) fn check_replaced(&self) -> Result<()> {
        let state_dir = self.placement.state_dir();
        match &self.replaces {
            Some(replaces) if OnDisk::read(&state_dir) != *replaces => Err(Failure::refused(
                "this host changed right before its engine was stopped: there is another state on its disk",
            )
            .advice("see `docker info` and `docker node ls`; run it again if the swarm there is still to be replaced")
            .into()),
            _ => Ok(()),
        }
    }

    /// Arms a failsafe for the stop that follows, in place of one that is armed already.
    pub(super) async fn arm(&mut self) -> Result<()> {
        let delay = self.restore.run.config.engine.stop_timeout.duration() + PLACING;
        self.armed += 1;
        let tag = format!("restore-{}-{}-{}", self.record().plan.id, std::process::id(), self.armed);
        let armed = Failsafe::arm(self.control.systemd(), &tag, &self.control.rescue(), delay).await?;
        if let Some(before) = self.failsafe.replace(armed) {
            before.disarm().await?;
        }
        Ok(())
    }

    /// Takes over the failsafe of an earlier stop, and the state of the unit then. The failsafe stays armed until this
    /// change arms one of its own. If the engine was started since, its state is left alone.
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

    /// Records the next phase.
    pub(super) fn enter(&mut self, phase: Phase, phases: &mut Phases) -> Result<()> {
        phases.begin(phase.word());
        self.journal.enter(phase)?;
        failpoint::reach(&format!("{}-noted", phase.word()));
        Ok(())
    }
}

/// Describes a failure after the point of no return of a move to another address.
fn stays(cause: anyhow::Error) -> anyhow::Error {
    Failure::failed("the swarm is on this host alone now, but moving it here did not come to its end")
        .advice("run the same command again: it goes on from there; nothing is undone")
        .because(cause)
        .into()
}

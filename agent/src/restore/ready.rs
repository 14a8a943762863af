//! Waits for parts of a host that is still booting: the engine, the address, the vault.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use swarmdr_vault::catalog::{CatalogError, PointSeries};

use super::{Restore, RestorePlan};
use crate::{
    archive::source::{Choice, Found, Source},
    downtime::engine_units::EngineControl,
    host::{
        engine::{Engine, EngineFacts, process::EngineProcess},
        network::{self, LocalAddress, port},
        systemd::Systemd,
        wait,
    },
};

/// First pause between two polls; doubled each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Time for the engine to say which process it is. It listens for the swarm before it answers: on a busy host it took longer than
/// 10 s in between.
const OWN_PROCESS: Duration = Duration::from_secs(30);

/// Limit of each wait; zero polls once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    pub engine: Duration,
    pub address: Duration,
    pub vault: Duration,
    /// For other sites to leave no more signs of life.
    pub silence: Duration,
}

/// One wait: growing pauses up to a limit, and a log line when the reason for the wait changes.
pub(super) struct Backoff {
    since: Instant,
    pause: Duration,
    told: String,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), pause: FIRST_PAUSE, told: String::new() }
    }

    /// Pauses; returns false at once when `limit` is over.
    pub(super) async fn wait(&mut self, limit: Duration, missing: &str) -> bool {
        let left = limit.saturating_sub(self.since.elapsed());
        if left.is_zero() {
            return false;
        }
        if self.told != missing {
            tracing::info!("waiting up to {:.0} s: {missing}", left.as_secs_f64().ceil());
            missing.clone_into(&mut self.told);
        }
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// State of the engine's unit when the engine does not answer.
enum Unit {
    /// Not installed, or not installed yet.
    Unknown(String),
    /// Starting or stopping.
    Changing,
    Stopped,
    /// Running: it should answer.
    Active,
}

impl Restore<'_> {
    /// Returns the engine's facts once it answers. If `may_start`, an engine that is stopped is started: any state that
    /// a restore leaves on disk is safe to start.
    pub(crate) async fn await_engine(&self, limit: Duration, may_start: bool) -> Result<EngineFacts> {
        let engine = Engine::at(&self.run.config.engine.socket);
        let own = self.run.config.engine.start_timeout.duration();
        let mut backoff = Backoff::new();
        loop {
            let error = match engine.facts().await {
                Ok(facts) => return Ok(facts),
                Err(error) => error,
            };
            let service = &self.run.config.engine.service;
            let (limit, missing) = match self.engine_unit().await {
                Unit::Unknown(why) => (limit, why),
                Unit::Changing => (limit.max(own), format!("{service} is not up yet")),
                Unit::Active => (limit, format!("{service} runs but does not answer")),
                Unit::Stopped if !may_start => (limit, format!("{service} is stopped")),
                Unit::Stopped => match self.start_engine().await {
                    Ok(()) => (limit.max(own), format!("{service} was started and does not answer yet")),
                    Err(error) if backoff.since.elapsed() >= limit => return Err(error),
                    Err(error) => (limit, format!("{error:#}")),
                },
            };
            if !backoff.wait(limit, &missing).await {
                return Err(error.context(missing));
            }
        }
    }

    async fn start_engine(&self) -> Result<()> {
        tracing::info!("starting the engine");
        EngineControl::connect(self.run.config).await?.start().await
    }

    /// Refuses a host on which another process listens on the new manager's port. The engine itself releases the port
    /// when it stops.
    pub(super) async fn require_port(&self, plan: &RestorePlan) -> Result<()> {
        let Some(listen) = plan.listens_on() else { return Ok(()) };
        let socket = &self.run.config.engine.socket;
        // One that has just been started may be slow to reply, and must not be taken for another process.
        let ask = async || EngineProcess::answering(socket).await.ok();
        let own = async || wait::poll(OWN_PROCESS, FIRST_PAUSE, ask).await.map(|process| process.pid);
        port::require_free(listen, own).await
    }

    async fn engine_unit(&self) -> Unit {
        let service = &self.run.config.engine.service;
        let state = async { Systemd::connect().await?.state(service).await };
        match state.await {
            Err(error) => Unit::Unknown(format!("{error:#}")),
            Ok(unit) if unit.load != "loaded" => {
                Unit::Unknown(format!("systemd knows no unit {service} (it is {})", unit.load))
            }
            Ok(unit) if unit.is_stopped() => Unit::Stopped,
            Ok(unit) if unit.is_active() => Unit::Active,
            Ok(_) => Unit::Changing,
        }
    }

    /// Returns the addresses of this host once `wanted` is among them, or when the wait is over.
    pub(crate) async fn await_address(&self, limit: Duration, wanted: IpAddr) -> Result<Vec<LocalAddress>> {
        let missing = format!("no interface of this host has {wanted}");
        let mut backoff = Backoff::new();
        loop {
            let addresses = network::local_addresses()?;
            if network::has(&addresses, wanted) || !backoff.wait(limit, &missing).await {
                return Ok(addresses);
            }
        }
    }

    /// Returns the wanted backup once all vaults that may hold it could be searched.
    pub(super) async fn await_backup(&self, limit: Duration, choice: &Choice) -> Result<Found> {
        let mut backoff = Backoff::new();
        loop {
            let error = match Source::find(self.run.config, choice, &self.keyring.trusted, self.run.now).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let missing = format!("{error:#}");
            if !may_pass(&error) || !backoff.wait(limit, &missing).await {
                return Err(error);
            }
        }
    }
}

/// True if the answer is unknown because a vault could not be searched, for lack of a network or of credentials.
fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|link| {
        matches!(link.downcast_ref::<CatalogError>(), Some(CatalogError::Unanswered { .. }))
            || matches!(link.downcast_ref::<CatalogError<PointSeries>>(), Some(CatalogError::Unanswered { .. }))
    })
}

//! Waits for what is late on a host that is still booting: the engine, the address, the vault.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Restore, RestorePlan};
use crate::{
    host::{
        engine::{Engine, EngineFacts},
        engine_process::EngineProcess,
        engine_units::EngineControl,
        network::{self, LocalAddress},
        port,
        systemd::Systemd,
    },
    source::{Choice, Found, Source},
    vault::catalog::CatalogError,
};

/// Between two looks at something that is on its way; doubled each time, to at most [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long to wait for each; zero is one look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    pub engine: Duration,
    pub address: Duration,
    pub vault: Duration,
}

/// One wait: pauses that grow, up to a limit, and a line in the log when what is missing changes.
struct Patience {
    since: Instant,
    pause: Duration,
    told: String,
}

impl Patience {
    fn new() -> Self {
        Self { since: Instant::now(), pause: FIRST_PAUSE, told: String::new() }
    }

    /// False, at once, when `limit` is over.
    async fn wait(&mut self, limit: Duration, missing: &str) -> bool {
        let left = limit.saturating_sub(self.since.elapsed());
        if left.is_zero() {
            return false;
        }
        if self.told != missing {
            tracing::info!("waiting up to {} s: {missing}", left.as_secs());
            missing.clone_into(&mut self.told);
        }
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// What systemd makes of an engine that does not answer.
enum Unit {
    /// Not installed, or not yet.
    Unknown(String),
    /// On its way up or down.
    Changing,
    Stopped,
    /// It should answer.
    Active,
}

impl Restore<'_> {
    /// What the engine says, once it answers. One that is stopped is started where `may_start` says so: everything that
    /// a restore ever leaves on disk is safe to start.
    pub(crate) async fn await_engine(&self, limit: Duration, may_start: bool) -> Result<EngineFacts> {
        let engine = Engine::at(&self.config.engine.socket);
        let own = Duration::from_secs(self.config.engine.start_timeout);
        let mut patience = Patience::new();
        loop {
            let error = match engine.facts().await {
                Ok(facts) => return Ok(facts),
                Err(error) => error,
            };
            let service = &self.config.engine.service;
            let (limit, missing) = match self.engine_unit().await {
                Unit::Unknown(why) => (limit, why),
                Unit::Changing => (limit.max(own), format!("{service} is not up yet")),
                Unit::Active => (limit, format!("{service} runs but does not answer")),
                Unit::Stopped if !may_start => (limit, format!("{service} is stopped")),
                Unit::Stopped => match self.start_engine().await {
                    Ok(()) => (limit.max(own), format!("{service} was started and does not answer yet")),
                    Err(error) if patience.since.elapsed() >= limit => return Err(error),
                    Err(error) => (limit, format!("{error:#}")),
                },
            };
            if !patience.wait(limit, &missing).await {
                return Err(error.context(missing));
            }
        }
    }

    async fn start_engine(&self) -> Result<()> {
        tracing::info!("starting the engine");
        EngineControl::connect(self.config).await?.start().await
    }

    /// Refuses a host where something else listens in the new manager's place. The engine itself lets go when it stops.
    pub(super) async fn require_port(&self, plan: &RestorePlan) -> Result<()> {
        let own = EngineProcess::answering(&self.config.engine.socket).await.ok().map(|process| process.pid);
        plan.listens_on().map_or(Ok(()), |listen| port::require_free(listen, own))
    }

    async fn engine_unit(&self) -> Unit {
        let service = &self.config.engine.service;
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

    /// The addresses of this host, once `wanted` is among them; else as they are in the end.
    pub(crate) async fn await_address(&self, limit: Duration, wanted: IpAddr) -> Result<Vec<LocalAddress>> {
        let missing = format!("no interface of this host has {wanted}");
        let mut patience = Patience::new();
        loop {
            let addresses = network::local_addresses()?;
            if network::has(&addresses, wanted) || !patience.wait(limit, &missing).await {
                return Ok(addresses);
            }
        }
    }

    /// The backup that is meant, once all vaults could be searched that may hold it.
    pub(super) async fn await_backup(&self, limit: Duration, choice: &Choice) -> Result<Found> {
        let mut patience = Patience::new();
        loop {
            let error = match Source::find(self.config, choice, &self.keys, self.now).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let missing = format!("{error:#}");
            if !may_pass(&error) || !patience.wait(limit, &missing).await {
                return Err(error);
            }
        }
    }
}

/// Whether it is not known because a vault could not be searched: no network yet, no credentials yet.
fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|link| matches!(link.downcast_ref(), Some(CatalogError::Unanswered { .. })))
}

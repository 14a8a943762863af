//! The engine as systemd units: stopped and started as one, with the units that depend on it.
//!
//! Sockets and service are changed in one go: with the service alone, any client that connects to `docker.sock` starts
//! a stopped engine again (moby/moby#37468).

mod identity;
mod observed;
mod start;
mod stop;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;

use super::{bring_back_list::BringBackList, failsafe::Rescue, running_before::RunningBefore};
use crate::{
    config::{Config, EngineConfig},
    host::{
        engine::process::EngineProcess,
        systemd::{JobType, Systemd, UnitState},
    },
    outcome::failure::Failure,
};
use identity::require_same;
use observed::Observed;

/// The engine's units, the time limits for changing them, and the units and containers that were last seen to run.
#[derive(Debug, Clone)]
pub struct EngineControl {
    systemd: Systemd,
    service: String,
    /// Path of the socket on which the engine answers.
    socket: PathBuf,
    /// The process that answers there, if one does.
    process: Option<EngineProcess>,
    /// The units that are stopped and started, sockets first.
    engine: Arc<Vec<String>>,
    observed: Arc<Mutex<Observed>>,
    /// Path of the list of what must be brought back, which exists while the engine is down.
    list: PathBuf,
    stop_limit: Duration,
    start_limit: Duration,
}

impl EngineControl {
    /// Examines the units and their dependents, but no container. Refuses an engine that is not a systemd service, or
    /// not the configured one.
    pub async fn connect(config: &Config) -> Result<Self> {
        let systemd = Systemd::connect().await?;
        let units = &config.engine;
        let answering = EngineProcess::answering(&units.socket).await;
        let service = systemd.state(&units.service).await?;
        if let Ok(process) = &answering {
            require_same(&systemd, units, &service, process).await?;
        }
        let earlier = BringBackList::read_or_warn(&BringBackList::path(&config.state_dir)).map(|kept| kept.found);
        let engine = engine_units(&systemd, units, &service, earlier.as_ref()).await?;
        Self::of(config, systemd, units.service.clone(), engine, earlier.unwrap_or_default(), answering.ok()).await
    }

    /// Connects by the names of the units alone, to start what an earlier run stopped: makes no call to the engine,
    /// which may be frozen, down or another one.
    pub(super) async fn by_name(config: &Config, systemd: &Systemd) -> Result<Self> {
        let units = &config.engine;
        let earlier = BringBackList::read_or_warn(&BringBackList::path(&config.state_dir)).map(|kept| kept.found);
        // The units that were stopped, whatever is configured since.
        let service = earlier.iter().flat_map(|found| &found.engine).rfind(|unit| unit.ends_with(".service"));
        let service = service.unwrap_or(&units.service).clone();
        let state = systemd.state(&service).await?;
        let units = EngineConfig { service: service.clone(), ..units.clone() };
        let engine = engine_units(systemd, &units, &state, earlier.as_ref()).await?;
        Self::of(config, systemd.clone(), service, engine, earlier.unwrap_or_default(), None).await
    }

    async fn of(
        config: &Config,
        systemd: Systemd,
        service: String,
        engine: Vec<String>,
        earlier: RunningBefore,
        process: Option<EngineProcess>,
    ) -> Result<Self> {
        let units = &config.engine;
        let state = systemd.state(&service).await?;
        if state.load != "loaded" {
            return Err(Failure::failed(format!("systemd knows no unit {service} (it is {})", state.load))
                .advice("name the engine's unit with `engine.service` in the configuration")
                .into());
        }
        let control = Self {
            systemd,
            service,
            socket: units.socket.clone(),
            process,
            engine: Arc::new(engine),
            observed: Arc::default(),
            list: BringBackList::path(&config.state_dir),
            stop_limit: units.stop_timeout.duration(),
            start_limit: units.start_timeout.duration(),
        };
        let mut found = control.inspect_units().await?;
        found.join(&earlier.owed(state.is_on()));
        control.observed().found = found;
        Ok(control)
    }

    /// Refuses if any call would start an engine that an operator has stopped: its socket listens, and it is off.
    pub async fn require_awake(config: &Config) -> Result<()> {
        let (systemd, service) = (Systemd::connect().await?, &config.engine.service);
        if !systemd.state(service).await?.is_stopped() {
            return Ok(());
        }
        for socket in systemd.sockets_of(service).await? {
            if systemd.state(&socket).await?.is_on() {
                return Err(Failure::refused(format!(
                    "{service} is stopped, and any request through {socket} would start it"
                ))
                .advice(format!("start it if it is to run: `systemctl start {service}`"))
                .into());
            }
        }
        Ok(())
    }

    /// The names of the engine's units, in the order in which they are changed.
    pub fn units(&self) -> Vec<&str> {
        self.engine.iter().map(String::as_str).collect()
    }

    pub fn service(&self) -> &str {
        &self.service
    }

    pub fn systemd(&self) -> &Systemd {
        &self.systemd
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the units and containers that were last seen to run because the engine ran.
    pub fn found(&self) -> RunningBefore {
        self.observed().found.clone()
    }

    /// Replaces the units and containers that must be brought back.
    pub(super) fn owing(self, found: RunningBefore) -> Self {
        self.observed().found = found;
        self
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn list(&self) -> &Path {
        &self.list
    }

    pub(super) fn start_limit(&self) -> Duration {
        self.start_limit
    }

    /// True once the engine was asked to stop, or is about to be.
    pub fn was_stopped(&self) -> bool {
        self.observed().stopped
    }

    /// The process that answered on the socket; it belonged to the unit.
    pub fn process(&self) -> Option<&EngineProcess> {
        self.process.as_ref()
    }

    /// Returns the failsafe's way to bring all of it back.
    pub fn rescue(&self) -> Rescue {
        Rescue::Start {
            engine: self.engine.to_vec(),
            dependents: self.found().dependents,
            list: Some(self.list.clone()),
        }
    }

    pub async fn state(&self) -> Result<UnitState> {
        self.systemd.state(&self.service).await
    }

    async fn run(&self, verb: JobType, units: &[&str], limit: Duration) -> Result<()> {
        let jobs: Vec<(JobType, &str)> = units.iter().map(|unit| (verb, *unit)).collect();
        self.systemd.run_jobs(&jobs, limit).await
    }
}

/// Returns the units that are stopped and started, sockets first. A socket is among them only if it is active. If the
/// service is off, the sockets are those that were active when it was stopped or, if that is not known, those that are
/// enabled.
async fn engine_units(
    systemd: &Systemd,
    units: &EngineConfig,
    service: &UnitState,
    earlier: Option<&RunningBefore>,
) -> Result<Vec<String>> {
    let earlier = earlier.cloned().unwrap_or_default();
    let known = earlier.owed(service.is_on()).engine;
    let mut sockets = systemd.sockets_of(&units.service).await?;
    if !units.socket_unit.is_empty() && !sockets.contains(&units.socket_unit) {
        sockets.insert(0, units.socket_unit.clone());
    }
    let mut engine: Vec<String> = known.iter().filter(|unit| unit.ends_with(".socket")).cloned().collect();
    for socket in sockets.into_iter().filter(|socket| !known.contains(socket)) {
        let state = systemd.state(&socket).await?;
        let belongs = state.is_on()
            || (known.is_empty()
                && service.is_stopped()
                && state.load == "loaded"
                && systemd.unit_file_state(&socket).await.is_ok_and(|state| state.starts_with("enabled")));
        if belongs {
            engine.push(socket);
        }
    }
    engine.push(units.service.clone());
    Ok(engine)
}

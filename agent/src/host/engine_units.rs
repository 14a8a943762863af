//! The engine as systemd units: stopped and started as one, with what hangs on it.
//!
//! Sockets and service are changed in one go: with the service alone, any client that connects to
//! `docker.sock` starts a stopped engine again (moby/moby#37468).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    as_found::{AsFound, Kept, dependents},
    containers,
    engine_process::EngineProcess,
    failsafe::Rescue,
    systemd::{Systemd, UnitState, Verb},
};
use crate::{
    config::{Config, EngineConfig},
    fault::Fault,
};

const START_ATTEMPTS: u32 = 3;
const START_PAUSE: Duration = Duration::from_secs(1);

/// The units, how long systemd may take to change them, and what ran when they were first looked at.
#[derive(Debug, Clone)]
pub struct EngineControl {
    systemd: Systemd,
    service: String,
    /// Where clients find the engine, and what answers there.
    socket: PathBuf,
    process: Option<EngineProcess>,
    found: Arc<AsFound>,
    /// Dependents that were started here since the last stop.
    started: Arc<Mutex<BTreeSet<String>>>,
    /// Where what was found lies while the engine is away.
    kept: PathBuf,
    stop_limit: Duration,
    start_limit: Duration,
}

impl EngineControl {
    /// Looks at the units and at what hangs on them. An engine that is no systemd service, or another one than is
    /// configured, is refused.
    pub async fn connect(config: &Config) -> Result<Self> {
        let systemd = Systemd::connect().await?;
        let units = &config.engine;
        let answering = EngineProcess::answering(&units.socket).await;
        let service = systemd.state(&units.service).await?;
        if let Ok(process) = &answering {
            require_same(&systemd, units, &service, process).await?;
        }
        if service.load != "loaded" {
            return Err(Fault::failed(format!("systemd knows no unit {} (it is {})", units.service, service.load))
                .advice("name the engine's unit with `engine.service` in the configuration")
                .into());
        }
        let kept = Kept::path(&config.state_dir);
        let mut found = look(&systemd, units, &service, answering.is_ok()).await?;
        if let Some(earlier) = Kept::read(&kept)? {
            found.join(&earlier.found);
        }
        Ok(Self {
            systemd,
            service: units.service.clone(),
            socket: units.socket.clone(),
            process: answering.ok(),
            found: Arc::new(found),
            started: Arc::default(),
            kept,
            stop_limit: Duration::from_secs(units.stop_timeout),
            start_limit: Duration::from_secs(units.start_timeout),
        })
    }

    /// The names of the engine's units, in the order in which they are changed.
    pub fn units(&self) -> Vec<&str> {
        self.found.engine.iter().map(String::as_str).collect()
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

    /// What runs because the engine runs.
    pub fn found(&self) -> &AsFound {
        &self.found
    }

    /// The same engine, with another list of what is to run.
    pub(super) fn owing(self, found: AsFound) -> Self {
        Self { found: Arc::new(found), ..self }
    }

    pub(super) fn kept(&self) -> &Path {
        &self.kept
    }

    pub(super) fn start_limit(&self) -> Duration {
        self.start_limit
    }

    /// For how long an engine may take to stop, whoever stops it.
    pub fn stop_limit(&self) -> Duration {
        self.stop_limit
    }

    /// The process that answered on the socket; it was the unit's.
    pub fn process(&self) -> Option<&EngineProcess> {
        self.process.as_ref()
    }

    /// What brings all of it back without this process.
    pub fn rescue(&self) -> Rescue {
        Rescue::Start {
            engine: self.found.engine.clone(),
            dependents: self.found.dependents.clone(),
            list: (!self.found.is_empty()).then(|| self.kept.clone()),
        }
    }

    pub async fn state(&self) -> Result<UnitState> {
        self.systemd.state(&self.service).await
    }

    /// Refuses a stop that would end the run that asks for it.
    pub async fn require_survivable(&self) -> Result<()> {
        let Some(own) = self.systemd.unit_of(std::process::id()).await else { return Ok(()) };
        if !self.found.dependents.contains(&own) {
            return Ok(());
        }
        Err(Fault::refused(format!(
            "{own}, which this runs in, hangs on {}: it would be stopped with it",
            self.service
        ))
        .advice(format!("take Requires=, BindsTo= and PartOf= on {} out of {own}; After= is enough", self.service))
        .into())
    }

    /// Stops the engine and checks that nothing of it is left; answers with what the service then is.
    pub async fn stop(&self) -> Result<UnitState> {
        self.stop_within(self.stop_limit).await
    }

    /// Refuses if the engine was started since it was stopped; `stopped` is what [`EngineControl::stop`] returned.
    pub async fn check_stopped(&self, stopped: &UnitState) -> Result<()> {
        let now = self.state().await?;
        if now.is_stopped() && now.invocation == stopped.invocation {
            return Ok(());
        }
        Err(Fault::failed(format!("somebody started {} while its state was being copied", self.service))
            .advice("find what starts the engine (`journalctl -u docker`): a package upgrade, a monitoring script, a hand; then run it again")
            .into())
    }

    /// As [`EngineControl::stop`], with less patience. When the limit is over systemd goes on stopping; a start replaces
    /// that.
    ///
    /// What runs is on disk before. The process that was the engine is seen to end: a unit that is inactive says
    /// nothing of an engine that runs elsewhere.
    pub async fn stop_within(&self, limit: Duration) -> Result<UnitState> {
        self.require_survivable().await?;
        if !self.found.is_empty() {
            Kept::new(&self.socket, self.found.as_ref().clone())?.write(&self.kept)?;
        }
        let before = self.state().await?;
        let process = match (self.process, before.main_pid) {
            (Some(process), _) if !process.has_ended()? => Some(process),
            (_, 0) => None,
            (_, pid) => Some(EngineProcess::of(pid)?),
        };
        if let Ok(mut started) = self.started.lock() {
            started.clear();
        }
        self.run(Verb::Stop, limit.min(self.stop_limit)).await.context("failed to stop the engine")?;
        let state = self.state().await?;
        if !state.is_stopped() {
            bail!("{} was stopped but is {} with main process {}", self.service, state.active, state.main_pid);
        }
        if let Some(process) = process.filter(|process| process.has_ended().is_ok_and(|ended| !ended)) {
            bail!("{} was stopped, but the engine's process {} runs on", self.service, process.pid);
        }
        Ok(state)
    }

    /// Starts the engine, whatever failed before, and waits until systemd calls it active; then what hung on it.
    ///
    /// A start that fails is tried again: what an engine that was killed has left may stop its successor once (seen on
    /// 20.10 after a stop that ended in SIGKILL), and not every unit has `Restart=`.
    pub async fn start(&self) -> Result<()> {
        self.start_engine().await?;
        for complaint in self.start_dependents().await {
            tracing::warn!("{complaint}");
        }
        Ok(())
    }

    /// The engine alone.
    pub async fn start_engine(&self) -> Result<()> {
        let begun = Instant::now();
        for left in (0..START_ATTEMPTS).rev() {
            self.systemd.reset_failed(&self.service).await;
            let limit = self.start_limit.saturating_sub(begun.elapsed());
            match self.run(Verb::Start, limit).await {
                Ok(()) => return Ok(()),
                Err(error) if left > 0 && begun.elapsed() + START_PAUSE < self.start_limit => {
                    tracing::warn!("{} did not start and is asked again: {error:#}", self.service);
                    tokio::time::sleep(START_PAUSE).await;
                }
                Err(error) => return Err(self.did_not_start(error)),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Those that ran before and do not now, nearest to the engine first. Answers with what does not start. One that has
    /// ended by itself after it was started here is left so.
    pub(super) async fn start_dependents(&self) -> Vec<String> {
        let (begun, mut complaints, mut missing) = (Instant::now(), Vec::new(), Vec::new());
        for unit in &self.found.dependents {
            let limit = self.start_limit.saturating_sub(begun.elapsed()).max(START_PAUSE);
            if let Err(error) = self.start_dependent(unit, limit).await {
                missing.push(unit.clone());
                complaints
                    .push(format!("{unit} ran before the engine was stopped, and does not start again: {error:#}"));
            }
        }
        if !self.found.dependents.is_empty() {
            Kept::reduce(&self.kept, |found| AsFound { dependents: missing.clone(), ..found.clone() });
        }
        complaints
    }

    async fn start_dependent(&self, unit: &str, limit: Duration) -> Result<()> {
        let state = self.systemd.state(unit).await?;
        let was_started = self.started.lock().is_ok_and(|started| started.contains(unit));
        if state.is_on() || (was_started && state.active == "inactive") {
            return Ok(());
        }
        self.systemd.reset_failed(unit).await;
        self.systemd.run_jobs(&[(Verb::Start, unit)], limit).await?;
        if let Ok(mut started) = self.started.lock() {
            started.insert(unit.to_owned());
        }
        Ok(())
    }

    fn did_not_start(&self, cause: anyhow::Error) -> anyhow::Error {
        Fault::failed(format!("{} did not start", self.service))
            .advice(format!(
                "start it by hand: `systemctl reset-failed {0}; systemctl start {0}`, and see `journalctl -u {0}`",
                self.service
            ))
            .because(cause)
            .into()
    }

    async fn run(&self, verb: Verb, limit: Duration) -> Result<()> {
        let jobs: Vec<(Verb, &str)> = self.units().into_iter().map(|unit| (verb, unit)).collect();
        self.systemd.run_jobs(&jobs, limit).await
    }
}

/// What is on now. A socket is the engine's only if it was active, or if nothing runs and it is enabled.
async fn look(systemd: &Systemd, units: &EngineConfig, service: &UnitState, answers: bool) -> Result<AsFound> {
    let mut sockets = systemd.sockets_of(&units.service).await?;
    if !units.socket_unit.is_empty() && !sockets.contains(&units.socket_unit) {
        sockets.insert(0, units.socket_unit.clone());
    }
    let mut engine = Vec::new();
    for socket in sockets {
        let state = systemd.state(&socket).await?;
        let belongs = state.is_on()
            || (service.is_stopped()
                && state.load == "loaded"
                && systemd.unit_file_state(&socket).await.is_ok_and(|state| state.starts_with("enabled")));
        if belongs {
            engine.push(socket);
        }
    }
    engine.push(units.service.clone());
    let dependents = dependents(systemd, &engine).await?;
    let containers = match answers {
        true => containers::running(&units.socket).await?.into_iter().filter(|it| it.task.is_none()).collect(),
        false => Vec::new(),
    };
    Ok(AsFound { engine, dependents, containers })
}

/// The process that answers must be the one that a stop of the unit ends.
async fn require_same(
    systemd: &Systemd,
    units: &EngineConfig,
    service: &UnitState,
    process: &EngineProcess,
) -> Result<()> {
    if service.is_on() && service.main_pid == process.pid {
        return Ok(());
    }
    let runs_as = systemd.unit_of(process.pid).await;
    // Behind a wrapper that waits for it.
    let is_inside = runs_as.as_ref() == Some(&units.service) && service.is_on();
    if is_inside && systemd.stopping(&units.service).await?.ends_all {
        return Ok(());
    }
    let state = match service.load.as_str() {
        "loaded" => service.active.as_str(),
        load => load,
    };
    let said = format!("the engine that answers on {} is process {}", units.socket.display(), process.pid);
    Err(match runs_as.filter(|unit| unit.ends_with(".service") && *unit != units.service) {
        Some(unit) => {
            let sockets = systemd.sockets_of(&unit).await.unwrap_or_default();
            let socket = sockets.first().map(String::as_str).unwrap_or_default();
            Fault::refused(format!(
                "{said} of {unit}, and not {} (which is {state}); nothing was touched",
                units.service
            ))
            .advice(format!("write `service = \"{unit}\"` and `socket_unit = \"{socket}\"` below `[engine]`"))
            .advice("or name the socket of the engine that is meant with `engine.socket`")
        }
        None => Fault::refused(format!(
            "{said}, which is not the main process of {} ({state}); nothing was touched",
            units.service
        ))
        .advice("run the engine as a systemd service of its own, without a wrapper, and name it with `engine.service`")
        .advice("or name the engine's own socket with `engine.socket`: a proxy in front of it cannot be told from it"),
    }
    .into())
}

//! The engine as systemd units: stopped and started as one, with what hangs on it.
//!
//! Sockets and service are changed in one go: with the service alone, any client that connects to
//! `docker.sock` starts a stopped engine again (moby/moby#37468).

mod identity;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    as_found::{self, Access, AsFound, Kept},
    containers::{self, Container},
    engine_config,
    engine_process::EngineProcess,
    failsafe::Rescue,
    systemd::{Systemd, UnitState, Verb},
};
use crate::{
    config::{Config, EngineConfig},
    fault::Fault,
};
use identity::require_same;

const START_ATTEMPTS: u32 = 3;
const START_PAUSE: Duration = Duration::from_secs(1);

/// For all looks at containers together, however many of them are stuck.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// The same right before a stop, for which the clock runs already; there only those that are new are looked at.
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(5);

/// The units, how long systemd may take to change them, and what was last seen to run.
#[derive(Debug, Clone)]
pub struct EngineControl {
    systemd: Systemd,
    service: String,
    /// Where clients find the engine, and what answers there.
    socket: PathBuf,
    process: Option<EngineProcess>,
    /// The units that are stopped and started, sockets first.
    engine: Arc<Vec<String>>,
    seen: Arc<Mutex<Seen>>,
    /// Where what was found lies while the engine is away.
    kept: PathBuf,
    stop_limit: Duration,
    start_limit: Duration,
}

/// What is known of what runs because the engine runs.
#[derive(Debug, Default)]
struct Seen {
    found: AsFound,
    /// Those that were looked at, tasks of a swarm among them.
    looked_at: Vec<Container>,
    /// The engine was asked to stop: what was found before is owed.
    stopped: bool,
    /// Dependents that were asked to start since.
    asked: BTreeSet<String>,
}

impl EngineControl {
    /// Looks at the units and at what hangs on them, and at no container. An engine that is no systemd service, or another
    /// one than is configured, is refused.
    pub async fn connect(config: &Config) -> Result<Self> {
        let systemd = Systemd::connect().await?;
        let units = &config.engine;
        let answering = EngineProcess::answering(&units.socket).await;
        let service = systemd.state(&units.service).await?;
        if let Ok(process) = &answering {
            require_same(&systemd, units, &service, process).await?;
        }
        let earlier = Kept::read_or_warn(&Kept::path(&config.state_dir)).map(|kept| kept.found);
        let engine = engine_units(&systemd, units, &service, earlier.as_ref()).await?;
        Self::of(config, systemd, units.service.clone(), engine, earlier.unwrap_or_default(), answering.ok()).await
    }

    /// The same by the names of the units alone, for who starts what an earlier run stopped: nothing is asked of an engine,
    /// which may be frozen, away or another one.
    pub(super) async fn by_name(config: &Config, systemd: &Systemd) -> Result<Self> {
        let units = &config.engine;
        let earlier = Kept::read_or_warn(&Kept::path(&config.state_dir)).map(|kept| kept.found);
        // As they were when they were stopped, whatever is configured since.
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
        earlier: AsFound,
        process: Option<EngineProcess>,
    ) -> Result<Self> {
        let units = &config.engine;
        let state = systemd.state(&service).await?;
        if state.load != "loaded" {
            return Err(Fault::failed(format!("systemd knows no unit {service} (it is {})", state.load))
                .advice("name the engine's unit with `engine.service` in the configuration")
                .into());
        }
        let control = Self {
            systemd,
            service,
            socket: units.socket.clone(),
            process,
            engine: Arc::new(engine),
            seen: Arc::default(),
            kept: Kept::path(&config.state_dir),
            stop_limit: Duration::from_secs(units.stop_timeout),
            start_limit: Duration::from_secs(units.start_timeout),
        };
        let mut found = control.look_at_units().await?;
        found.join(&earlier.owed(state.is_on()));
        control.seen().found = found;
        Ok(control)
    }

    /// Refuses where a mere question would start an engine that somebody has stopped: its socket listens, and it is off.
    pub async fn require_awake(config: &Config) -> Result<()> {
        let (systemd, service) = (Systemd::connect().await?, &config.engine.service);
        if !systemd.state(service).await?.is_stopped() {
            return Ok(());
        }
        for socket in systemd.sockets_of(service).await? {
            if systemd.state(&socket).await?.is_on() {
                return Err(Fault::refused(format!(
                    "{service} is stopped, and whatever is asked of it through {socket} would start it"
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

    /// What runs because the engine runs, as it was last seen.
    pub fn found(&self) -> AsFound {
        self.seen().found.clone()
    }

    /// The same engine, with another list of what is to run.
    pub(super) fn owing(self, found: AsFound) -> Self {
        self.seen().found = found;
        self
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the containers that run now, and answers with all of them, tasks of a swarm too. What could not be looked at
    /// is told in [`AsFound::unseen`].
    pub async fn look_at_containers(&self) -> Result<Vec<Container>> {
        let looked = containers::look(&self.socket, &[], LOOK_LIMIT).await?;
        let now = AsFound { containers: not_tasks(&looked.containers), unseen: looked.unseen, ..AsFound::default() };
        let mut seen = self.seen();
        seen.found.join(&now);
        seen.looked_at.clone_from(&looked.containers);
        Ok(looked.containers)
    }

    /// For who goes on without a look.
    pub(super) fn note_unseen(&self, told: String) {
        self.seen().found.join(&AsFound { unseen: vec![told], ..AsFound::default() });
    }

    /// Those that are active, of the engine's own units and of what a stop of them stops.
    async fn look_at_units(&self) -> Result<AsFound> {
        let mut active = Vec::new();
        for unit in self.engine.iter() {
            if self.systemd.state(unit).await?.is_on() {
                active.push(unit.clone());
            }
        }
        let dependents = as_found::dependents(&self.systemd, &self.engine).await?;
        let starters = as_found::starters(&self.systemd, &self.engine, &dependents).await?;
        let off = as_found::off(&self.systemd, &[self.engine.as_slice(), &dependents].concat()).await?;
        let access = Access::of(&self.socket);
        Ok(AsFound { engine: active, dependents, starters, off, access, ..AsFound::default() })
    }

    /// Right before a stop, since time has passed since the first look: what runs by now, with what is still owed.
    async fn look_again(&self, is_on: bool) -> Result<AsFound> {
        let mut found = self.look_at_units().await?;
        let (known, before) = {
            let seen = self.seen();
            (seen.looked_at.clone(), seen.found.clone())
        };
        found.unseen.clone_from(&before.unseen);
        let looked = match is_on {
            // A question on a socket that is activated starts the engine behind it.
            false => Ok(containers::Looked::default()),
            // Who has not looked before has to now.
            true if known.is_empty() => containers::look(&self.socket, &[], LOOK_LIMIT).await,
            true => containers::look(&self.socket, &known, LAST_LOOK_LIMIT).await,
        };
        match looked {
            Ok(looked) => {
                let now =
                    AsFound { containers: not_tasks(&looked.containers), unseen: looked.unseen, ..AsFound::default() };
                found.join(&now);
            }
            Err(error) => {
                found.containers = before.containers;
                found
                    .unseen
                    .push(format!("what was started right before the engine was stopped is not known: {error:#}"));
            }
        }
        if let Some(earlier) = Kept::read_or_warn(&self.kept) {
            found.join(&earlier.found.owed(is_on));
        }
        Ok(found)
    }

    /// Writes down what runs. Nothing is stopped that is not written down; but on the way back, when the engine was away
    /// already, neither a disk nor a question must be in its way.
    async fn write_down(&self, is_on: bool) -> Result<()> {
        let write = async {
            let found = self.look_again(is_on).await?;
            self.seen().found = found.clone();
            self.require_stoppable().await?;
            Kept::new(&self.socket, found)?.write(&self.kept)
        };
        let written = write.await;
        let had_stopped = std::mem::replace(&mut self.seen().stopped, written.is_ok());
        self.seen().asked.clear();
        match written {
            Err(error) if had_stopped => {
                self.seen().stopped = true;
                tracing::error!("{error:#}; going on without it");
                Ok(())
            }
            written => written,
        }
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

    /// The engine was asked to stop, or is about to be: all before that has been done.
    pub fn was_stopped(&self) -> bool {
        self.seen().stopped
    }

    /// The process that answered on the socket; it was the unit's.
    pub fn process(&self) -> Option<&EngineProcess> {
        self.process.as_ref()
    }

    /// What brings all of it back without this process.
    pub fn rescue(&self) -> Rescue {
        Rescue::Start {
            engine: self.engine.to_vec(),
            dependents: self.found().dependents,
            list: Some(self.kept.clone()),
        }
    }

    pub async fn state(&self) -> Result<UnitState> {
        self.systemd.state(&self.service).await
    }

    /// Refuses a stop that would end the run that asks for it, and one that systemd itself would undo.
    pub async fn require_stoppable(&self) -> Result<()> {
        self.require_survivable().await?;
        engine_config::require_readable(&self.systemd, &self.service).await?;
        let dependents = self.found().dependents;
        self.require_startable(&dependents).await?;
        match as_found::upholder(&self.systemd, &self.engine, &dependents).await? {
            None => Ok(()),
            Some((unit, upheld)) => Err(Fault::refused(format!(
                "{unit} upholds {upheld}: systemd starts that whenever it is off, so it cannot be kept stopped for a copy"
            ))
            .advice(format!("take Upholds={upheld} out of {unit} (`systemctl edit {unit}`)"))
            .advice("or write `mode = \"freeze\"` below `[backup]`: the engine is not stopped then")
            .into()),
        }
    }

    /// Whatever is stopped must be there to be started again.
    async fn require_startable(&self, dependents: &[String]) -> Result<()> {
        for unit in dependents {
            if !self.systemd.can_be_started_again(unit).await? {
                return Err(Fault::refused(format!(
                    "{unit} would be stopped with {}, and could not be started again: it was made by a command, or its unit refuses that",
                    self.service
                ))
                .advice(format!("stop it first, or take its Requires=, BindsTo= or PartOf= on {} away", self.service))
                .advice("or write `mode = \"freeze\"` below `[backup]`: nothing is stopped then")
                .into());
            }
        }
        Ok(())
    }

    async fn require_survivable(&self) -> Result<()> {
        let Some(own) = self.systemd.unit_of(std::process::id()).await else { return Ok(()) };
        if own == self.service || self.is_container(&own).await {
            return Err(Fault::refused(format!(
                "this runs in {own}, which ends with {}: it would end itself in the middle",
                self.service
            ))
            .advice(
                "run it on the host itself: from a shell, or by its timer (`systemctl start swarmdr-backup.service`)",
            )
            .into());
        }
        if !self.found().dependents.contains(&own) {
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
        let started = format!("somebody started {} while its state was being copied", self.service);
        Err(self
            .name_starters(Fault::failed(format!("{started}; the copy was thrown away")))
            .advice("find what starts the engine (`journalctl -u docker`): a package upgrade, a monitoring script, a hand; then run it again")
            .into())
    }

    /// As [`EngineControl::stop`], with less patience. When the limit is over systemd goes on stopping; a start replaces
    /// that.
    ///
    /// What runs is on disk before. The process that was the engine is seen to end: a unit that is inactive says
    /// nothing of an engine that runs elsewhere.
    pub async fn stop_within(&self, limit: Duration) -> Result<UnitState> {
        let begun = Instant::now();
        let before = self.state().await?;
        self.write_down(before.is_on()).await?;
        let process = match (self.process, before.main_pid) {
            (Some(process), _) if !process.has_ended()? => Some(process),
            (_, 0) => None,
            (_, pid) => Some(EngineProcess::of(pid)?),
        };
        let left = limit.min(self.stop_limit).saturating_sub(begun.elapsed());
        self.run(Verb::Stop, &self.units(), left)
            .await
            .map_err(|cause| self.name_starters(Fault::failed("failed to stop the engine")).because(cause))?;
        let state = self.state().await?;
        if !state.is_stopped() {
            return Err(self
                .name_starters(Fault::failed(format!(
                    "{} was stopped but is {} with main process {}",
                    self.service, state.active, state.main_pid
                )))
                .into());
        }
        if let Some(process) = process.filter(|process| process.has_ended().is_ok_and(|ended| !ended)) {
            bail!("{} was stopped, but the engine's process {} runs on", self.service, process.pid);
        }
        Ok(state)
    }

    fn name_starters(&self, fault: Fault) -> Fault {
        let starters = self.found().starters;
        if starters.is_empty() {
            return fault;
        }
        let starters = starters.join(" and ");
        fault
            .advice(format!(
                "{starters} may have started it, by Wants= and Restart=: take Wants={} out of that (After= is enough)",
                self.service
            ))
            .advice("or write `mode = \"freeze\"` below `[backup]`: the engine is not stopped then")
    }

    /// Whether the unit is the scope of a container of this engine. Entering the host's namespaces leaves that as it is.
    async fn is_container(&self, unit: &str) -> bool {
        let Some(id) = identity::container_id(unit).filter(|_| self.process.is_some()) else { return false };
        containers::inspect(&self.socket, id).await.is_ok_and(|seen| seen.is_some())
    }

    /// Starts the engine, whatever failed before, and waits until systemd calls it active; then asks for what hung on it,
    /// and does not wait for that: some of it may wait for more than the engine, for a key that unlocks its swarm say.
    ///
    /// A start that fails is tried again: what an engine that was killed has left may stop its successor once (seen on
    /// 20.10 after a stop that ended in SIGKILL), and not every unit has `Restart=`.
    pub async fn start(&self) -> Result<()> {
        self.start_engine().await?;
        self.ask_for_dependents().await;
        Ok(())
    }

    /// The engine alone.
    pub async fn start_engine(&self) -> Result<()> {
        let begun = Instant::now();
        for left in (0..START_ATTEMPTS).rev() {
            self.systemd.reset_failed(&self.service).await;
            let limit = self.start_limit.saturating_sub(begun.elapsed());
            let is_on = self.state().await.is_ok_and(|state| state.is_on());
            let error = match self.run(Verb::Start, &to_start(&self.units(), &self.service, is_on), limit).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.state().await.is_ok_and(|state| state.is_active()) {
                tracing::warn!("{} is back, but not all that belongs to it: {error:#}", self.service);
                return Ok(());
            }
            if left == 0 || begun.elapsed() + START_PAUSE >= self.start_limit {
                return Err(self.did_not_start(error));
            }
            tracing::warn!("{} did not start and is asked again: {error:#}", self.service);
            tokio::time::sleep(START_PAUSE).await;
        }
        unreachable!("the last attempt returns")
    }

    /// Asks for those that ran before and do not now, nearest to the engine first. Whether they start is found out by
    /// `start_dependents`.
    pub async fn ask_for_dependents(&self) {
        for unit in &self.found().dependents {
            let ask = async {
                if !self.is_missing(unit).await? {
                    return Ok(());
                }
                self.systemd.reset_failed(unit).await;
                self.systemd.ask_to_start(unit).await
            };
            match ask.await {
                Ok(()) => drop(self.seen().asked.insert(unit.clone())),
                Err(error) => tracing::warn!("{error:#}"),
            }
        }
        let asked = self.seen().asked.clone();
        if !asked.is_empty() {
            Kept::note_asked(&self.kept, asked);
        }
    }

    /// Starts those that ran before and do not now, and waits for it. Answers with those that do not start, each with why.
    pub(super) async fn start_dependents(&self) -> Vec<(String, String)> {
        let (begun, mut missing) = (Instant::now(), Vec::new());
        for unit in self.found().dependents {
            let limit = self.start_limit.saturating_sub(begun.elapsed()).max(START_PAUSE);
            let start = async {
                // One that is on its way up may still fail: its job is waited for.
                if !self.is_starting(&unit).await {
                    if !self.is_missing(&unit).await? {
                        return Ok(());
                    }
                    self.systemd.reset_failed(&unit).await;
                }
                self.systemd.run_jobs(&[(Verb::Start, &unit)], limit).await
            };
            if let Err(error) = start.await
                && !self.is_starting(&unit).await
            {
                let why = format!("{unit} ran before the engine was stopped, and does not start again: {error:#}");
                missing.push((unit, why));
            }
        }
        missing
    }

    /// It is on its way up, or waits for others before it may start, which may take long, or come to nothing.
    pub(super) async fn is_starting(&self, unit: &str) -> bool {
        self.systemd.state(unit).await.is_ok_and(|state| state.active == "activating")
            || self.systemd.is_to_start(unit).await.unwrap_or_default()
    }

    /// It is off, and did not run to its end since the engine was started: a job is not done twice.
    pub(super) async fn is_missing(&self, unit: &str) -> Result<bool> {
        let state = self.systemd.state(unit).await?;
        if state.is_on() || state.active != "inactive" {
            return Ok(!state.is_on());
        }
        let (own, engine) = (self.systemd.changes(unit).await?, self.systemd.changes(&self.service).await?);
        if own.is_forgotten() {
            let was_asked = self.seen().asked.contains(unit);
            return Ok(!(was_asked && self.systemd.is_job(unit).await));
        }
        Ok(!own.ran_since(&engine))
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

    async fn run(&self, verb: Verb, units: &[&str], limit: Duration) -> Result<()> {
        let jobs: Vec<(Verb, &str)> = units.iter().map(|unit| (verb, *unit)).collect();
        self.systemd.run_jobs(&jobs, limit).await
    }
}

fn not_tasks(containers: &[Container]) -> Vec<Container> {
    containers.iter().filter(|it| it.task.is_none()).cloned().collect()
}

/// systemd refuses to start a socket beside the service that it would start, so beside one that runs there is nothing to do
/// for them.
fn to_start<'a>(units: &[&'a str], service: &'a str, is_on: bool) -> Vec<&'a str> {
    if is_on { vec![service] } else { units.to_vec() }
}

/// What is stopped and started. A socket belongs to it only if it is active; where no service runs, those belong to it that
/// were when it was stopped, or, if nobody knows that, those that are enabled.
async fn engine_units(
    systemd: &Systemd,
    units: &EngineConfig,
    service: &UnitState,
    earlier: Option<&AsFound>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_service_that_runs_no_socket_is_started() {
        let units = ["docker.socket", "docker-tcp.socket", "docker.service"];
        assert_eq!(to_start(&units, "docker.service", false), units);
        assert_eq!(to_start(&units, "docker.service", true), ["docker.service"]);
    }
}

//! systemd over D-Bus: the few calls that stop, start, freeze and thaw an engine, and make transient units.
//!
//! Interface: `org.freedesktop.systemd1(5)`. A unit is changed by a *job*; its end is told by the
//! `JobRemoved` signal, which systemd sends only to clients that have called `Subscribe`. Every call
//! has a limit: a bus that stops answering must not keep an engine away.

mod relations;

pub use relations::Stopping;

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use zbus::{Connection, OwnedObjectPath, Variant, proxy};

use crate::fault::Fault;

/// For calls that systemd answers from memory. Generous: PID 1 does one thing after the other.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// One `ExecStart=`: program, arguments from its name on, whether a failure is ignored; then four times, a process and
/// how it ended.
type RunCommand = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

/// A setting of a transient unit, by its D-Bus name.
pub type Setting<'a> = (&'a str, Variant<'a>);

/// One row of `ListUnits`: name, description, load, active, sub, followed, path, job id, job type, job path.
type ListedUnit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(name = "GetUnitByPID")]
    fn get_unit_by_pid(&self, pid: u32) -> zbus::Result<OwnedObjectPath>;
    fn get_unit_file_state(&self, name: &str) -> zbus::Result<String>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        settings: &[Setting<'_>],
        aux: &[(&str, &[Setting<'_>])],
    ) -> zbus::Result<OwnedObjectPath>;
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    fn freeze_unit(&self, name: &str) -> zbus::Result<()>;
    fn thaw_unit(&self, name: &str) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn system_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"), name = "DefaultTimeoutStopUSec")]
    fn default_timeout_stop_u_sec(&self) -> zbus::Result<u64>;

    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: zbus::ObjectPath<'_>, unit: &str, result: &str) -> zbus::Result<()>;
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property(emits_changed_signal = "false"))]
    fn id(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn sub_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"), name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn can_freeze(&self) -> zbus::Result<bool>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn freezer_state(&self) -> zbus::Result<String>;
    /// What is queued for it; number 0 is nothing.
    #[zbus(property(emits_changed_signal = "false"))]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
}

#[proxy(interface = "org.freedesktop.systemd1.Job", default_service = "org.freedesktop.systemd1")]
trait Job {
    #[zbus(property(emits_changed_signal = "false"))]
    fn job_type(&self) -> zbus::Result<String>;
}

#[proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait Service {
    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn control_group(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_start(&self) -> zbus::Result<Vec<RunCommand>>;
}

/// What a unit was seen to be at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, …
    pub active: String,
    pub sub: String,
    /// 0 for a unit that is no service or has no main process.
    pub main_pid: u32,
    /// Changes with every start of the unit; empty if it never ran.
    pub invocation: Vec<u8>,
}

impl UnitState {
    pub fn is_active(&self) -> bool {
        self.active == "active"
    }

    /// It runs, or is about to: what a person calls on.
    pub fn is_on(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing" | "activating")
    }

    /// Nothing of it runs and nothing is about to: the state in which its files stand still.
    pub fn is_stopped(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed") && self.main_pid == 0
    }
}

/// A service as its cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freezable {
    pub can_freeze: bool,
    /// `running`, `freezing`, `frozen`, `thawing`; newer systemd also says `frozen-by-parent` and the like.
    pub freezer_state: String,
    /// Below the root of the hierarchy, beginning with a slash; empty if the service has none.
    pub control_group: String,
}

/// What to ask of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Start,
    Stop,
}

/// A connection to the system's service manager that has subscribed to its signals.
#[derive(Debug, Clone)]
pub struct Systemd {
    bus: Connection,
    manager: ManagerProxy<'static>,
}

impl Systemd {
    /// Fails where there is no system bus, or PID 1 is not systemd.
    pub async fn connect() -> Result<Self> {
        let bus = Connection::system().await.context("failed to connect to the D-Bus system bus").map_err(|cause| {
            Fault::failed("cannot reach systemd")
                .advice("run as root on the host itself (not in a container) with systemd as PID 1 and dbus running")
                .because(cause)
        })?;
        let manager = ManagerProxy::new(&bus).await?;
        manager.subscribe().await.context("failed to subscribe to systemd's signals")?;
        Ok(Self { bus, manager })
    }

    /// The same connection, for other services on the bus.
    pub fn bus(&self) -> &Connection {
        &self.bus
    }

    /// Asks for all changes in one go, in the given order, and waits until every job is done.
    ///
    /// Jobs of one call run as systemd's own ordering says, so stopping a socket together with its
    /// service leaves no moment in which the socket could start the service again. A job that does
    /// not end in `limit`, or not with `done`, is an error naming the unit; the other jobs go on.
    pub async fn run_jobs(&self, jobs: &[(Verb, &str)], limit: Duration) -> Result<()> {
        let run = async {
            // The signal stream must exist before the first job, else a quick job ends unseen.
            let mut removed = self.manager.receive_job_removed().await?;
            let mut waiting: HashMap<OwnedObjectPath, &str> = HashMap::new();
            for (verb, unit) in jobs {
                let job = match verb {
                    Verb::Start => self.manager.start_unit(unit, start_mode(unit)).await,
                    Verb::Stop => self.manager.stop_unit(unit, "replace").await,
                };
                let job = job.with_context(|| format!("systemd refused to {} {unit}", verb.word()))?;
                waiting.insert(job, unit);
            }
            await_jobs(&mut removed, waiting).await
        };
        match tokio::time::timeout(limit, run).await {
            Ok(result) => result,
            Err(_) => bail!(
                "systemd did not finish the jobs for {} within {} s",
                jobs.iter().map(|(_, unit)| *unit).collect::<Vec<_>>().join(", "),
                limit.as_secs()
            ),
        }
    }

    /// Asks for a start and does not wait for it.
    pub async fn ask_to_start(&self, unit: &str) -> Result<()> {
        limited(async { anyhow::Ok(self.manager.start_unit(unit, start_mode(unit)).await?) })
            .await
            .map(drop)
            .with_context(|| format!("failed to ask systemd to start {unit}"))
    }

    /// Makes and starts a unit that lives in systemd's memory only, perhaps with a second one that it triggers.
    pub async fn start_transient(
        &self,
        (name, settings): (&str, &[Setting<'_>]),
        triggered: Option<(&str, &[Setting<'_>])>,
    ) -> Result<()> {
        let start = async {
            let mut removed = self.manager.receive_job_removed().await?;
            let job = self.manager.start_transient_unit(name, "fail", settings, triggered.as_slice()).await?;
            await_jobs(&mut removed, HashMap::from([(job, name)])).await
        };
        limited(start).await.with_context(|| format!("failed to make the transient unit {name}"))
    }

    /// Stops units whatever they are, and waits for it; that there is none of a name is no error.
    pub async fn stop_if_there(&self, units: &[&str]) -> Result<()> {
        for unit in units {
            let there = limited(async { anyhow::Ok(self.manager.list_units_by_patterns(&[], &[unit]).await?) }).await?;
            if there.is_empty() {
                continue;
            }
            match self.run_jobs(&[(Verb::Stop, unit)], CALL_LIMIT).await {
                // It may have ended, and been forgotten, since it was listed.
                Err(error) if is_no_such_unit(&error) => {}
                result => result.with_context(|| format!("failed to remove {unit}"))?,
            }
        }
        Ok(())
    }

    /// Names of the units in memory that match a shell pattern, in order.
    pub async fn names_like(&self, pattern: &str) -> Result<Vec<String>> {
        let listed = limited(async { anyhow::Ok(self.manager.list_units_by_patterns(&[], &[pattern]).await?) }).await;
        let listed = listed.with_context(|| format!("failed to list the units that are called {pattern}"))?;
        let mut names: Vec<String> = listed.into_iter().map(|unit| unit.0).collect();
        names.sort();
        Ok(names)
    }

    /// Returns when every process of the unit stands still. Needs no job, so it is refused while one is queued.
    pub async fn freeze(&self, unit: &str) -> Result<()> {
        limited(async { anyhow::Ok(self.manager.freeze_unit(unit).await?) })
            .await
            .with_context(|| format!("failed to freeze {unit}"))
    }

    /// Returns when the unit's processes run. No error if they ran before. Until a freeze that was asked for
    /// is complete, systemd 252 refuses this; ask again.
    pub async fn thaw(&self, unit: &str) -> Result<()> {
        limited(async { anyhow::Ok(self.manager.thaw_unit(unit).await?) })
            .await
            .with_context(|| format!("failed to thaw {unit}"))
    }

    /// What systemd calls itself, like `252.39-1~deb12u1`.
    pub async fn version(&self) -> Result<String> {
        limited(async { anyhow::Ok(self.manager.version().await?) })
            .await
            .context("failed to ask systemd for its version")
    }

    /// `enabled`, `enabled-runtime`, `disabled`, `masked`, …; an error if there is no such unit file.
    pub async fn unit_file_state(&self, unit: &str) -> Result<String> {
        limited(async { anyhow::Ok(self.manager.get_unit_file_state(unit).await?) })
            .await
            .with_context(|| format!("failed to ask systemd whether {unit} is enabled"))
    }

    /// True once a shutdown has begun: from then on systemd starts nothing.
    pub async fn is_stopping(&self) -> bool {
        let state = limited(async { anyhow::Ok(self.manager.system_state().await?) }).await;
        state.is_ok_and(|state| state == "stopping")
    }

    /// The programs that a service starts with.
    pub async fn program(&self, service: &str) -> Result<Vec<PathBuf>> {
        Ok(self.exec_start(service).await?.into_iter().map(|command| command.0.into()).collect())
    }

    /// All words of what a service starts with.
    pub async fn command_line(&self, service: &str) -> Result<Vec<String>> {
        Ok(self.exec_start(service).await?.into_iter().flat_map(|command| command.1).collect())
    }

    async fn exec_start(&self, service: &str) -> Result<Vec<RunCommand>> {
        let read = async {
            let path = self.manager.load_unit(service).await?;
            anyhow::Ok(ServiceProxy::new(&self.bus, path).await?.exec_start().await?)
        };
        limited(read).await.with_context(|| format!("failed to ask systemd what {service} runs"))
    }

    /// Forgets earlier failures, so that the start limit (`StartLimitBurst=3` in 60 s in Docker's
    /// unit) does not refuse the next start. No failure to forget is no error.
    pub async fn reset_failed(&self, unit: &str) {
        if let Err(error) = self.manager.reset_failed_unit(unit).await {
            tracing::debug!(unit, %error, "systemd had nothing to reset");
        }
    }

    pub async fn state(&self, unit: &str) -> Result<UnitState> {
        limited(self.read_state(unit)).await.with_context(|| format!("failed to ask systemd for the state of {unit}"))
    }

    /// What freezing needs to know of a service.
    pub async fn freezable(&self, service: &str) -> Result<Freezable> {
        let read = async {
            let path = self.manager.load_unit(service).await?;
            let unit = UnitProxy::new(&self.bus, path.clone()).await?;
            Ok(Freezable {
                can_freeze: unit.can_freeze().await?,
                freezer_state: unit.freezer_state().await?,
                control_group: ServiceProxy::new(&self.bus, path).await?.control_group().await?,
            })
        };
        limited(read).await.with_context(|| format!("failed to ask systemd whether {service} can be frozen"))
    }

    async fn read_state(&self, unit: &str) -> Result<UnitState> {
        let path = self.manager.load_unit(unit).await?;
        let proxy = UnitProxy::new(&self.bus, path.clone()).await?;
        let main_pid =
            if unit.ends_with(".service") { ServiceProxy::new(&self.bus, path).await?.main_pid().await? } else { 0 };
        Ok(UnitState {
            load: proxy.load_state().await?,
            active: proxy.active_state().await?,
            sub: proxy.sub_state().await?,
            main_pid,
            invocation: proxy.invocation_id().await?,
        })
    }
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
        }
    }
}

/// A target is started alone: with all that it wants, what somebody has stopped would be started too.
fn start_mode(unit: &str) -> &'static str {
    if unit.ends_with(".target") { "ignore-dependencies" } else { "replace" }
}

/// Waits until each of the jobs, by path, has ended with `done`.
async fn await_jobs(removed: &mut JobRemovedStream, mut waiting: HashMap<OwnedObjectPath, &str>) -> Result<()> {
    while !waiting.is_empty() {
        let signal = removed.next().await.context("lost the connection to systemd")?;
        let args = signal.args()?;
        let Some(unit) = waiting.remove(&OwnedObjectPath::from(args.job().to_owned())) else {
            continue;
        };
        match *args.result() {
            "done" => {}
            "canceled" => bail!("the job for {unit} was canceled: somebody asked systemd for something else"),
            other => bail!("the job for {unit} ended with `{other}`"),
        }
    }
    Ok(())
}

async fn limited<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let limited = tokio::time::timeout(CALL_LIMIT, call);
    limited.await.with_context(|| format!("systemd did not answer within {} s", CALL_LIMIT.as_secs()))?
}

fn is_no_such_unit(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<zbus::Error>() {
        Some(zbus::Error::MethodError(name, ..)) => name.as_str() == "org.freedesktop.systemd1.NoSuchUnit",
        _ => false,
    })
}

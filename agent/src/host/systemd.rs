//! systemd over D-Bus: the few calls that stop and start an engine.
//!
//! Interface: `org.freedesktop.systemd1(5)`. A unit is changed by a *job*; its end is told by the
//! `JobRemoved` signal, which systemd sends only to clients that have called `Subscribe`.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use zbus::{Connection, OwnedObjectPath, proxy};

use crate::fault::Fault;

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

    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: zbus::ObjectPath<'_>, unit: &str, result: &str) -> zbus::Result<()>;
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn sub_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"), name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;
}

#[proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait Service {
    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
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

    /// Nothing of it runs and nothing is about to: the state in which its files stand still.
    pub fn is_stopped(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed") && self.main_pid == 0
    }
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

    /// Asks for all changes in one go, in the given order, and waits until every job is done.
    ///
    /// Jobs of one call run as systemd's own ordering says, so stopping a socket together with its
    /// service leaves no moment in which the socket could start the service again. A job that does
    /// not end in `limit`, or not with `done`, is an error naming the unit; the other jobs go on.
    pub async fn run_jobs(&self, jobs: &[(Verb, &str)], limit: Duration) -> Result<()> {
        // The signal stream must exist before the first job, else a quick job ends unseen.
        let mut removed = self.manager.receive_job_removed().await?;
        let mut waiting: HashMap<OwnedObjectPath, &str> = HashMap::new();
        for (verb, unit) in jobs {
            let job = match verb {
                Verb::Start => self.manager.start_unit(unit, "replace").await,
                Verb::Stop => self.manager.stop_unit(unit, "replace").await,
            };
            let job = job.with_context(|| format!("systemd refused to {} {unit}", verb.word()))?;
            waiting.insert(job, unit);
        }
        let finish = async {
            while !waiting.is_empty() {
                let signal = removed.next().await.context("lost the connection to systemd")?;
                let args = signal.args()?;
                let Some(unit) = waiting.remove(&OwnedObjectPath::from(args.job().to_owned())) else {
                    continue;
                };
                if *args.result() != "done" {
                    bail!("the job for {unit} ended with `{}`", args.result());
                }
            }
            Ok(())
        };
        match tokio::time::timeout(limit, finish).await {
            Ok(result) => result,
            Err(_) => bail!(
                "systemd did not finish the jobs for {} within {} s",
                jobs.iter().map(|(_, unit)| *unit).collect::<Vec<_>>().join(", "),
                limit.as_secs()
            ),
        }
    }

    /// Forgets earlier failures, so that the start limit (`StartLimitBurst=3` in 60 s in Docker's
    /// unit) does not refuse the next start. No failure to forget is no error.
    pub async fn reset_failed(&self, unit: &str) {
        if let Err(error) = self.manager.reset_failed_unit(unit).await {
            tracing::debug!(unit, %error, "systemd had nothing to reset");
        }
    }

    pub async fn state(&self, unit: &str) -> Result<UnitState> {
        self.read_state(unit).await.with_context(|| format!("failed to ask systemd for the state of {unit}"))
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

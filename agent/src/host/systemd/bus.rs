//! systemd over D-Bus: the few calls that stop, start, freeze and thaw an engine, and make transient units.
//!
//! Interface: `org.freedesktop.systemd1(5)`. A unit is changed by a *job*; its end is the `JobRemoved` signal, which
//! systemd sends only to clients that have called `Subscribe`. Every call has a limit: a bus that stops responding must
//! not keep an engine down.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use zbus::Connection;

use super::interfaces::{ManagerProxy, RunCommand, ServiceProxy, UnitProxy};
use crate::outcome::failure::Failure;

/// Time limit of calls that systemd answers from memory. Generous, since PID 1 handles one call after the other.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The state of a unit at one moment.
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

    /// True if it runs, or is about to.
    pub fn is_on(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing" | "activating")
    }

    /// True if nothing of it runs or is about to: only then its files do not change.
    pub fn is_stopped(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed") && self.main_pid == 0
    }
}

/// Whether and where a service can be frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freezable {
    pub can_freeze: bool,
    /// `running`, `freezing`, `frozen`, `thawing`; newer systemd also says `frozen-by-parent` and the like.
    pub freezer_state: String,
    /// The path below the root of the hierarchy, beginning with a slash; empty if the service has none.
    pub control_group: String,
}

/// A connection to the system's service manager that has subscribed to its signals.
#[derive(Debug, Clone)]
pub struct Systemd {
    pub(super) bus: Connection,
    pub(super) manager: ManagerProxy<'static>,
}

impl Systemd {
    /// Fails where there is no system bus, or PID 1 is not systemd.
    pub async fn connect() -> Result<Self> {
        let bus = Connection::system().await.context("failed to connect to the D-Bus system bus").map_err(|cause| {
            Failure::failed("cannot reach systemd")
                .advice("run as root on the host itself (not in a container) with systemd as PID 1 and dbus running")
                .because(cause)
        })?;
        let manager = ManagerProxy::new(&bus).await?;
        manager.subscribe().await.context("failed to subscribe to systemd's signals")?;
        Ok(Self { bus, manager })
    }

    /// The connection, for other services on the bus.
    pub fn bus(&self) -> &Connection {
        &self.bus
    }

    /// Names of the units in memory that match a shell pattern, in order.
    pub async fn names_like(&self, pattern: &str) -> Result<Vec<String>> {
        let listed = limited(async { anyhow::Ok(self.manager.list_units_by_patterns(&[], &[pattern]).await?) }).await;
        let listed = listed.with_context(|| format!("failed to list the units that are called {pattern}"))?;
        let mut names: Vec<String> = listed.into_iter().map(|unit| unit.0).collect();
        names.sort();
        Ok(names)
    }

    /// Freezes a unit. Returns when every process of it is frozen. Needs no job, so it is refused while one is queued.
    pub async fn freeze(&self, unit: &str) -> Result<()> {
        limited(async { anyhow::Ok(self.manager.freeze_unit(unit).await?) })
            .await
            .with_context(|| format!("failed to freeze {unit}"))
    }

    /// Thaws a unit. Returns when its processes run, which may be at once. systemd 252 refuses this until a freeze that
    /// was asked for is complete; call it again then.
    pub async fn thaw(&self, unit: &str) -> Result<()> {
        limited(async { anyhow::Ok(self.manager.thaw_unit(unit).await?) })
            .await
            .with_context(|| format!("failed to thaw {unit}"))
    }

    /// The version of systemd, like `252.39-1~deb12u1`.
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

    /// All words of the command lines that a service starts with.
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

    /// Resets earlier failures, so that the start limit (`StartLimitBurst=3` in 60 s in Docker's unit) does not refuse
    /// the next start. It is no error if there is none.
    pub async fn reset_failed(&self, unit: &str) {
        if let Err(error) = self.manager.reset_failed_unit(unit).await {
            tracing::debug!(unit, %error, "systemd had nothing to reset");
        }
    }

    pub async fn state(&self, unit: &str) -> Result<UnitState> {
        limited(self.read_state(unit)).await.with_context(|| format!("failed to ask systemd for the state of {unit}"))
    }

    /// Whether and where a service can be frozen.
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

pub(super) async fn limited<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let limited = tokio::time::timeout(CALL_LIMIT, call);
    limited.await.with_context(|| format!("systemd did not answer within {} s", CALL_LIMIT.as_secs()))?
}

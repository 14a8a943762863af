//! The relations between units, and the unit that a process belongs to.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use zbus::{OwnedVariant, fdo::PropertiesProxy, names::InterfaceName};

use super::{
    bus::{Systemd, limited},
    interfaces::{JobProxy, UnitProxy},
};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The properties with the units that a stop of a unit is passed on to; a start is passed on to none of them (systemd
/// `core/unit-dependency-atom.c`, `UNIT_ATOM_PROPAGATE_STOP`). The last one came with systemd 249.
const STOPPED_WITH_IT: [&str; 5] = ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];

/// How systemd stops a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopping {
    /// `TimeoutStopSec=`, after which systemd kills it; without one it never does.
    pub limit: Option<Duration>,
    /// True if the limit is the unit's own, not the host's default (`DefaultTimeoutStopSec=`).
    pub limit_given: bool,
    /// True if every process of the service is stopped, not the main one alone.
    pub ends_all: bool,
}

/// The last times at which a unit changed; 0 is never, or forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// When it last became inactive, in microseconds since the boot.
    pub inactive_since: u64,
    /// When its last start began, in microseconds since the boot.
    pub begun_since: u64,
    pub active_at: Timestamp,
}

impl Changes {
    /// True if systemd has dropped what it knew: it does so for a unit that is off and not referred to
    /// (`CollectMode=`).
    pub fn is_forgotten(&self) -> bool {
        self.begun_since == 0
    }

    /// True if a unit that is off ran again since the last start of the engine began, and ended after that. A oneshot
    /// service never becomes active, so that is not required.
    pub fn ran_since(&self, engine: &Changes) -> bool {
        self.begun_since > engine.begun_since && self.inactive_since >= self.begun_since
    }
}

impl Systemd {
    /// The units that a stop of this one directly stops too.
    pub async fn stopped_with(&self, unit: &str) -> Result<Vec<String>> {
        let properties = self.properties(unit, UNIT).await?;
        Ok(STOPPED_WITH_IT.iter().flat_map(|name| names(&properties, name)).collect())
    }

    /// True if a start of the unit is queued: it waits for others, or is being restarted. A stop of a unit that it
    /// requires cancels that.
    pub async fn is_to_start(&self, unit: &str) -> Result<bool> {
        let read = async {
            let path = self.manager.load_unit(unit).await?;
            let (number, job) = UnitProxy::new(&self.bus, path).await?.job().await?;
            if number == 0 {
                return anyhow::Ok(false);
            }
            // The job may be done by now; then the unit's own state says the rest.
            let kind = JobProxy::new(&self.bus, job).await?.job_type().await.unwrap_or_default();
            Ok(matches!(kind.as_str(), "start" | "restart" | "try-restart"))
        };
        limited(read).await.with_context(|| format!("failed to ask systemd what is queued for {unit}"))
    }

    /// The units that a start of this one directly starts too.
    pub async fn started_with(&self, unit: &str) -> Result<Vec<String>> {
        let properties = self.properties(unit, UNIT).await?;
        Ok(["Wants", "Requires", "BindsTo"].iter().flat_map(|name| names(&properties, name)).collect())
    }

    /// The timers, sockets and paths that trigger this unit.
    pub async fn triggers_of(&self, unit: &str) -> Result<Vec<String>> {
        Ok(names(&self.properties(unit, UNIT).await?, "TriggeredBy"))
    }

    /// True if an operator could start the unit once it is stopped, which a unit in systemd's memory only does not
    /// allow.
    pub async fn can_be_started_again(&self, unit: &str) -> Result<bool> {
        let properties = self.properties(unit, UNIT).await?;
        let is = |name: &str| properties.get(name).and_then(|value| bool::try_from(value).ok());
        Ok(is("CanStart").unwrap_or(true) && !is("Transient").unwrap_or_default())
    }

    /// The units whose start starts this one too (`Wants=`).
    pub async fn wanted_by(&self, unit: &str) -> Result<Vec<String>> {
        Ok(names(&self.properties(unit, UNIT).await?, "WantedBy"))
    }

    /// The units for which systemd starts this one whenever it is off (`Upholds=`, since systemd 249).
    pub async fn upheld_by(&self, unit: &str) -> Result<Vec<String>> {
        Ok(names(&self.properties(unit, UNIT).await?, "UpheldBy"))
    }

    /// True if systemd starts the service again when it ends (`Restart=`).
    pub async fn restarts_itself(&self, unit: &str) -> bool {
        if !unit.ends_with(".service") {
            return false;
        }
        let properties = self.properties(unit, SERVICE).await.unwrap_or_default();
        properties.get("Restart").and_then(|when| <&str>::try_from(when).ok()).is_some_and(|when| when != "no")
    }

    /// The sockets that start this service on a connection.
    pub async fn sockets_of(&self, service: &str) -> Result<Vec<String>> {
        Ok(self.triggers_of(service).await?.into_iter().filter(|name| name.ends_with(".socket")).collect())
    }

    pub async fn stopping(&self, service: &str) -> Result<Stopping> {
        let properties = self.properties(service, SERVICE).await?;
        let mode = properties.get("KillMode").and_then(|mode| <&str>::try_from(mode).ok());
        let limit = properties.get("TimeoutStopUSec").and_then(|limit| u64::try_from(limit).ok()).and_then(finite);
        let usual = limited(async { anyhow::Ok(self.manager.default_timeout_stop_u_sec().await?) }).await;
        Ok(Stopping {
            limit,
            limit_given: usual.is_ok_and(|usual| finite(usual) != limit),
            ends_all: matches!(mode, Some("control-group" | "mixed")),
        })
    }

    /// True if the unit does its work and ends (`Type=oneshot`).
    pub async fn is_oneshot(&self, unit: &str) -> bool {
        if !unit.ends_with(".service") {
            return false;
        }
        let properties = self.properties(unit, SERVICE).await.unwrap_or_default();
        properties.get("Type").and_then(|kind| <&str>::try_from(kind).ok()) == Some("oneshot")
    }

    /// When the unit last changed.
    pub async fn changes(&self, unit: &str) -> Result<Changes> {
        let properties = self.properties(unit, UNIT).await?;
        let of = |name: &str| properties.get(name).and_then(|at| u64::try_from(at).ok()).unwrap_or_default();
        Ok(Changes {
            inactive_since: of("InactiveEnterTimestampMonotonic"),
            begun_since: of("InactiveExitTimestampMonotonic"),
            active_at: i64::try_from(of("ActiveEnterTimestamp"))
                .ok()
                .and_then(|micros| Timestamp::from_microsecond(micros).ok())
                .unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// The unit that this process runs in; `None` if systemd knows none.
    pub async fn unit_of(&self, pid: u32) -> Option<String> {
        let ask = async {
            let path = self.manager.get_unit_by_pid(pid).await?;
            anyhow::Ok(UnitProxy::new(&self.bus, path).await?.id().await?)
        };
        limited(ask).await.inspect_err(|error| tracing::debug!(pid, "systemd names no unit: {error:#}")).ok()
    }

    async fn properties(&self, unit: &str, interface: &'static str) -> Result<HashMap<String, OwnedVariant>> {
        let read = async {
            let path = self.manager.load_unit(unit).await?;
            let proxy = PropertiesProxy::builder(&self.bus).destination(SYSTEMD).path(path).build().await?;
            anyhow::Ok(proxy.get_all(InterfaceName::from_static_str(interface)?).await?)
        };
        limited(read).await.with_context(|| format!("failed to ask systemd what hangs together with {unit}"))
    }
}

/// The unit names in a property; a property that an older systemd lacks is an empty list.
fn names(properties: &HashMap<String, OwnedVariant>, name: &str) -> Vec<String> {
    let names = properties.get(name).and_then(|names| names.try_clone().ok());
    names.and_then(|names| Vec::<String>::try_from(names).ok()).unwrap_or_default()
}

/// The duration of a setting. systemd writes "never" as the highest number; some versions return the 0 of the setting.
fn finite(micros: u64) -> Option<Duration> {
    (micros != u64::MAX && micros != 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    #[test]
    fn a_list_of_names_is_read_and_a_missing_one_is_empty() {
        let listed = OwnedVariant::try_from(Variant::new(vec!["a.service", "b.timer"])).expect("is owned");
        let properties = HashMap::from([("RequiredBy".to_owned(), listed)]);
        assert_eq!(names(&properties, "RequiredBy"), ["a.service", "b.timer"]);
        assert!(names(&properties, "PropagatesStopTo").is_empty());
    }

    #[test]
    fn a_limit_of_infinity_is_none() {
        assert_eq!(finite(90_000_000), Some(Duration::from_secs(90)));
        assert_eq!(finite(u64::MAX), None);
        assert_eq!(finite(0), None);
    }

    #[test]
    fn a_unit_that_ran_since_the_engine_was_started_is_recognised() {
        let at =
            |begun_since, inactive_since| Changes { inactive_since, begun_since, active_at: Timestamp::UNIX_EPOCH };
        let engine = at(100, 90);
        for (unit, expected) in [(at(50, 80), false), (at(0, 0), false), (at(110, 120), true), (at(110, 80), false)] {
            assert_eq!(unit.ran_since(&engine), expected, "{unit:?}");
        }
    }
}

//! How units hang together, and which of them a process belongs to.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use zbus::{OwnedVariant, fdo::PropertiesProxy, names::InterfaceName};

use super::{Systemd, UnitProxy, limited};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// A stop of a unit is passed on to all units in these properties of it, a start to none (systemd
/// `core/unit-dependency-atom.c`, `UNIT_ATOM_PROPAGATE_STOP`). The last one came with systemd 249.
const STOPPED_WITH_IT: [&str; 5] = ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];

/// How systemd stops a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopping {
    /// `TimeoutStopSec=`: then it kills; never, if there is none.
    pub limit: Option<Duration>,
    /// Every process of the service is ended, not its main one alone.
    pub ends_all: bool,
}

/// The last times that a unit changed; 0 is never, or forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// Microseconds since the boot.
    pub inactive_since: u64,
    pub active_since: u64,
    pub active_at: Timestamp,
}

impl Systemd {
    /// The units that a stop of this one stops too, directly.
    pub async fn stopped_with(&self, unit: &str) -> Result<Vec<String>> {
        let properties = self.properties(unit, UNIT).await?;
        Ok(STOPPED_WITH_IT.iter().flat_map(|name| names(&properties, name)).collect())
    }

    /// The sockets that start this service when somebody calls.
    pub async fn sockets_of(&self, service: &str) -> Result<Vec<String>> {
        let properties = self.properties(service, UNIT).await?;
        Ok(names(&properties, "TriggeredBy").into_iter().filter(|name| name.ends_with(".socket")).collect())
    }

    pub async fn stopping(&self, service: &str) -> Result<Stopping> {
        let properties = self.properties(service, SERVICE).await?;
        let mode = properties.get("KillMode").and_then(|mode| <&str>::try_from(mode).ok());
        Ok(Stopping {
            limit: properties.get("TimeoutStopUSec").and_then(|limit| u64::try_from(limit).ok()).and_then(finite),
            ends_all: matches!(mode, Some("control-group" | "mixed")),
        })
    }

    /// When the unit last changed.
    pub async fn changes(&self, unit: &str) -> Result<Changes> {
        let properties = self.properties(unit, UNIT).await?;
        let of = |name: &str| properties.get(name).and_then(|at| u64::try_from(at).ok()).unwrap_or_default();
        Ok(Changes {
            inactive_since: of("InactiveEnterTimestampMonotonic"),
            active_since: of("ActiveEnterTimestampMonotonic"),
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

/// A property that an older systemd lacks is an empty list.
fn names(properties: &HashMap<String, OwnedVariant>, name: &str) -> Vec<String> {
    let names = properties.get(name).and_then(|names| names.try_clone().ok());
    names.and_then(|names| Vec::<String>::try_from(names).ok()).unwrap_or_default()
}

/// systemd writes "never" as the highest number.
fn finite(micros: u64) -> Option<Duration> {
    (micros != u64::MAX).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    #[test]
    fn a_list_of_names_is_read_and_one_that_is_not_there_is_empty() {
        let listed = OwnedVariant::try_from(Variant::new(vec!["a.service", "b.timer"])).expect("is owned");
        let properties = HashMap::from([("RequiredBy".to_owned(), listed)]);
        assert_eq!(names(&properties, "RequiredBy"), ["a.service", "b.timer"]);
        assert!(names(&properties, "PropagatesStopTo").is_empty());
    }

    #[test]
    fn a_limit_of_infinity_is_none() {
        assert_eq!(finite(90_000_000), Some(Duration::from_secs(90)));
        assert_eq!(finite(u64::MAX), None);
    }
}

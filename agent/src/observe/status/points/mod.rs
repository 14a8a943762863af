//! The newest recovery point as the status shows it, and the newest that is complete.

use std::fmt;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, TrustedKeys, point::Point, untrusted::shown};
use swarmdr_vault::{
    Lock, Vault,
    catalog::{Entry, Filter, NewestPoints, Place, PointSeries, SeenPoint, newest_points, order, points_of},
};

use super::{
    Level, StreamStatus,
    look::{FINDINGS_LISTED, Looked, read_lock},
    show::ago,
};
use crate::{config::Config, points::reasons};

/// What the vaults show of recovery points.
#[derive(Debug, Clone, Serialize)]
pub struct PointStatus {
    /// Whether this host's configuration has data that belongs to the state; otherwise nothing is judged.
    pub configured: bool,
    /// The newest one over all vaults.
    pub newest: Option<PointSeen>,
    /// The newest complete one; it may be the newest.
    pub newest_complete: Option<PointSeen>,
}

/// A recovery point in a vault.
#[derive(Debug, Clone, Serialize)]
pub struct PointSeen {
    pub id: BackupId,
    pub made_at: Timestamp,
    /// Host by whose configuration it is complete or not.
    pub hostname: String,
    pub complete: bool,
    /// Why it is not complete.
    pub missing: Vec<String>,
    /// Seconds between its oldest and its newest part.
    pub seconds_apart: Option<u64>,
    /// Absent where it is not locked, and where the lock cannot be read.
    pub lock: Option<Lock>,
    #[serde(skip)]
    pub place: Place,
}

/// The recovery points of one vault.
#[derive(Debug, Default)]
pub struct InVault {
    newest: Vec<PointSeen>,
    complete: Vec<PointSeen>,
    pub findings: Vec<String>,
}

impl InVault {
    /// Finds the newest ones that the filter admits.
    pub async fn look(&mut self, vault: &dyn Vault, filter: &Filter, keys: &TrustedKeys, now: Timestamp) -> Result<()> {
        for series in points_of(vault, filter).await?.names {
            let findings = &mut self.findings;
            let on_bad = |entry: Entry<PointSeries>| {
                if findings.len() < FINDINGS_LISTED {
                    findings.push(entry.to_string());
                }
                Ok(())
            };
            let NewestPoints { newest, complete } = newest_points(vault, &series, filter, keys, now, on_bad).await?;
            for (found, seen) in [(newest, &mut self.newest), (complete, &mut self.complete)] {
                let Some(found) = found else { continue };
                let lock = read_lock(vault, &found.at, "recovery point", &mut self.findings).await?.flatten();
                seen.push(PointSeen::of(found, lock));
            }
        }
        Ok(())
    }
}

impl PointSeen {
    fn of(SeenPoint { head, place, .. }: SeenPoint, lock: Option<Lock>) -> Self {
        let point: Point = head.point;
        Self {
            id: point.id,
            made_at: point.made_at,
            complete: point.is_complete(),
            missing: reasons(&point),
            seconds_apart: point.span().map(|span| span.seconds()),
            hostname: point.hostname,
            lock,
            place,
        }
    }
}

impl PointStatus {
    /// What all vaults show together; `None` where this host has no data and there is no point.
    pub fn of(config: &Config, looked: &[Looked], now: Timestamp) -> Option<Self> {
        let of_all = newest(looked.iter().flat_map(|it| &it.points.newest), now);
        let newest_complete = newest(looked.iter().flat_map(|it| &it.points.complete), now);
        let configured = !(config.stream.is_empty() && config.external.is_empty());
        (configured || of_all.is_some()).then_some(Self { configured, newest: of_all, newest_complete })
    }

    /// Says why data could not be brought back together with a state. It needs streams of which one was ever stored.
    pub fn judge(&self, streams: &[StreamStatus], now: Timestamp, say: &mut impl FnMut(Level, String)) {
        if !self.configured {
            return;
        }
        let Some(newest) = &self.newest else {
            if streams.iter().any(|stream| stream.newest.is_some()) {
                say(Level::Warning, "no recovery point that verifies is in any vault".to_owned());
            }
            return;
        };
        if !newest.complete {
            let complete = match &self.newest_complete {
                Some(complete) => format!("the newest complete one, {}, is from {}", complete.id, complete.made_at),
                None => "no earlier one is complete".to_owned(),
            };
            let (id, why) = (newest.id, newest.missing.join(", "));
            say(Level::Warning, format!("the newest recovery point {id} is not complete: {why}; {complete}"));
        }
        if let Some(complete) = self.newest_complete.as_ref().filter(|it| it.lock.is_some_and(|it| it.until <= now)) {
            let id = complete.id;
            say(
                Level::Warning,
                format!("the lock of the newest complete recovery point {id} has ended: it can be deleted"),
            );
        }
    }

    pub fn show(&self, now: Timestamp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(newest) = &self.newest else { return writeln!(f, "  point    none seen") };
        write!(f, "  point    {} from {}, {}: ", newest.id, shown(&newest.hostname), ago(now, newest.made_at))?;
        if newest.complete {
            return writeln!(f, "complete");
        }
        write!(f, "NOT complete: {}", shown(newest.missing.join(", ")))?;
        match &self.newest_complete {
            Some(complete) => writeln!(f, "; complete: {}, {}", complete.id, ago(now, complete.made_at)),
            None => writeln!(f, "; none is complete"),
        }
    }
}

fn newest<'a>(seen: impl Iterator<Item = &'a PointSeen>, now: Timestamp) -> Option<PointSeen> {
    let all: Vec<&PointSeen> = seen.collect();
    let places: Vec<Place> = all.iter().map(|it| it.place.clone()).collect();
    order::newest(&places, |_| true, now).map(|index| all[index].clone())
}

#[cfg(test)]
pub(crate) mod tests;

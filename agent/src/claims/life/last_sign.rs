//! The last sign of life that this host left, for the next run, for `status`, and to know it again in a vault.

use std::path::Path;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use swarmdr_archive::ClusterId;

use super::fresh_for;
use crate::host::files::whole_file;

const FILE: &str = "life.json";

/// A timer fires a little early or late; a sign is due by then.
const TICK: SignedDuration = SignedDuration::from_secs(10);

/// The last sign. It holds names only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSign {
    /// Random id of this host, which all of its signs carry.
    pub host: String,
    pub cluster: ClusterId,
    /// When a vault took it last, by this host's clock; absent if none ever did.
    pub at: Option<Timestamp>,
    /// The latest time that any of its signs bears, written before that one is left; absent if an older agent wrote this.
    #[serde(default)]
    pub signed: Option<Timestamp>,
    /// Vaults that took it.
    pub vaults: Vec<String>,
}

impl LastSign {
    /// Returns the last sign of this host; `None` if there is none, or it cannot be read.
    pub fn read(state_dir: &Path) -> Option<Self> {
        whole_file::read_json(&state_dir.join(FILE))
    }

    pub fn write(&self, state_dir: &Path) -> Result<()> {
        let path = state_dir.join(FILE);
        whole_file::replace_json(&path, self).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Whether the next one is due. One of the future was left with a wrong clock: waiting for that time could take longer than
    /// it counts.
    pub fn is_due(&self, cluster: &ClusterId, every: u32, now: Timestamp) -> bool {
        let since = |at: Timestamp| now.duration_since(at);
        *cluster != self.cluster
            || self
                .at
                .is_none_or(|at| since(at) >= SignedDuration::from_secs(i64::from(every)) - TICK || since(at) < -TICK)
    }

    /// Whether others take this site for dead by now, or soon.
    pub fn is_late(&self, every: u32, now: Timestamp) -> bool {
        self.at.is_none_or(|at| now.duration_since(at) > fresh_for(every))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("is a time")
    }

    fn last(at: Option<&str>) -> LastSign {
        LastSign {
            host: "i".to_owned(),
            cluster: "c".parse().expect("is an id"),
            at: at.map(time),
            signed: None,
            vaults: Vec::new(),
        }
    }

    #[test]
    fn the_next_sign_is_due_after_its_interval_and_when_the_clock_was_wrong() {
        let (own, other) = ("c".parse().expect("is an id"), "d".parse().expect("is an id"));
        let sign = last(Some("2026-11-21T10:00:00Z"));
        for (now, due) in [
            ("2026-11-21T10:01:00Z", false),
            ("2026-11-21T10:01:50Z", true),
            ("2026-11-21T09:59:55Z", false),
            ("2026-11-21T09:59:45Z", true),
            ("2026-11-21T09:00:00Z", true),
        ] {
            assert_eq!(sign.is_due(&own, 120, time(now)), due, "{now}");
        }
        assert!(sign.is_due(&other, 120, time("2026-11-21T10:00:01Z")), "it is of another swarm");
        assert!(last(None).is_due(&own, 120, time("2026-11-21T10:00:01Z")));
    }

    #[test]
    fn it_is_late_when_others_may_take_this_site_for_dead() {
        let sign = last(Some("2026-11-21T10:00:00Z"));
        assert!(!sign.is_late(120, time("2026-11-21T10:07:00Z")));
        assert!(sign.is_late(120, time("2026-11-21T10:07:01Z")));
        assert!(last(None).is_late(120, time("2026-11-21T10:00:00Z")));
    }

    #[test]
    fn it_is_remembered_and_a_damaged_record_is_none() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        assert_eq!(LastSign::read(dir.path()), None);
        last(Some("2026-11-21T10:00:00Z")).write(dir.path()).expect("writes");
        assert_eq!(LastSign::read(dir.path()), Some(last(Some("2026-11-21T10:00:00Z"))));
        fs::write(dir.path().join(FILE), "{").expect("writes");
        assert_eq!(LastSign::read(dir.path()), None);
    }
}

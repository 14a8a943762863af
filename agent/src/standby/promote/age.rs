//! The age of a backup: what a promotion to it loses.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use crate::outcome::failure::Failure;

/// The age of a backup, and the clock by which it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    seconds: i64,
    is_by_vault: bool,
}

impl Age {
    /// Judges by the vault's clock: a spare host that was off for long may have any time. `stored` and `now` are by that
    /// clock, as far as it is known; `here` is this host's.
    ///
    /// A backup may have waited in a spool before it was stored, and the clock of its manager may have been ahead: the
    /// earlier one of its two times counts, so it is never taken for younger than it is.
    pub fn of(created_at: Timestamp, stored: Option<Timestamp>, now: Option<Timestamp>, here: Timestamp) -> Self {
        let since = stored.map_or(created_at, |stored| stored.min(created_at));
        Self { seconds: now.unwrap_or(here).duration_since(since).as_secs(), is_by_vault: now.is_some() }
    }

    /// Tells that no vault said what time it is.
    pub fn told(self) -> Option<String> {
        (!self.is_by_vault).then(|| {
            "no vault told the time, so the age of the backup is by this host's clock: see that it is right".to_owned()
        })
    }

    /// Refuses a backup that is older than the operator wants to lose. Returns the seconds that are lost.
    pub fn require(self, max_lag: Option<Duration>) -> Result<i64> {
        match max_lag {
            Some(most) if self.seconds > i64::try_from(most.as_secs()).unwrap_or(i64::MAX) => Err(Failure::refused(format!(
                "the newest backup is {} old by the clock of {}, which is more than --max-lag (standby.max_lag) allows",
                human(self.seconds),
                if self.is_by_vault { "its vault" } else { "this host" }
            ))
            .advice("whatever was changed in the swarm since then is lost by a promotion: if that is all right, use a longer --max-lag")
            .into()),
            _ => Ok(self.seconds),
        }
    }
}

/// Returns a length of time in words.
pub fn human(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 86_400, seconds / 3_600, seconds / 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().expect("is a time")
    }

    #[test]
    fn the_vaults_clock_judges_where_there_is_one() {
        // This host was off for years.
        let here = "2020-01-01T00:00:00Z".parse().expect("is a time");
        let now = Some(at("21T06:00"));
        for (made, stored, seconds) in [
            ("21T04:00", Some("21T04:00"), 7_200),
            ("21T04:00", None, 7_200),
            // It waited in a spool.
            ("21T02:00", Some("21T05:00"), 14_400),
            // The manager's clock was ahead by a day.
            ("22T05:00", Some("21T05:00"), 3_600),
        ] {
            let age = Age::of(at(made), stored.map(at), now, here);
            assert_eq!((age.seconds, age.told()), (seconds, None), "{made} {stored:?}");
        }
        let local = Age::of(at("21T04:00"), None, None, at("21T05:00"));
        assert_eq!(local.seconds, 3_600);
        assert!(local.told().is_some_and(|told| told.contains("this host's clock")));
    }

    #[test]
    fn a_backup_that_is_too_old_is_refused() {
        let age = |made: &str| Age::of(at(made), None, Some(at("21T06:00")), at("21T06:00"));
        let two_hours = Some(Duration::from_secs(7_200));
        assert_eq!(age("21T04:00").require(two_hours).expect("is recent"), 7_200);
        assert_eq!(age("20T04:00").require(None).expect("has no limit"), 93_600);
        let refused = age("21T03:59").require(two_hours).expect_err("is old");
        let rendered = Rendered::of(&refused);
        assert_eq!(rendered.exit, Exit::Refused);
        assert!(rendered.what.contains("2 h 1 min old by the clock of its vault"), "{rendered}");
    }

    #[test]
    fn lengths_are_told_in_their_largest_units() {
        let told = [-1, 59, 60, 7_260, 90_000].map(human);
        assert_eq!(told, ["0 s", "59 s", "1 min", "2 h 1 min", "1 d 1 h"]);
    }
}

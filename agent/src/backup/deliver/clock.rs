//! The clock of this host, compared with that of a vault.

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_vault::clock::SKEW;

use crate::outcome::failure::Failure;

/// Fails if the clock of this host is more than [`SKEW`] ahead; returns a warning if it is more than that behind.
pub fn check_clock(here: Timestamp, there: Timestamp, vault: &str) -> Result<Option<String>> {
    let ahead = here.duration_since(there);
    if ahead > SKEW {
        let what = format!("the clock of this host is {} min ahead of that of {vault}", ahead.as_mins());
        return Err(Failure::failed(format!(
            "{what}, so a backup would be dated in the future; the engine was not touched"
        ))
        .advice("set the clock of this host (chrony, systemd-timesyncd)")
        .into());
    }
    let behind = format!("the clock of this host is {} min behind that of {vault}: set it", (-ahead).as_mins());
    Ok((-ahead > SKEW).then_some(behind))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    #[test]
    fn a_clock_that_is_ahead_stops_a_backup_before_the_engine_is_touched() {
        let there: Timestamp = "2026-11-21T10:00:00Z".parse().expect("is a time");
        let judge = |minutes| check_clock(there + SignedDuration::from_mins(minutes), there, "s3://a/b");
        for fine in [0, 15, -15] {
            assert_eq!(judge(fine).expect("is fine"), None);
        }
        assert!(judge(-16).expect("is late, no more").expect("is told").contains("16 min behind that of s3://a/b"));
        let error = Rendered::of(&judge(300 * 24 * 60).expect_err("is ahead"));
        assert!(error.exit == Exit::Failed && error.what.contains("the engine was not touched"), "{error}");
    }
}

//! Whose turn it is where several hosts claim the swarm at the same time and each loses to another one.
//!
//! In one vault the rules of [`judge`] let one win. Over several vaults, or between claims that do not follow the same one,
//! each of two may come before the other somewhere. Then all of them are in one order: by the time at which the first vault
//! got them, and by id. The first one waits until the others have given way, and makes its claim anew; they end.
//!
//! Everybody who sees the same claims finds the same order: a host compares only after its own claim is in the vaults that
//! it reaches, and what comes there later is later. One that sees less goes on or ends, and never gives way after that, so
//! who waits for it ends too.

use std::time::Duration;

use anyhow::Result;

use super::{Attempt, vault::Put};
use crate::claims::{
    Claim, Ended, FRESH, Query, Reading, Seen, Status,
    held::{age, place},
    judge, read_all_within,
};

/// Time for a rival to read the vaults and to give way, besides what it lets its claim settle in each.
const GIVES_WAY: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(500);

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// No rival is left.
    Ours,
    /// A rival was there first, or this claim is nowhere.
    Theirs,
    /// This claim is the first, and the others have not given way yet, as far as is known.
    Open,
}

impl Attempt<'_> {
    /// Whether a claim that lost in some vault is the first of all over the vaults, and every rival has given way.
    /// `lost_in`: the vault that showed a rival, without which nobody knows what became of that one.
    pub(super) async fn comes_first(&self, put: &Put<'_>, lost_in: &str) -> bool {
        let claim = put.claim;
        let settle = self.config.standby.claim_settle.duration();
        let limit = GIVES_WAY + settle * u32::try_from(self.vaults.len()).unwrap_or(1);
        let begun = tokio::time::Instant::now();
        loop {
            let query = Query { first: &[claim.epoch], ..self.query() };
            let readings = read_all_within(self.vault_limit(), self.vaults, query).await;
            match turn(&readings, lost_in, claim, |seen| put.has_seen(seen)) {
                Turn::Ours => return true,
                Turn::Theirs => return false,
                Turn::Open if begun.elapsed() >= limit => return false,
                Turn::Open => tokio::time::sleep(POLL).await,
            }
        }
    }
}

/// Finds whose turn it is. `is_known`: claims that were seen when this one was made are no rivals.
fn turn(readings: &[Result<Reading>], lost_in: &str, claim: &Claim, is_known: impl Fn(&Seen) -> bool) -> Turn {
    let read: Vec<&Reading> = readings.iter().flatten().collect();
    let Some(own) = place(&read, claim) else { return Turn::Theirs };
    let ended = Ended::of(read.iter().copied());
    let entries = read.iter().flat_map(|reading| judge(reading, &ended));
    let is_rival = |seen: &Seen| {
        let is_fresh = age(read.iter().copied(), &seen.claim) < FRESH;
        seen.claim.claim_id != claim.claim_id && is_fresh && !is_known(seen)
    };
    let rivals = entries.filter(|entry| entry.status == Status::Holds && is_rival(&entry.seen));
    match rivals.filter_map(|entry| place(&read, &entry.seen.claim)).min() {
        Some(first) if first < own => Turn::Theirs,
        None if read.iter().any(|reading| reading.vault == lost_in && reading.is_whole) => Turn::Ours,
        _ => Turn::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::testkit::{claim, reading, released, second_at, seen};

    /// Each was the first in one vault. Both find the same one, whatever of the other is there already.
    #[test]
    fn two_that_lost_to_each_other_find_the_same_first_one() {
        let at = |mut reading: Reading| {
            reading.now = second_at(60);
            Ok(reading)
        };
        let (x, y) = (claim(2, 1, None), claim(2, 2, None));
        for (x_in_a, y_in_b, first) in [(0, 1, 1), (1, 0, 2), (0, 0, 1)] {
            let a = |y_too: bool| {
                let late = y_too.then(|| seen(y.clone(), 5));
                at(reading("a", [seen(x.clone(), x_in_a)].into_iter().chain(late).collect()))
            };
            let b = |x_too: bool| {
                let late = x_too.then(|| seen(x.clone(), 6));
                at(reading("b", [seen(y.clone(), y_in_b)].into_iter().chain(late).collect()))
            };
            for (y_too, x_too) in [(true, true), (true, false), (false, true)] {
                let readings = [a(y_too), b(x_too)];
                let turns = [&x, &y].map(|claim| turn(&readings, "memory://b", claim, |_| false));
                let expected = if first == 1 { [Turn::Open, Turn::Theirs] } else { [Turn::Theirs, Turn::Open] };
                assert_eq!(turns, expected, "{x_in_a} {y_in_b} {y_too} {x_too}");
            }
        }
        // It has given way; it is old; it was seen; the own one is nowhere.
        let mut in_b = reading("b", vec![seen(y.clone(), 1)]);
        in_b.now = second_at(60);
        let in_a = || at(reading("a", vec![seen(x.clone(), 0)]));
        let given_up = Reading { releases: vec![released(&in_b.claims[0])], ..in_b.clone() };
        assert_eq!(turn(&[in_a(), Ok(given_up)], "memory://b", &x, |_| false), Turn::Ours);
        let old = Reading { now: second_at(60 * 60), ..in_b.clone() };
        assert_eq!(turn(&[in_a(), Ok(old)], "memory://b", &x, |_| false), Turn::Ours);
        assert_eq!(turn(&[in_a(), Ok(in_b.clone())], "memory://b", &x, |_| true), Turn::Ours);
        // The vault that showed the rival does not answer by now, or not in full: the rival may hold there still.
        let cut = Reading { is_whole: false, claims: Vec::new(), ..in_b.clone() };
        for unknown in [Err(anyhow::anyhow!("away")), Ok(cut)] {
            assert_eq!(turn(&[in_a(), unknown], "memory://b", &x, |_| false), Turn::Open);
        }
        assert_eq!(turn(&[Ok(in_b)], "memory://b", &x, |_| false), Turn::Theirs);
    }
}

//! The claims that count, over all vaults that could be read.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::{Claim, Ended, Entry, FRESH, Reading, Seen, Status, judge, judge::order, newest, owner};

/// The claim that holds in each vault that could be read.
pub fn holders(readings: &[Result<Reading>]) -> Vec<(&Reading, Seen)> {
    chosen(readings, newest)
}

/// The claim in each vault that says whose the swarm is, also if its site has stepped down since.
pub fn owners(readings: &[Result<Reading>]) -> Vec<(&Reading, Seen)> {
    chosen(readings, owner)
}

fn chosen(readings: &[Result<Reading>], choose: fn(&[Entry]) -> Option<&Seen>) -> Vec<(&Reading, Seen)> {
    let ended = Ended::of(readings.iter().flatten());
    readings.iter().flatten().filter_map(|reading| Some((reading, choose(&judge(reading, &ended))?.clone()))).collect()
}

/// The newest claim that held before this one.
pub fn before(readings: &[Result<Reading>], claim: &Claim) -> Option<Claim> {
    let ended = Ended::of(readings.iter().flatten());
    let entries = readings.iter().flatten().flat_map(|reading| judge(reading, &ended));
    let held = entries.filter(|it| it.status == Status::Holds && it.seen.claim.epoch < claim.epoch);
    held.max_by_key(|it| it.seen.claim.epoch).map(|it| it.seen.claim)
}

/// Describes the vaults that could not be read.
pub fn unread(readings: &[Result<Reading>]) -> Vec<String> {
    readings.iter().filter_map(|reading| reading.as_ref().err()).map(|error| format!("{error:#}")).collect()
}

/// The age of a claim by the clock of the vault that has it longest: a copy is stored later. One from the future, as in a
/// directory, is as fresh as can be, and so is one that is nowhere.
pub fn age<'a>(readings: impl IntoIterator<Item = &'a Reading>, claim: &Claim) -> SignedDuration {
    let ages = readings
        .into_iter()
        .flat_map(|reading| versions(reading, claim).map(|seen| reading.now.duration_since(seen.stored)));
    ages.max().unwrap_or_default()
}

/// The time at which the first vault got a claim.
pub fn since<'a>(readings: impl IntoIterator<Item = &'a Reading>, claim: &Claim) -> Option<Timestamp> {
    readings.into_iter().flat_map(|reading| versions(reading, claim)).map(|seen| seen.stored).min()
}

/// Returns a fresh claim of another that holds in this vault and was there before this one, unless `is_known` says that it
/// was seen when this one was made. Whose epoch is higher says nothing then: the two do not follow the same claim.
pub fn overlooked<'a>(
    entries: &'a [Entry],
    reading: &Reading,
    claim: &Claim,
    is_known: impl Fn(&Seen) -> bool,
) -> Option<&'a Seen> {
    let own = entries.iter().map(|entry| &entry.seen).find(|seen| seen.claim.claim_id == claim.claim_id);
    entries.iter().filter(|entry| entry.status == Status::Holds).map(|entry| &entry.seen).find(|seen| {
        seen.claim.claim_id != claim.claim_id
            && own.is_none_or(|own| order(seen) < order(own))
            && age([reading], &seen.claim) < FRESH
            && !is_known(seen)
    })
}

fn versions<'a>(reading: &'a Reading, claim: &Claim) -> impl Iterator<Item = &'a Seen> {
    let (epoch, id) = (claim.epoch, claim.claim_id);
    reading.claims.iter().filter(move |seen| (seen.claim.epoch, seen.claim.claim_id) == (epoch, id))
}

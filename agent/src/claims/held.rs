//! The claims that count, over all vaults that could be read.

use std::cmp::Reverse;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::{Claim, ClaimId, Ended, Entry, FRESH, Reading, Seen, Status, judge, judge::order, newest, owner};

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

/// Place of a claim among all over the vaults.
pub type Place = (Timestamp, ClaimId);

/// Returns the place of a claim among those of the same epoch, and among rivals: the time at which the first vault got it,
/// by that vault's clock, and its id. `None` if it is in none.
pub fn place(readings: &[&Reading], claim: &Claim) -> Option<Place> {
    Some((since(readings.iter().copied(), claim)?, claim.claim_id))
}

/// Returns the claim that counts of those that vaults show: the highest epoch; of several with that, the first in its place.
/// Everybody who reads the same vaults finds the same one.
pub fn foremost<'a>(readings: &[&Reading], shown: Vec<(&'a Reading, Seen)>) -> Option<(&'a Reading, Seen)> {
    shown.into_iter().min_by_key(|(_, seen)| rank(readings, &seen.claim))
}

fn rank(readings: &[&Reading], claim: &Claim) -> (Reverse<u32>, Option<Place>) {
    (Reverse(claim.epoch), place(readings, claim))
}

/// Returns the claim that the next one follows: the foremost of those that are not void.
pub fn followed(readings: &[&Reading]) -> Option<Seen> {
    let ended = Ended::of(readings.iter().copied());
    let entries = readings.iter().flat_map(|reading| judge(reading, &ended));
    let counts = entries.filter(|entry| !matches!(entry.status, Status::Void { .. })).map(|entry| entry.seen);
    counts.min_by_key(|seen| rank(readings, &seen.claim))
}

/// The newest claim that held before this one.
pub fn before(readings: &[Result<Reading>], claim: &Claim) -> Option<Claim> {
    let read: Vec<&Reading> = readings.iter().flatten().collect();
    let ended = Ended::of(read.iter().copied());
    let entries = read.iter().flat_map(|reading| judge(reading, &ended));
    let held = entries.filter(|it| it.status == Status::Holds && it.seen.claim.epoch < claim.epoch);
    held.map(|it| it.seen.claim).min_by_key(|held| rank(&read, held))
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

/// Whether a claim is so recent that its host may be restoring at this moment. A vault whose clock is set forward, as after it
/// booted with a wrong one, makes all that it has look old, so the clocks of both hosts have to say so too. They can only make
/// others wait, for no longer than this.
pub fn is_fresh<'a>(readings: impl IntoIterator<Item = &'a Reading>, claim: &Claim, here: Timestamp) -> bool {
    let by_hosts = here.duration_since(claim.at);
    age(readings, claim) < FRESH || (!by_hosts.is_negative() && by_hosts < FRESH)
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

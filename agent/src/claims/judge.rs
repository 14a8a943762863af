//! Decides which of the claims in a vault hold.
//!
//! Promoters that start at the same time follow the same claim, and each means to be the next. The vault's clock, which
//! none of them can set, decides: the first that the vault got holds. That needs no condition that the server enforces,
//! and it holds as well for promoters that went to different epochs because somebody had put junk under the next one.
//! At the same instant the lowest id wins, so that everybody who looks finds the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use swarmdr_archive::Digest;

use super::{ClaimId, Reading, ReleaseKind, Seen};

/// What a claim is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Holds,
    /// Its site had the swarm and lets another one be promoted. Who does not carry it is superseded still.
    SteppedDown,
    /// What it was made for did not come about: it never counted.
    Released,
    /// This claim was there first.
    Void {
        by: ClaimId,
    },
}

/// A claim and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seen: Seen,
    pub status: Status,
}

/// Place of a claim among rivals.
type Order = (Timestamp, ClaimId);

fn order(seen: &Seen) -> Order {
    (seen.stored, seen.claim.claim_id)
}

/// Judges the claims of one vault: each once, by epoch. `releases` are those of all vaults.
pub fn judge<'a>(reading: &Reading, releases: impl IntoIterator<Item = &'a Reading>) -> Vec<Entry> {
    let released: Vec<(u32, ClaimId, ReleaseKind)> = releases
        .into_iter()
        .flat_map(|reading| &reading.releases)
        .map(|release| (release.epoch, release.claim_id, release.kind))
        .collect();
    // A claim that was put twice, as after a lost reply, is there since the first time.
    let mut claims: BTreeMap<(u32, ClaimId), &Seen> = BTreeMap::new();
    for seen in &reading.claims {
        let first = claims.entry((seen.claim.epoch, seen.claim.claim_id)).or_insert(seen);
        if order(seen) < order(first) {
            *first = seen;
        }
    }
    let mut of_epoch: BTreeMap<u32, Order> = BTreeMap::new();
    for (&(epoch, _), seen) in &claims {
        let first = of_epoch.entry(epoch).or_insert(order(seen));
        *first = order(seen).min(*first);
    }
    let mut after: BTreeMap<Option<Digest>, Order> = BTreeMap::new();
    for (&(epoch, _), seen) in claims.iter().filter(|((epoch, _), seen)| of_epoch[epoch] == order(seen)) {
        let first = after.entry(seen.claim.previous).or_insert(of_epoch[&epoch]);
        *first = order(seen).min(*first);
    }
    let entry = |(&(epoch, id), seen): (&(u32, ClaimId), &&Seen)| {
        let rivals = [of_epoch[&epoch], *after.get(&seen.claim.previous).unwrap_or(&order(seen))];
        let before = rivals.into_iter().find(|rival| *rival != order(seen));
        let status = match before {
            Some((_, by)) => Status::Void { by },
            None if released.contains(&(epoch, id, ReleaseKind::Undone)) => Status::Released,
            None if released.contains(&(epoch, id, ReleaseKind::SteppedDown)) => Status::SteppedDown,
            None => Status::Holds,
        };
        Entry { seen: (*seen).clone(), status }
    };
    claims.iter().map(entry).collect()
}

/// Returns the claim of the highest epoch that counts, also if its site stepped down: until another site is promoted, the
/// swarm is nowhere else.
pub fn owner(entries: &[Entry]) -> Option<&Seen> {
    let counts = |entry: &&Entry| matches!(entry.status, Status::Holds | Status::SteppedDown);
    entries.iter().rev().find(counts).map(|entry| &entry.seen)
}

/// Returns the claim of the highest epoch that holds.
pub fn newest(entries: &[Entry]) -> Option<&Seen> {
    entries.iter().rev().find(|entry| entry.status == Status::Holds).map(|entry| &entry.seen)
}

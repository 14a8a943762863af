//! Decides which of the claims in a vault hold.
//!
//! Promoters that start at the same time follow the same claim, and each means to be the next. The vault's clock, which
//! none of them can set, decides: the first that the vault got holds. That needs no condition that the server enforces,
//! and it holds as well for promoters that went to different epochs, because somebody had put junk under the next one, or
//! because one of them did not reach all vaults.
//! At the same instant the lowest id wins, so that everybody who looks finds the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use swarmdr_archive::Digest;

use super::{ClaimId, FRESH, Reading, Release, ReleaseKind, Seen};

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
pub type Order = (Timestamp, ClaimId);

pub fn order(seen: &Seen) -> Order {
    (seen.stored, seen.claim.claim_id)
}

/// The claims that were given up, as far as that is known from all vaults.
#[derive(Debug, Clone, Default)]
pub struct Ended(BTreeSet<(u32, ClaimId, ReleaseKind)>);

impl Ended {
    pub fn of<'a>(readings: impl IntoIterator<Item = &'a Reading>) -> Self {
        Self::default().and(readings.into_iter().flat_map(|reading| &reading.releases).map(|seen| &seen.release))
    }

    /// Adds what is known from elsewhere.
    #[must_use]
    pub fn and<'a>(mut self, releases: impl IntoIterator<Item = &'a Release>) -> Self {
        self.0.extend(releases.into_iter().map(|release| (release.epoch, release.claim_id, release.kind)));
        self
    }

    /// Whether a claim never counted, of whatever epoch.
    pub fn has_undone(&self, id: ClaimId) -> bool {
        self.0.iter().any(|(_, ended, kind)| *ended == id && *kind == ReleaseKind::Undone)
    }

    fn has(&self, epoch: u32, id: ClaimId, kind: ReleaseKind) -> bool {
        self.0.contains(&(epoch, id, kind))
    }
}

/// Judges the claims of one vault: each once, by epoch.
pub fn judge(reading: &Reading, ended: &Ended) -> Vec<Entry> {
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
    let first_of_epochs = claims.values().copied().filter(|seen| of_epoch[&seen.claim.epoch] == order(seen));
    let beaten = beaten(first_of_epochs);
    let entry = |(&(epoch, id), seen): (&(u32, ClaimId), &&Seen)| {
        let of_epoch = Some(of_epoch[&epoch]).filter(|first| *first != order(seen));
        let status = match of_epoch.map(|(_, by)| by).or_else(|| beaten.get(&(epoch, id)).copied()) {
            Some(by) => Status::Void { by },
            None if ended.has(epoch, id, ReleaseKind::Undone) => Status::Released,
            None if ended.has(epoch, id, ReleaseKind::SteppedDown) => Status::SteppedDown,
            None => Status::Holds,
        };
        Entry { seen: (*seen).clone(), status }
    };
    claims.iter().map(entry).collect()
}

/// Returns the claims that lost against one with the same claim before it, and against which.
///
/// Only those that came at the same time are rivals: a later one was made by a host that did not see the first one, as
/// while this vault was away, and was put here when it was back.
fn beaten<'a>(claims: impl Iterator<Item = &'a Seen>) -> BTreeMap<(u32, ClaimId), ClaimId> {
    let mut after: BTreeMap<Option<Digest>, Vec<&Seen>> = BTreeMap::new();
    for seen in claims {
        after.entry(seen.claim.previous).or_default().push(seen);
    }
    let mut beaten = BTreeMap::new();
    for mut rivals in after.into_values() {
        rivals.sort_by_key(|seen| order(seen));
        let mut first = rivals[0];
        for seen in &rivals[1..] {
            let id = (seen.claim.epoch, seen.claim.claim_id);
            match seen.stored.duration_since(first.stored) < FRESH {
                true => drop(beaten.insert(id, first.claim.claim_id)),
                false => first = seen,
            }
        }
    }
    beaten
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

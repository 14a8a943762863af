//! Which of several backups is the newest: one judgement for everything that chooses.
//!
//! A backup bears a time that its writer claims, a number and the digest of the backup that it follows, which its writer
//! claims too, and a time at which the vault stored it, which no writer of a bucket can set. So:
//!
//! - *The vault's clock bounds the claim.* Nothing is made after it was stored ([`Timing::Impossible`]). What was stored
//!   much later than it was made ([`Timing::Late`]) waited in a spool, or its manager's clock was behind, or somebody made
//!   its time up.
//! - *What another one follows is not the newest.* A digest cannot be known before the backup that it names was made.
//!   That is proof, whatever the clocks said.
//! - *Of those that nothing follows, the times decide* where the vault's clock bears them out, and the numbers where it
//!   does not: a count goes wrong where a manager did not see all vaults, so it comes second.
//!
//! In a directory the time of storing is the file's, set by the clock of the host that wrote it or by whoever owns that
//! host: there it says less, and the chain carries more.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::reader::Head;
use swarmdr_archive::{BackupId, Digest};

use crate::vault::clock::SKEW;

/// A backup is stored minutes after it was made.
pub const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// What the vault's clock says about the time that a backup bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Stored when it was made.
    Prompt,
    /// Stored long after the time that it bears.
    Late,
    /// Stored before the time that it bears.
    Impossible,
}

impl Timing {
    pub fn of(made: Timestamp, stored: Timestamp) -> Timing {
        let waited = stored.duration_since(made);
        match waited {
            _ if waited < -SKEW => Timing::Impossible,
            _ if waited > GRACE => Timing::Late,
            _ => Timing::Prompt,
        }
    }
}

/// What a backup says of its place in the history, and when the vault got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub id: BackupId,
    pub sequence: u64,
    pub previous: Option<Digest>,
    pub digest: Digest,
    /// By the vault's clock.
    pub stored: Timestamp,
}

impl Place {
    pub fn of(head: &Head, stored: Timestamp) -> Place {
        Place {
            id: head.manifest.id,
            sequence: head.manifest.sequence,
            previous: head.manifest.previous,
            digest: head.manifest_digest,
            stored,
        }
    }

    /// The time that it bears.
    pub fn made(&self) -> Timestamp {
        self.id.created_at()
    }

    pub fn timing(&self) -> Timing {
        Timing::of(self.made(), self.stored)
    }

    /// Whether its time can be right for somebody whose clock says `now`; a few minutes are a difference of clocks.
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.made() <= now.checked_add(SKEW).unwrap_or(Timestamp::MAX)
    }

    fn is_certain(&self, now: Timestamp) -> bool {
        self.timing() == Timing::Prompt && self.stored <= now.checked_add(GRACE).unwrap_or(Timestamp::MAX)
    }
}

/// The newest of those that count, none of which is impossible. Of copies the first.
pub fn newest(places: &[Place], counts: impl Fn(usize) -> bool, now: Timestamp) -> Option<usize> {
    let counted: Vec<usize> = (0..places.len()).filter(|&index| counts(index)).collect();
    let followed = followed(places, &counted);
    let last = counted.into_iter().filter(|&index| !followed.contains(&places[index].digest));
    // The first copy wins: `max_by_key` takes the last of equals.
    let (certain, doubtful): (Vec<usize>, Vec<usize>) = last.rev().partition(|&index| places[index].is_certain(now));
    let by_time = certain.into_iter().max_by_key(|&index| by_time(&places[index]));
    let by_number = doubtful.into_iter().max_by_key(|&index| by_number(&places[index]));
    match (by_time, by_number) {
        (Some(certain), Some(doubtful)) => {
            let claim = |index: usize| (places[index].sequence, places[index].made());
            Some(if claim(doubtful) > claim(certain) { doubtful } else { certain })
        }
        (certain, doubtful) => certain.or(doubtful),
    }
}

/// Digests of all that one of these follows, at once or over others.
fn followed(places: &[Place], counted: &[usize]) -> HashSet<Digest> {
    let previous: HashMap<Digest, Option<Digest>> = places.iter().map(|it| (it.digest, it.previous)).collect();
    let mut followed = HashSet::new();
    for &index in counted {
        let mut next = places[index].previous;
        while let Some(digest) = next.filter(|digest| followed.insert(*digest)) {
            next = previous.get(&digest).copied().flatten();
        }
    }
    followed
}

/// An id has whole seconds and then chance, so of two from one second the signed number says which came later.
fn by_time(place: &Place) -> (Timestamp, u64, BackupId) {
    (place.made(), place.sequence, place.id)
}

fn by_number(place: &Place) -> (u64, Timestamp, Timestamp, BackupId) {
    (place.sequence, place.stored, place.made(), place.id)
}

/// Indexes of a whole history, newest first: by time, and none before what it follows.
pub fn ranked(places: &[Place]) -> Vec<usize> {
    let by_digest: HashMap<Digest, usize> = places.iter().enumerate().map(|(index, it)| (it.digest, index)).collect();
    let mut since: HashMap<Digest, Timestamp> = HashMap::new();
    for place in places {
        // From this one back to where the time is known, and forth again.
        let mut open = Vec::new();
        let mut at = Some(place);
        while let Some(here) = at.filter(|here| !since.contains_key(&here.digest)) {
            open.push(here);
            at = here.previous.and_then(|digest| by_digest.get(&digest)).map(|&index| &places[index]);
        }
        while let Some(here) = open.pop() {
            let parent = here.previous.and_then(|digest| since.get(&digest)).copied();
            since.insert(here.digest, here.made().max(parent.unwrap_or(Timestamp::MIN)));
        }
    }
    let mut ranked: Vec<usize> = (0..places.len()).collect();
    ranked.sort_by_key(|&index| {
        let place = &places[index];
        Reverse((since.get(&place.digest).copied(), place.sequence, place.made(), place.id))
    });
    ranked
}

#[cfg(test)]
mod tests;

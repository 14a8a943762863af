//! Decides which of several backups is the newest. Everything that chooses a backup uses this order, and so does
//! everything that chooses one of the streams of a name.
//!
//! A backup has a time, a sequence number, and the digest of its parent. All three are claims of its writer. It also
//! has the time at which the vault stored it, which no writer of a bucket can set. So:
//!
//! - *The vault's clock bounds the claim.* No backup is stored before it is made ([`Timing::Impossible`]). A backup
//!   that was stored much later than it was made ([`Timing::Late`]) waited in a spool, or its manager's clock was
//!   behind, or its time is invented.
//! - *A backup that another one follows is not the newest.* The digest that the follower names cannot be known before
//!   the backup was made. That is proof, whatever the clocks said.
//! - *Among backups without a follower, the times decide* if the vault's clock confirms them, and otherwise the
//!   numbers. Numbers come second because they are too low if a manager did not see all vaults.
//!
//! In a directory, the time of storing is the time of the file, set by the clock of the host that wrote it, or by the
//! owner of that host. So it proves less there, and the parents decide more.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, Digest};

use super::{Facts, SignedHead};
use crate::clock::SKEW;

/// The longest time between making and storing a backup that counts as prompt; it usually takes minutes.
pub const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// Assessment of the time in a backup's id by the vault's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Stored at about the time in its id.
    Prompt,
    /// Stored more than [`GRACE`] after it was made.
    Late,
    /// Stored before the time in its id, by more than [`SKEW`].
    Impossible,
}

impl Timing {
    /// Assesses an archive that was made at one time.
    pub fn of(made: Timestamp, stored: Timestamp) -> Self {
        Self::between(made, made, stored)
    }

    /// Assesses an archive that took long to make. Some vaults give the begin of an upload as the time of storing, and
    /// others give its end.
    pub fn between(began: Timestamp, ended: Timestamp, stored: Timestamp) -> Self {
        if stored.duration_since(began) < -SKEW {
            Timing::Impossible
        } else if stored.duration_since(ended.max(began)) > GRACE {
            Timing::Late
        } else {
            Timing::Prompt
        }
    }
}

/// Place of an archive in the order of its series: its claims, and the time at which the vault stored it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub id: BackupId,
    pub sequence: u64,
    pub previous: Option<Digest>,
    pub digest: Digest,
    /// Time when it was complete: for a backup, the time in its id.
    pub ended: Timestamp,
    /// Time of storing by the vault's clock.
    pub stored: Timestamp,
    /// Digest of the settings in it.
    pub specs: Option<Digest>,
}

impl Place {
    pub fn of(head: &impl SignedHead, stored: Timestamp) -> Self {
        let Facts { id, sequence, previous, digest, ended, specs, .. } = head.facts();
        Self { id, sequence, previous, digest, ended, stored, specs }
    }

    /// Returns the time in the id.
    pub fn made(&self) -> Timestamp {
        self.id.created_at()
    }

    pub fn timing(&self) -> Timing {
        Timing::between(self.made(), self.ended, self.stored)
    }

    /// Whether the time in the id is not in the future at `now`, with a tolerance of [`SKEW`].
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.made() <= now.checked_add(SKEW).unwrap_or(Timestamp::MAX)
    }

    /// Whether the vault's clock confirms the time in the id.
    fn is_certain(&self, now: Timestamp) -> bool {
        self.timing() == Timing::Prompt && self.stored <= now.checked_add(GRACE).unwrap_or(Timestamp::MAX)
    }
}

/// Returns the index of the newest backup for which `counts` is true; callers exclude impossible ones. Of several
/// copies, the first is returned.
pub fn newest(places: &[Place], counts: impl Fn(usize) -> bool, now: Timestamp) -> Option<usize> {
    let counted: Vec<usize> = (0..places.len()).filter(|&index| counts(index)).collect();
    let followed = followed(places, &counted);
    let last = counted.into_iter().filter(|&index| !followed.contains(&places[index].digest));
    // Reversed, because `max_by_key` returns the last of equals, and the first copy should win.
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

/// Returns the digests of all ancestors of these backups.
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

/// Sort key of certain times. An id has whole seconds and a random part, so the signed number decides within a second.
fn by_time(place: &Place) -> (Timestamp, u64, BackupId) {
    (place.made(), place.sequence, place.id)
}

fn by_number(place: &Place) -> (u64, Timestamp, Timestamp, BackupId) {
    (place.sequence, place.stored, place.made(), place.id)
}

/// Returns the indexes of all backups, newest first: by time, but no backup comes before its descendants.
pub fn ranked(places: &[Place]) -> Vec<usize> {
    let by_digest: HashMap<Digest, usize> = places.iter().enumerate().map(|(index, it)| (it.digest, index)).collect();
    let mut since: HashMap<Digest, Timestamp> = HashMap::new();
    for place in places {
        // Back from this backup to an ancestor whose time is known, and then forward again.
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

//! Whether the backups of a cluster follow each other as they were made: missing ones, and ones that were hidden from
//! a writer.
//!
//! Each manifest has a number and the digest of the manifest before it, and the signature covers both. What is there
//! can so show what is not. Plain data in, findings out; nothing here reads a vault.
//!
//! A writer takes as "before" the newest backup in the vaults that answer it, see [`super::order`]. So histories are no lines: two
//! managers at once, or an archive that waited in the spool while others were stored, follow the same one and have the
//! same number. An alarm needs proof that it is none of that:
//!
//! - *Must have seen.* The vault's clock says when an object was stored, and no writer can set it. What a vault had before
//!   a backup was made, which it took at once and first of all (so it answered then), was seen by that one's writer,
//!   which must follow it or a newer one.
//! - *Must still be there.* A backup that another follows was stored once. It was made after all that its follower must
//!   have seen, so it was locked at least as long from then on. Before that lock ends nobody prunes it.
//!
//! The newest backup has no follower. That it is missing shows only against what somebody remembers ([`Remembered`])
//! or against the calendar (`--max-age`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, Digest};

use super::{Place, Timing};

/// Clocks of managers and vaults differ, and a backup is stored some minutes after its copy was taken.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// The place of one backup in its history, as it is signed, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub id: BackupId,
    pub sequence: u64,
    pub previous: Option<Digest>,
    pub digest: Digest,
    /// Somebody believes it: its key had not ended. A manager need not follow any other.
    pub believed: bool,
    pub copies: Vec<Copy>,
}

/// A backup in one vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Address of the vault.
    pub vault: String,
    /// By the vault's clock.
    pub stored: Timestamp,
    /// `None` where there is no lock, or it is not known.
    pub locked_until: Option<Timestamp>,
}

/// What is known of one cluster's backups.
#[derive(Debug, Default)]
pub struct History {
    links: HashMap<Digest, Link>,
    /// Manifests that lie in a vault and that nobody here believes: they are there all the same.
    unbelieved: HashSet<Digest>,
}

/// How much of the history is in view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub now: Timestamp,
    /// From this time on every vault was read to its end; `None` if one could not be read. Without that nothing is
    /// known to be missing.
    pub complete_from: Option<Timestamp>,
}

/// A place where the history does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    /// `child` follows a backup that is in no vault, although its lock cannot have ended before `locked_until`.
    Missing { child: BackupId, sequence: u64, locked_until: Timestamp },
    /// `newer` was made by somebody who did not see `older`, which lay in `vault` before.
    Unseen { newer: BackupId, older: BackupId, vault: String },
    /// A number that does not count up by one.
    Misnumbered { child: BackupId, sequence: u64, expected: u64 },
    /// `child` follows `parent` and has an earlier time.
    ClockBehind { child: BackupId, parent: BackupId },
}

/// What a history shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Oldest first.
    pub breaks: Vec<Break>,
    /// Numbers that nobody has and that may be pruned: their locks may have ended.
    pub absent: u64,
}

impl History {
    pub fn has(&self, digest: Digest) -> bool {
        self.links.contains_key(&digest)
    }

    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Adds a backup, or another copy of one.
    pub fn add(&mut self, link: Link) {
        match self.links.get_mut(&link.digest) {
            Some(known) => {
                known.believed |= link.believed;
                known.copies.extend(link.copies);
            }
            None => drop(self.links.insert(link.digest, link)),
        }
    }

    /// Adds the manifest of one that no trusted key signed: what follows it misses nothing.
    pub fn add_unbelieved(&mut self, digest: Digest) {
        self.unbelieved.insert(digest);
    }

    /// Compares what is there with what must be. Takes n log n for n copies.
    pub fn check(&self, view: &View) -> Verdict {
        let mut verdict = Verdict::default();
        let mut absent = HashSet::new();
        for (link, seen) in self.with_newest_seen() {
            // What does not count is told by itself; it is here so that those that follow it miss nothing.
            if link.counts_for_nothing() {
                continue;
            }
            let parent = link.previous.as_ref().map(|digest| self.links.get(digest));
            let breaks = &mut verdict.breaks;
            match parent {
                None => breaks.extend(misnumbered(link, 1)),
                Some(Some(parent)) => {
                    breaks.extend(misnumbered(link, parent.sequence.saturating_add(1)));
                    let is_behind = parent.id.created_at() > link.id.created_at() + MARGIN;
                    if is_behind && !parent.is_impossible() {
                        breaks.push(Break::ClockBehind { child: link.id, parent: parent.id });
                    }
                }
                Some(None) if link.previous.is_some_and(|digest| self.unbelieved.contains(&digest)) => {}
                Some(None) => match missing(link, seen.as_ref(), view) {
                    Some(alarm) => breaks.push(alarm),
                    None => drop(absent.insert(link.previous)),
                },
            }
            breaks.extend(seen.and_then(|seen| self.unseen(link, parent, &seen)));
        }
        verdict.absent = absent.len() as u64;
        verdict.breaks.sort();
        verdict.breaks.dedup();
        verdict
    }

    /// Each backup with the newest one that its writer must have seen.
    fn with_newest_seen(&self) -> Vec<(&Link, Option<Seen<'_>>)> {
        let mut by_vault: BTreeMap<&str, Vec<(&Link, &Copy)>> = BTreeMap::new();
        for link in self.links.values().filter(|link| !link.counts_for_nothing()) {
            for copy in &link.copies {
                by_vault.entry(&copy.vault).or_default().push((link, copy));
            }
        }
        let mut newest: HashMap<Digest, Seen<'_>> = HashMap::new();
        for (vault, mut stored) in by_vault {
            let mut made = stored.clone();
            made.retain(|(link, copy)| link.was_made_with(copy));
            made.sort_by_key(|(link, _)| link.id);
            stored.sort_by_key(|(_, copy)| copy.stored);
            let mut stored = stored.into_iter().peekable();
            let mut best: Option<Seen<'_>> = None;
            for (link, _) in made {
                while let Some((older, _)) = stored.next_if(|(_, copy)| copy.stored + MARGIN < link.id.created_at()) {
                    if best.as_ref().is_none_or(|best| best.link.id < older.id) {
                        best = Some(Seen { link: older, vault });
                    }
                }
                let Some(best) = &best else { continue };
                if newest.get(&link.digest).is_none_or(|known| known.link.id < best.link.id) {
                    newest.insert(link.digest, best.clone());
                }
            }
        }
        self.links.values().map(|link| (link, newest.remove(&link.digest))).collect()
    }

    fn unseen(&self, link: &Link, parent: Option<Option<&Link>>, seen: &Seen<'_>) -> Option<Break> {
        let follows = match parent {
            None => false,
            // By its name, or, where clocks were wrong, by what it follows.
            Some(Some(parent)) => parent.id >= seen.link.id || self.descends(parent, seen.link.digest),
            // Pruned, or missed already. Its number proves nothing: a vault that was behind counts from less.
            Some(None) => true,
        };
        let (older, vault) = (seen.link.id, seen.vault.to_owned());
        (!follows).then_some(Break::Unseen { newer: link.id, older, vault })
    }

    /// Whether `link` follows that one over others. A gap proves nothing, so it counts as yes.
    fn descends(&self, link: &Link, from: Digest) -> bool {
        const FAR_ENOUGH: usize = 1000;
        let mut at = link;
        for _ in 0..FAR_ENOUGH {
            match at.previous {
                None => return false,
                Some(digest) if digest == from => return true,
                Some(digest) => match self.links.get(&digest) {
                    Some(parent) => at = parent,
                    None => return true,
                },
            }
        }
        false
    }
}

#[derive(Debug, Clone)]
struct Seen<'a> {
    link: &'a Link,
    vault: &'a str,
}

impl Link {
    pub fn new(place: &Place, copies: Vec<Copy>) -> Link {
        let Place { id, sequence, previous, digest, .. } = *place;
        Link { id, sequence, previous, digest, believed: true, copies }
    }

    /// No manager has to follow it.
    fn counts_for_nothing(&self) -> bool {
        !self.believed || self.is_impossible()
    }

    /// Some vault got it before the time that it bears.
    fn is_impossible(&self) -> bool {
        self.copies.iter().any(|copy| Timing::of(self.id.created_at(), copy.stored) == Timing::Impossible)
    }

    /// Stored when it was made, and there first: a vault that got it later may have been away until then.
    fn was_made_with(&self, copy: &Copy) -> bool {
        let is_first = self.copies.iter().all(|other| copy.stored <= other.stored);
        is_first && copy.stored.duration_since(self.id.created_at()).abs() <= MARGIN
    }

    /// How long its locks were to hold, from the time in its id; the shortest.
    fn lock_length(&self) -> Option<SignedDuration> {
        let until = self.copies.iter().map(|copy| copy.locked_until).min().flatten()?;
        Some(until.duration_since(self.id.created_at()))
    }
}

fn misnumbered(link: &Link, expected: u64) -> Option<Break> {
    (link.sequence != expected).then_some(Break::Misnumbered { child: link.id, sequence: link.sequence, expected })
}

/// The backup that `link` follows is in no vault. Is that an alarm?
fn missing(link: &Link, seen: Option<&Seen<'_>>, view: &View) -> Option<Break> {
    let older = seen?.link;
    if view.complete_from? > older.id.created_at() {
        return None;
    }
    // The policy may have changed between the two: the shorter lock counts.
    let length = link.lock_length()?.min(older.lock_length()?);
    let locked_until = older.id.created_at().checked_add(length).ok()?.checked_sub(MARGIN).ok()?;
    let sequence = link.sequence.saturating_sub(1);
    (view.now < locked_until).then_some(Break::Missing { child: link.id, sequence, locked_until })
}

/// The newest backup that somebody knows to have been stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub id: BackupId,
    pub cluster: String,
    pub sequence: u64,
    /// The longest of its locks, if it has one and it is known.
    #[serde(default)]
    pub locked_until: Option<Timestamp>,
    /// Of its manifest: so it is known again when its key is no longer trusted. Absent in notes of earlier versions.
    #[serde(default)]
    pub digest: Option<Digest>,
}

/// What it means that a backup that was stored is in no vault any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Its lock has ended, or nothing held it, and newer ones came: it may have been pruned.
    Pruned,
    /// Its lock has ended, and nothing came after it.
    Unlocked,
    /// Its lock must hold, or nothing came after it that would let it go: somebody took the end away.
    TakenAway,
}

impl Remembered {
    /// For one that none of the vaults has, whose newest has this number.
    pub fn gone(&self, newest: Option<u64>, now: Timestamp) -> Gone {
        let newer = newest.is_some_and(|newest| newest > self.sequence);
        match self.locked_until {
            Some(until) if until > now => Gone::TakenAway,
            _ if newer => Gone::Pruned,
            Some(_) => Gone::Unlocked,
            None => Gone::TakenAway,
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Break::Missing { child, sequence, locked_until } => write!(
                f,
                "backup number {sequence}, which {child} follows, is in no vault, although its lock must hold until \
                 {locked_until} at least; it lies in a vault that is not configured here, or it was \
                 removed"
            ),
            Break::Unseen { newer, older, vault } => write!(
                f,
                "backup {newer} does not follow {older}, which lay in {vault} before it was made: its manager could not \
                 see that one, or does not trust its key (`trusted_keys`)"
            ),
            Break::Misnumbered { child, sequence, expected } => {
                write!(f, "backup {child} has the number {sequence} where {expected} comes next")
            }
            Break::ClockBehind { child, parent } => write!(
                f,
                "backup {child} follows {parent} but bears an earlier time: the clock of a manager was wrong, so their \
                 order is told by what they follow"
            ),
        }
    }
}

#[cfg(test)]
mod tests;

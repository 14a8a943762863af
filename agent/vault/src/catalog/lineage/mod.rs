//! Checks that the backups of a cluster follow each other as they were made, and the streams of a name. Finds backups that are missing, and
//! backups that were hidden from a writer.
//!
//! Each manifest has a sequence number and the digest of the manifest before it, and the signature covers both. So the
//! existing backups show which ones are missing. All of this is plain data; nothing here reads a vault.
//!
//! A writer follows the newest backup in the vaults that answer, see [`super::order`]. So a lineage is not a line. If
//! two managers make backups at the same time, or an archive waits in the spool while others are stored, both backups
//! follow the same one and have the same number. An alarm needs proof that this is not the reason:
//!
//! - *The writer must have seen the older backup.* The vault's clock says when an object was stored, and no writer can
//!   set that clock. If a vault stored a backup at once and before all other vaults, then it answered the writer of
//!   that backup. So the writer saw everything that the vault had before, and must follow the newest of it, or a backup
//!   that is newer still.
//! - *The missing backup must still be locked.* A backup that another one follows was stored once. It was made no
//!   earlier than the newest backup that its follower's writer must have seen. So it is locked at least as long as if
//!   its lock had begun with that backup. Until then, no pruning removes it.
//!
//! The newest backup has no follower. Its absence shows only by comparison with the last-seen record of a host
//! ([`Remembered`]) or with the calendar (`--max-age`).

mod breaks;
mod member;
mod remembered;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::Digest;

pub use breaks::{Break, Broken};
pub use member::{Member, StoredCopy};
pub use remembered::{Gone, Remembered};

/// Tolerance: clocks of managers and vaults differ, and a backup is stored some minutes after its copy was taken.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// The archives of one series, as far as they are known.
#[derive(Debug, Default)]
pub struct Lineage {
    members: HashMap<Digest, Member>,
    /// Digests of manifests that are in a vault but not signed by a trusted key: they are not missing.
    untrusted: HashSet<Digest>,
}

/// Extent to which the lineage was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub now: Timestamp,
    /// Time since which every vault was read completely. `None` if a vault could not be read; then no backup is known
    /// to be missing.
    pub complete_from: Option<Timestamp>,
}

/// Result of checking a lineage.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// Breaks of the lineage, sorted by their kind and then by the backup.
    pub breaks: Vec<Break>,
    /// Number of missing backups that may have been pruned, because their locks may have ended.
    pub absent: u64,
}

impl Lineage {
    pub fn has(&self, digest: Digest) -> bool {
        self.members.contains_key(&digest)
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a backup, or another copy of one.
    pub fn add(&mut self, member: Member) {
        match self.members.get_mut(&member.digest) {
            Some(known) => {
                known.trusted |= member.trusted;
                known.copies.extend(member.copies);
            }
            None => drop(self.members.insert(member.digest, member)),
        }
    }

    /// Adds a manifest that is not signed by a trusted key, so that backups that follow it do not miss it.
    pub fn add_untrusted(&mut self, digest: Digest) {
        self.untrusted.insert(digest);
    }

    /// Compares the backups that exist with those that must exist, in time O(n log n) for n copies.
    pub fn check(&self, view: &Scope) -> Assessment {
        let mut verdict = Assessment::default();
        let mut absent = HashSet::new();
        for (member, seen) in self.with_newest_seen() {
            // It is reported elsewhere, and a member only so that backups that follow it do not miss it.
            if member.is_ignored() {
                continue;
            }
            let parent = member.previous.as_ref().map(|digest| self.members.get(digest));
            let breaks = &mut verdict.breaks;
            match parent {
                None => breaks.extend(misnumbered(member, 1)),
                Some(Some(parent)) => {
                    breaks.extend(misnumbered(member, parent.sequence.saturating_add(1)));
                    let is_behind = parent.id.created_at().duration_since(member.ended) > MARGIN;
                    if is_behind && !parent.is_impossible() {
                        breaks.push(Break::ClockBehind { child: member.id, parent: parent.id });
                    }
                }
                Some(None) if member.previous.is_some_and(|digest| self.untrusted.contains(&digest)) => {}
                Some(None) => match missing(member, seen.as_ref(), view) {
                    Some(alarm) => breaks.push(alarm),
                    None => drop(absent.insert(member.previous)),
                },
            }
            breaks.extend(seen.and_then(|seen| self.unseen(member, parent, &seen)));
        }
        verdict.absent = absent.len() as u64;
        verdict.breaks.sort();
        verdict.breaks.dedup();
        verdict
    }

    /// Returns each backup with the newest one that its writer must have seen.
    fn with_newest_seen(&self) -> Vec<(&Member, Option<NewestSeen<'_>>)> {
        let mut by_vault: BTreeMap<&str, Vec<(&Member, &StoredCopy)>> = BTreeMap::new();
        for member in self.members.values().filter(|member| !member.is_ignored()) {
            for copy in &member.copies {
                by_vault.entry(&copy.vault).or_default().push((member, copy));
            }
        }
        let mut newest: HashMap<Digest, NewestSeen<'_>> = HashMap::new();
        for (vault, mut stored) in by_vault {
            let mut made = stored.clone();
            made.retain(|(member, copy)| member.was_made_with(copy));
            made.sort_by_key(|(member, _)| member.id);
            stored.sort_by_key(|(_, copy)| copy.stored);
            let mut stored = stored.into_iter().peekable();
            let mut best: Option<NewestSeen<'_>> = None;
            for (member, _) in made {
                while let Some((older, _)) = stored.next_if(|(_, copy)| copy.stored + MARGIN < member.id.created_at()) {
                    if best.as_ref().is_none_or(|best| best.member.id < older.id) {
                        best = Some(NewestSeen { member: older, vault });
                    }
                }
                let Some(best) = &best else { continue };
                if newest.get(&member.digest).is_none_or(|known| known.member.id < best.member.id) {
                    newest.insert(member.digest, best.clone());
                }
            }
        }
        self.members.values().map(|member| (member, newest.remove(&member.digest))).collect()
    }

    fn unseen(&self, member: &Member, parent: Option<Option<&Member>>, seen: &NewestSeen<'_>) -> Option<Break> {
        let follows = match parent {
            None => false,
            // The parent is `seen` or newer by the time in its id or, if clocks were wrong, by its ancestors.
            Some(Some(parent)) => parent.id >= seen.member.id || self.descends(parent, seen.member.digest),
            // The parent was pruned, or is reported as missing. The number of `member` proves nothing: numbers are
            // lower in a vault that was behind.
            Some(None) => true,
        };
        let (older, vault) = (seen.member.id, seen.vault.to_owned());
        (!follows).then_some(Break::Unseen { newer: member.id, older, vault })
    }

    /// Whether `member` descends from the backup with the digest `from`. A gap proves nothing, and counts as yes.
    fn descends(&self, member: &Member, from: Digest) -> bool {
        const FAR_ENOUGH: usize = 1000;
        let mut at = member;
        for _ in 0..FAR_ENOUGH {
            match at.previous {
                None => return false,
                Some(digest) if digest == from => return true,
                Some(digest) => match self.members.get(&digest) {
                    Some(parent) => at = parent,
                    None => return true,
                },
            }
        }
        false
    }
}

#[derive(Debug, Clone)]
struct NewestSeen<'a> {
    member: &'a Member,
    vault: &'a str,
}

fn misnumbered(member: &Member, expected: u64) -> Option<Break> {
    (member.sequence != expected).then_some(Break::Misnumbered {
        child: member.id,
        sequence: member.sequence,
        expected,
    })
}

/// Returns the alarm if the parent of `member`, which is in no vault, must still be locked.
fn missing(member: &Member, seen: Option<&NewestSeen<'_>>, view: &Scope) -> Option<Break> {
    let older = seen?.member;
    if view.complete_from? > older.id.created_at() {
        return None;
    }
    // The lock policy may have changed between the two backups: the shorter lock counts.
    let length = member.lock_length()?.min(older.lock_length()?);
    let locked_until = older.id.created_at().checked_add(length).ok()?.checked_sub(MARGIN).ok()?;
    let sequence = member.sequence.saturating_sub(1);
    (view.now < locked_until).then_some(Break::Missing { child: member.id, sequence, locked_until })
}

#[cfg(test)]
mod tests;

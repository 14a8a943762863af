//! One pass over the listing of a window: the newest names in it, in bounded memory.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;
use swarmdr_archive::BackupId;

use super::{Timing, Visibility};
use crate::vault::object_name::ObjectName;
use crate::vault::{Version, VersionRef};

/// Versions of one key that are looked at: this many of the oldest, and of the newest. A key of ours has one; where
/// servers ignore `If-None-Match` an original may lie on top of somebody's earlier version.
const EDGE: usize = 4;

/// A version that has the name of a backup. Greater comes earlier in the walk: the newer backup, and of one key the
/// older version, which is more likely the original.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    pub id: BackupId,
    pub name: ObjectName,
    /// Versions of the key that are newer. Times would not do: listings of S3 give whole seconds.
    pub depth: u64,
    pub at: VersionRef,
    pub size: u64,
    pub modified: Timestamp,
    pub visibility: Visibility,
}

impl Candidate {
    /// Stored at about the time that its name says. The vault's clock is nobody's to set, so whoever comes later cannot
    /// lay such names into the past.
    pub fn is_prompt(&self) -> bool {
        Timing::of(self.id.created_at(), self.modified) == Timing::Prompt
    }
}

/// What is kept when there is more than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The newest by name.
    Newest,
    /// Those that have lain in the vault for the longest time.
    StoredFirst,
}

/// Takes the versions of a listing, in its order.
#[derive(Debug)]
pub struct Pass {
    keep: Keep,
    limit: usize,
    /// What ranks lowest is let go first.
    ranked: BTreeSet<(i64, Candidate)>,
    /// There was more than the limit.
    pub overflowed: bool,
    /// Versions under keys that are no backup's name.
    pub junk: u64,
    /// Versions between the oldest and the newest few of their key.
    pub passed_over: u64,
    key: Option<Key>,
}

/// The key that is being listed.
#[derive(Debug)]
struct Key {
    name: ObjectName,
    key: String,
    /// What covers the versions below the newest.
    cover: Visibility,
    /// Versions seen so far, delete markers too.
    depth: u64,
    newest: Vec<Candidate>,
    oldest: VecDeque<Candidate>,
    passed_over: u64,
}

impl Pass {
    pub fn new(keep: Keep, limit: usize) -> Pass {
        Pass { keep, limit, ranked: BTreeSet::new(), overflowed: false, junk: 0, passed_over: 0, key: None }
    }

    pub fn take(&mut self, version: Version, wants: impl Fn(&Candidate) -> bool) {
        if self.key.as_ref().is_none_or(|key| key.key != version.at.key) {
            self.end_key();
            let Ok(name) = ObjectName::parse(&version.at.key) else {
                self.junk += 1;
                return;
            };
            self.key = Some(Key::new(name, &version));
        }
        let Some(key) = &mut self.key else { return };
        if let Some(candidate) = key.place(version).filter(wants) {
            key.keep(candidate);
        }
    }

    /// The last key is complete only now.
    pub fn end(mut self) -> Pass {
        self.end_key();
        self
    }

    /// What was kept.
    pub fn into_batch(self) -> BTreeSet<Candidate> {
        self.ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }

    fn end_key(&mut self) {
        let Some(key) = self.key.take() else { return };
        self.passed_over += key.passed_over;
        for candidate in key.newest.into_iter().chain(key.oldest) {
            let rank = match self.keep {
                Keep::Newest => 0,
                Keep::StoredFirst => -candidate.modified.as_second(),
            };
            self.ranked.insert((rank, candidate));
            if self.ranked.len() > self.limit {
                self.ranked.pop_first();
                self.overflowed = true;
            }
        }
    }
}

impl Key {
    fn new(name: ObjectName, newest: &Version) -> Key {
        let cover = match newest.is_delete_marker {
            true => Visibility::UnderDeleteMarker,
            false => Visibility::UnderNewerVersion,
        };
        let key = newest.at.key.clone();
        Key { name, key, cover, depth: 0, newest: Vec::new(), oldest: VecDeque::new(), passed_over: 0 }
    }

    /// The versions of a key are listed from its newest on.
    fn place(&mut self, version: Version) -> Option<Candidate> {
        let depth = self.depth;
        self.depth += 1;
        if version.is_delete_marker {
            return None;
        }
        let visibility = if depth == 0 { Visibility::Plain } else { self.cover };
        let Version { at, size, modified, .. } = version;
        Some(Candidate { id: self.name.id(), name: self.name.clone(), depth, at, size, modified, visibility })
    }

    fn keep(&mut self, candidate: Candidate) {
        if self.newest.len() < EDGE {
            self.newest.push(candidate);
            return;
        }
        self.oldest.push_back(candidate);
        if self.oldest.len() > EDGE {
            self.oldest.pop_front();
            self.passed_over += 1;
        }
    }
}

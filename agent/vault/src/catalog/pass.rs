//! One pass over the listing of a window, which collects the newest names in bounded memory.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::BackupId;

use super::{Series, Timing, Visibility};
use crate::{Version, VersionRef};

/// Number of the oldest versions of a key that are examined, and of the newest. A key of this agent has one version. On
/// servers that ignore `If-None-Match`, the original may be newer than a version that an attacker stored before.
const EDGE: usize = 4;

/// A version whose key is that of an archive of a series. The greater candidate comes earlier in the walk: the one of the
/// newer archive and, within a key, the older version, which is more likely the original.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    pub id: BackupId,
    /// Number of newer versions of the key. Times cannot order them: S3's listings have whole seconds.
    pub depth: u64,
    pub at: VersionRef,
    pub size: u64,
    pub modified: Timestamp,
    pub visibility: Visibility,
}

impl Candidate {
    /// Whether the version was stored at about the time in its name, or within the `longest` time after it that the
    /// making takes. No writer can set the vault's clock, so an attacker cannot make such versions for an earlier time
    /// before the break-in.
    pub fn is_prompt(&self, longest: SignedDuration) -> bool {
        let made = self.id.created_at();
        let ended = made.checked_add(longest).unwrap_or(Timestamp::MAX);
        Timing::between(made, ended, self.modified) == Timing::Prompt
    }
}

/// Preference among candidates when there are more than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// Keeps those with the newest names.
    Newest,
    /// Keeps those that the vault stored first.
    StoredFirst,
}

/// Collects candidates from the versions of a listing, in the order of the listing.
#[derive(Debug)]
pub struct Pass {
    prefer: Prefer,
    limit: usize,
    /// Candidates by rank. The lowest is dropped first.
    ranked: BTreeSet<(i64, Candidate)>,
    /// Whether there were more candidates than the limit.
    pub overflowed: bool,
    /// Number of versions under keys that are not in the series.
    pub junk: u64,
    /// Number of versions that were dropped, between the few oldest and newest of their key.
    pub passed_over: u64,
    key: Option<Key>,
}

/// The key that is being listed.
#[derive(Debug)]
struct Key {
    id: BackupId,
    key: String,
    /// Visibility of the versions below the newest.
    cover: Visibility,
    /// Number of versions seen so far, including delete markers.
    depth: u64,
    newest: Vec<Candidate>,
    oldest: VecDeque<Candidate>,
    passed_over: u64,
}

impl Pass {
    pub fn new(prefer: Prefer, limit: usize) -> Self {
        Self { prefer, limit, ranked: BTreeSet::new(), overflowed: false, junk: 0, passed_over: 0, key: None }
    }

    pub fn take(&mut self, series: &impl Series, version: Version, wants: impl Fn(&Candidate) -> bool) {
        if self.key.as_ref().is_none_or(|key| key.key != version.at.key) {
            self.end_key();
            let Some(id) = series.id_in(&version.at.key) else {
                self.junk += 1;
                return;
            };
            self.key = Some(Key::new(id, &version));
        }
        let Some(key) = &mut self.key else { return };
        if let Some(candidate) = key.place(version).filter(wants) {
            key.keep(candidate);
        }
    }

    /// Ends the pass: only now the last key is complete.
    pub fn end(mut self) -> Self {
        self.end_key();
        self
    }

    /// Returns the candidates that were kept.
    pub fn into_batch(self) -> BTreeSet<Candidate> {
        self.ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }

    fn end_key(&mut self) {
        let Some(key) = self.key.take() else { return };
        self.passed_over += key.passed_over;
        for candidate in key.newest.into_iter().chain(key.oldest) {
            let rank = match self.prefer {
                Prefer::Newest => 0,
                Prefer::StoredFirst => -candidate.modified.as_second(),
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
    fn new(id: BackupId, newest: &Version) -> Self {
        let cover = match newest.is_delete_marker {
            true => Visibility::UnderDeleteMarker,
            false => Visibility::UnderNewerVersion,
        };
        let key = newest.at.key.clone();
        Self { id, key, cover, depth: 0, newest: Vec::new(), oldest: VecDeque::new(), passed_over: 0 }
    }

    /// Makes a candidate of the next version, unless it is a delete marker. Versions of a key come newest first.
    fn place(&mut self, version: Version) -> Option<Candidate> {
        let depth = self.depth;
        self.depth += 1;
        if version.is_delete_marker {
            return None;
        }
        let visibility = if depth == 0 { Visibility::Plain } else { self.cover };
        let Version { at, size, modified, .. } = version;
        Some(Candidate { id: self.id, depth, at, size, modified, visibility })
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

//! Walks through the versions of one series from the newest archive to the oldest, at a bounded cost.
//!
//! An attacker with write access can store any number of objects in a vault, all newer by name than the newest archive.
//! Their cost is bounded by [`Bounds`]: pages of listings, heads that turn out to be bad, and versions in memory.
//! Within the bounds the order is exact. Beyond them:
//!
//! 1. In a crowded window, the walk examines only objects that were stored at the time in their name
//!    ([`Candidate::is_prompt`]), and notes the window in [`Skipped::given_up`]. Such objects cannot be made
//!    afterwards, so the backups from before an attack are found however large the flood is. Streams are named for
//!    the start of a command that may run for long, so those of the last day ([`Series::LONGEST`]) may be missed.
//! 2. If too many of these are bad as well, the walk leaves the window and goes on with earlier times.
//! 3. If nothing good was found at all, the walk finally examines the objects that were stored first, because an
//!    attacker comes after the first backup. This is for a bucket that was copied, in which no object is prompt.

mod windows;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, VecDeque},
};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, ClusterId, Digest, TrustedKeys};

use super::{
    Bounds, Entry, Filter, Series, SignedHead, Skipped, Verdict, Visibility, examine, pass::Candidate, window::Windows,
};
use crate::{Vault, VaultError};
use windows::{Current, Stage};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The most heads that are read at once. The walk begins with one, which is nearly always the wanted one.
const MOST_AT_ONCE: usize = 8;

/// The most names of one second that are read together, to be ordered by sequence number. No swarm makes so many.
const MOST_OF_A_SECOND: usize = 16;

/// Iteration over the entries of one series, newest first.
#[derive(Debug)]
pub struct Walk<'a, S: Series = ClusterId> {
    vault: &'a dyn Vault,
    series: S,
    filter: Filter,
    keys: &'a TrustedKeys,
    bounds: Bounds,
    windows: Windows,
    current: Option<Current>,
    batch: BTreeSet<Candidate>,
    at_once: usize,
    examined: VecDeque<Entry<S>>,
    last_good: Option<(BackupId, Digest)>,
    skipped: Skipped,
    found_good: bool,
    tried_all: bool,
    bad: u32,
    pages: u32,
}

impl<'a, S: Series> Walk<'a, S> {
    /// Makes a walk that has not begun. `now` only decides where it begins, and need not be right.
    pub fn new(vault: &'a dyn Vault, series: &S, filter: &Filter, keys: &'a TrustedKeys, now: Timestamp) -> Self {
        let windows = match filter.id {
            // Ids have whole seconds.
            Some(id) => Windows::new(now, Some(id.created_at()), id.created_at().checked_add(SECOND).ok()),
            None => Windows::new(now, filter.after, filter.names_end()),
        };
        Self {
            vault,
            series: series.clone(),
            filter: filter.clone(),
            keys,
            bounds: Bounds::default(),
            windows,
            current: None,
            batch: BTreeSet::new(),
            at_once: 1,
            examined: VecDeque::new(),
            last_good: None,
            skipped: Skipped::default(),
            found_good: false,
            tried_all: false,
            bad: 0,
            pages: 0,
        }
    }

    /// Sets other bounds, for searches that are repeated many times.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Returns the next entry, whatever its verdict; `None` at the end. After an error the walk can be continued.
    pub async fn next(&mut self) -> Result<Option<Entry<S>>, VaultError> {
        loop {
            if let Some(entry) = self.examined.pop_front() {
                if self.is_copy(&entry) {
                    self.skipped.copies += 1;
                    continue;
                }
                return Ok(Some(entry));
            }
            if !self.batch.is_empty() && self.may_go_on() {
                self.examine_some().await;
            } else if !self.refill().await? {
                return Ok(None);
            }
        }
    }

    pub fn series(&self) -> &S {
        &self.series
    }

    /// Returns the counts of the objects that were not returned as entries so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    fn may_go_on(&self) -> bool {
        let allowed = if self.bad < self.bounds.bad { self.bounds.bad_of_window } else { self.bounds.bad_when_spent };
        // The batch of the last resort is small, and examined whole.
        self.current.as_ref().is_some_and(|current| current.stage == Stage::StoredFirst || current.bad < allowed)
    }

    async fn examine_some(&mut self) {
        let chosen = self.choose();
        if let (Some(current), Some(last)) = (&mut self.current, chosen.last()) {
            current.below = Some(last.clone());
        }
        let (vault, series, keys) = (self.vault, &self.series, self.keys);
        let examined = chosen.into_iter().map(|candidate| examine_candidate(candidate, vault, series, keys));
        let mut entries = join_all(examined).await;
        // A user who names an id has seen the report about its time, and gets the backup anyway.
        if self.filter.id.is_none() {
            entries.iter_mut().for_each(bound_by_clock);
        }
        mark_same_heads(&mut entries);
        entries.sort_by_key(|entry| Reverse(newness(entry)));
        let bad = entries.iter().filter(|entry| !matches!(entry.verdict, Verdict::Good(_))).count();
        self.found_good |= bad < entries.len();
        let bad = u32::try_from(bad).unwrap_or(u32::MAX);
        self.bad = self.bad.saturating_add(bad);
        if let Some(current) = &mut self.current {
            current.bad = current.bad.saturating_add(bad);
        }
        self.examined.extend(entries);
        self.at_once = (self.at_once * 2).min(MOST_AT_ONCE);
    }

    /// Takes the next few candidates, and others from the same second as the last of them.
    fn choose(&mut self) -> Vec<Candidate> {
        let mut chosen: Vec<Candidate> = std::iter::from_fn(|| self.batch.pop_last()).take(self.at_once).collect();
        while chosen.len() < self.at_once + MOST_OF_A_SECOND
            && let (Some(last), Some(next)) = (chosen.last(), self.batch.last())
            && last.id.created_at() == next.id.created_at()
        {
            chosen.extend(self.batch.pop_last());
        }
        chosen
    }

    fn is_copy(&mut self, entry: &Entry<S>) -> bool {
        let Verdict::Good(head) = &entry.verdict else { return false };
        let this = Some((entry.id, head.facts().digest));
        if self.last_good == this {
            return true;
        }
        self.last_good = this;
        false
    }
}

/// Sort key of entries: the greatest comes first. Within a second, bad entries come before good ones, so that they are
/// reported before a good backup ends a search.
fn newness<S: Series>(entry: &Entry<S>) -> (Timestamp, bool, u64) {
    let sequence = match &entry.verdict {
        Verdict::Good(head) => Some(head.facts().sequence),
        _ => None,
    };
    (entry.id.created_at(), sequence.is_none(), sequence.unwrap_or_default())
}

async fn examine_candidate<S: Series>(
    candidate: Candidate,
    vault: &dyn Vault,
    series: &S,
    keys: &TrustedKeys,
) -> Entry<S> {
    let Candidate { id, at, size, modified, visibility, .. } = candidate;
    let verdict = examine::verdict(vault, &at, size, modified, (series, id), keys).await;
    Entry { id, at, size, modified, visibility, verdict }
}

/// Marks entries under a version with the same head, because that version does not hide them.
fn mark_same_heads<S: Series>(entries: &mut [Entry<S>]) {
    let of = |entry: &Entry<S>| entry.head().map(|head| (entry.at.key.clone(), head.facts().digest));
    let seen = |entry: &&Entry<S>| entry.visibility == Visibility::Plain;
    let on_top: Vec<_> = entries.iter().filter(seen).filter_map(of).collect();
    for entry in entries.iter_mut().filter(|entry| entry.visibility == Visibility::UnderNewerVersion) {
        if of(entry).is_some_and(|own| on_top.contains(&own)) {
            entry.visibility = Visibility::UnderSameHead;
        }
    }
}

/// Marks a good archive as impossible if it was stored before the time in its id.
fn bound_by_clock<S: Series>(entry: &mut Entry<S>) {
    if entry.is_impossible()
        && let Verdict::Good(head) = &entry.verdict
    {
        entry.verdict = Verdict::Impossible(head.clone());
    }
}

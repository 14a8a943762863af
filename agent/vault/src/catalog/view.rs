//! Reads the archives of one series in one vault that are needed to decide which one is the newest.
//!
//! Names sort by the time that their writers claim, so the walk finds the newest backup first if clocks are right. If a
//! clock was wrong for a while, the newest backup may have any time in its name. It is found anyway:
//!
//! - *A clock was ahead.* Then the times of all later backups are between the wrong time and that of the parent of the
//!   wrong backup. So the search continues until it has found that parent.
//! - *A clock was behind.* Then the vault stored the newest backup later than the one with the newest name. So all
//!   backups that were stored later than that one are read, whatever the time in their names.

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{ClusterId, Digest, TrustedKeys};

use super::{Bounds, Entry, Filter, Place, Series, SignedHead, Skipped, Verdict, Walk, order};
use crate::{Vault, VaultError};

/// Number of good backups that are read after the first to find its parent, which is nearly always the next.
const FURTHER: usize = 8;

/// Number of good backups that are read after the first if clocks contradict each other: an older name has a higher
/// sequence number, or all times are in the future.
const FURTHER_IN_DOUBT: usize = 512;

/// Number of bad objects that are read after the first usable backup.
const BAD_FURTHER: usize = 32;

/// Number of good backups that are read because they were stored later than the one with the newest name.
const STORED_LATER: usize = 64;

/// Candidates for the newest archive of one series, from one vault.
#[derive(Debug)]
pub struct View<S: Series = ClusterId> {
    /// Good archives, in the order of `places`.
    pub entries: Vec<(Entry<S>, S::Head)>,
    pub places: Vec<Place>,
}

impl<S: Series> Default for View<S> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: Vec::new() }
    }
}

impl<S: Series> View<S> {
    fn add(&mut self, entry: Entry<S>, head: S::Head) {
        if self.places.iter().zip(&self.entries).all(|(_, (known, _))| known.at != entry.at) {
            self.places.push(Place::of(&head, entry.modified));
            self.entries.push((entry, head));
        }
    }

    /// Returns the index of the newest archive.
    pub fn newest(&self, now: Timestamp) -> Option<usize> {
        order::newest(&self.places, |_| true, now)
    }

    /// Returns the index of the newest archive that is usable, or of the newest of all if there is none.
    pub fn newest_usable(&self, now: Timestamp) -> Option<usize> {
        order::newest(&self.places, |index| self.entries[index].1.facts().is_usable, now).or_else(|| self.newest(now))
    }

    /// Returns the archive whose age counts: the one with the newest name that is not in the future.
    pub fn freshest(&self, now: Timestamp) -> Option<&Place> {
        self.places.iter().filter(|place| place.is_past(now)).max_by_key(|place| place.id)
    }

    /// Whether the first archive has no parent, or its parent was found.
    fn is_linked(&self) -> bool {
        let Some(first) = self.places.first() else { return false };
        first.previous.is_none_or(|previous| self.has(previous))
    }

    fn has(&self, digest: Digest) -> bool {
        self.places.iter().any(|place| place.digest == digest)
    }

    fn is_in_doubt(&self, now: Timestamp) -> bool {
        let Some(first) = self.places.first() else { return false };
        let counts_down = self.places.iter().all(|place| place.sequence <= first.sequence);
        !counts_down || self.places.iter().all(|place| !place.is_past(now))
    }

    fn first_usable(&self, filter: &Filter) -> Option<&Place> {
        let index = self.entries.iter().position(|(_, head)| filter.counts(head))?;
        self.places.get(index)
    }

    fn is_enough(&self, filter: &Filter, now: Timestamp) -> bool {
        let has_usable = self.first_usable(filter).is_some();
        let doubt = self.is_in_doubt(now);
        let limit = if doubt { FURTHER_IN_DOUBT } else { FURTHER };
        has_usable && ((self.is_linked() && !doubt) || self.places.len() > limit)
    }
}

/// Reads until no archive with an older name can be newer. Calls `on_bad` with each bad entry that comes before the
/// first usable archive, and with each later one that was stored after it and for which the vault was not reached: that
/// one may be newer. An error of `on_bad` ends the search.
pub async fn view<S: Series>(
    vault: &dyn Vault,
    series: &S,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    (bounds, skipped): (Bounds, &mut Skipped),
    mut on_bad: impl FnMut(Entry<S>) -> Result<(), VaultError>,
) -> Result<View<S>, VaultError> {
    let mut view = View::default();
    let mut walk = Walk::new(vault, series, filter, keys, now).within(bounds);
    let mut bad = 0;
    let walked = loop {
        let entry = match walk.next().await {
            Ok(Some(entry)) => entry,
            end => break end.map(drop),
        };
        let usable = view.first_usable(filter);
        if let Verdict::Good(head) = &entry.verdict {
            let head = S::Head::clone(head);
            view.add(entry, head);
        } else {
            bad += usize::from(usable.is_some());
            if usable.is_none_or(|usable| entry.is_unreached() && entry.modified > usable.stored) {
                on_bad(entry)?;
            }
        }
        if view.is_enough(filter, now) || bad > BAD_FURTHER {
            break Ok(());
        }
    };
    skipped.extend(walk.skipped());
    walked?;
    add_stored_later(vault, series, filter, (keys, now), &mut view, on_bad).await?;
    Ok(view)
}

async fn add_stored_later<S: Series>(
    vault: &dyn Vault,
    series: &S,
    filter: &Filter,
    (keys, now): (&TrustedKeys, Timestamp),
    view: &mut View<S>,
    mut on_bad: impl FnMut(Entry<S>) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let Some(first) = view.places.first() else { return Ok(()) };
    if filter.id.is_some() {
        return Ok(());
    }
    let named_before = first.made().checked_add(SignedDuration::from_secs(1)).ok();
    let filter = Filter { stored_after: Some(first.stored), named_before, ..filter.clone() };
    // In a flood this search ends early, and the backup with the newest name counts as the newest.
    let bounds =
        Bounds { bad_of_window: 32, bad: 32, bad_when_spent: 0, pages: 50, pages_when_spent: 0, ..Bounds::default() };
    let mut walk = Walk::new(vault, series, &filter, keys, now).within(bounds);
    let mut good = 0;
    while good < STORED_LATER
        && let Some(entry) = walk.next().await?
    {
        if let Verdict::Good(head) = &entry.verdict {
            let head = S::Head::clone(head);
            good += 1;
            view.add(entry, head);
        } else if entry.is_unreached() {
            on_bad(entry)?;
        }
    }
    Ok(())
}

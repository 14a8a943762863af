//! What has to be seen of one cluster in one vault to say which backup is the newest.
//!
//! Names sort by the time that their writers claim, so the walk meets the newest first wherever clocks are right. Where
//! one was wrong for a while, the newest may bear any time. It is met all the same:
//!
//! - *A clock that was ahead.* Then all that came later bears times between that one and the backup that it follows. So
//!   the look goes on until that one is met.
//! - *A clock that was behind.* Then the vault got it later than what bears the newest name. So what was stored later
//!   than that is looked at, whatever time it bears.

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::manifest::Proof;
use swarmdr_archive::reader::Head;
use swarmdr_archive::{Digest, TrustedKeys};

use super::{Bounds, Entry, Filter, Place, Strays, Verdict, Walk, order};
use crate::vault::{Vault, VaultError};

/// Good backups beyond the first that are read to meet the one that it follows. It is nearly always the next.
const FURTHER: usize = 8;

/// The same while clocks contradict: numbers that go the wrong way, times that have not come.
const FURTHER_IN_DOUBT: usize = 512;

/// Objects that are no backups, behind the first that is one.
const BAD_FURTHER: usize = 32;

/// Good backups that were stored later than the one with the newest name.
const STORED_LATER: usize = 64;

/// The newest backups of one cluster in one vault, by every measure.
#[derive(Debug, Default)]
pub struct View {
    /// Good ones.
    pub entries: Vec<(Entry, Head)>,
    pub places: Vec<Place>,
}

impl View {
    fn add(&mut self, entry: Entry, head: Head) {
        if self.places.iter().zip(&self.entries).all(|(_, (known, _))| known.at != entry.at) {
            self.places.push(Place::of(&head, entry.modified));
            self.entries.push((entry, head));
        }
    }

    /// The newest of all.
    pub fn newest(&self, now: Timestamp) -> Option<usize> {
        order::newest(&self.places, |_| true, now)
    }

    /// The newest that an engine comes up with, or of all if it comes up with none.
    pub fn newest_usable(&self, now: Timestamp) -> Option<usize> {
        order::newest(&self.places, |index| is_usable(&self.entries[index].1), now).or_else(|| self.newest(now))
    }

    /// The one whose age counts: that it is the newest of them is claimed by nobody from the future.
    pub fn freshest(&self, now: Timestamp) -> Option<&Place> {
        self.places.iter().filter(|place| place.is_past(now)).max_by_key(|place| place.id)
    }

    /// What the first follows has been met.
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

    fn is_enough(&self, now: Timestamp) -> bool {
        let has_usable = self.entries.iter().any(|(_, head)| is_usable(head));
        let doubt = self.is_in_doubt(now);
        let limit = if doubt { FURTHER_IN_DOUBT } else { FURTHER };
        has_usable && ((self.is_linked() && !doubt) || self.places.len() > limit)
    }
}

/// Its log replayed when it was made, or was not looked at.
pub fn is_usable(head: &Head) -> bool {
    head.manifest.proof != Proof::Unproven
}

/// Looks until nothing that lies further back can be newer. `beside` is told what is no backup, as far as it lies before
/// the first usable one.
pub async fn view(
    vault: &dyn Vault,
    cluster: &str,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    (bounds, strays): (Bounds, &mut Strays),
    mut beside: impl FnMut(Entry) -> Result<(), VaultError>,
) -> Result<View, VaultError> {
    let mut view = View::default();
    let mut walk = Walk::new(vault, cluster, filter, keys, now).within(bounds);
    let mut bad = 0;
    let walked = loop {
        let entry = match walk.next().await {
            Ok(Some(entry)) => entry,
            end => break end.map(drop),
        };
        let found = view.entries.iter().any(|(_, head)| is_usable(head));
        if let Verdict::Good(head) = &entry.verdict {
            let head = Head::clone(head);
            view.add(entry, head);
        } else if found {
            bad += 1;
        } else {
            beside(entry)?;
        }
        if view.is_enough(now) || bad > BAD_FURTHER {
            break Ok(());
        }
    };
    strays.extend(walk.strays());
    walked?;
    add_stored_later(vault, cluster, filter, keys, now, &mut view).await?;
    Ok(view)
}

async fn add_stored_later(
    vault: &dyn Vault,
    cluster: &str,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    view: &mut View,
) -> Result<(), VaultError> {
    let Some(first) = view.places.first() else { return Ok(()) };
    if filter.id.is_some() {
        return Ok(());
    }
    let named_before = first.made().checked_add(SignedDuration::from_secs(1)).ok();
    let filter = Filter { stored_after: Some(first.stored), named_before, ..filter.clone() };
    // A search among a flood ends: then what bears the newest name is the newest.
    let bounds =
        Bounds { bad_of_window: 32, bad: 32, bad_when_spent: 0, pages: 50, pages_when_spent: 0, ..Bounds::default() };
    let mut walk = Walk::new(vault, cluster, &filter, keys, now).within(bounds);
    let mut good = 0;
    while good < STORED_LATER
        && let Some(entry) = walk.next().await?
    {
        if let Verdict::Good(head) = &entry.verdict {
            let head = Head::clone(head);
            good += 1;
            view.add(entry, head);
        }
    }
    Ok(())
}

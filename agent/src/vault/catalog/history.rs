//! From the entries of vaults to a history that can be checked.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::TrustedKeys;
use swarmdr_archive::reader::Head;

use super::chain::{Break, Copy, History, Link, View};
use super::{Bounds, Entry, Filter, Place, Verdict, Walk};
use crate::vault::{Vault, VaultError};

/// Good backups that are read, per vault, to find the one that the newest follows. It is nearly always the next.
const LOOK_BACK: usize = 8;

/// A clock that was an hour ahead must not hide the backup that comes next.
const AHEAD: SignedDuration = SignedDuration::from_hours(2);

/// The good backups of one cluster as they are met, over several vaults.
#[derive(Debug, Default)]
pub struct Gathered {
    history: History,
}

impl Gathered {
    /// `locked_until` is the retention in effect, if it is known.
    pub fn add(&mut self, vault: &dyn Vault, entry: &Entry, head: &Head, locked_until: Option<Timestamp>) {
        // A lock that was renewed says nothing of those of its neighbours.
        let first = vault.lock_policy().map(|policy| policy.lock_from(entry.modified).until);
        let locked_until = locked_until.map(|until| first.map_or(until, |first| until.min(first)));
        let copy = Copy { vault: vault.address().to_owned(), stored: entry.modified, locked_until };
        let believed = !matches!(entry.verdict, Verdict::KeyEnded { .. });
        self.history.add(Link { believed, ..Link::new(&Place::of(head, entry.modified), vec![copy]) });
    }

    /// What is no backup that counts, as far as others may follow it.
    pub fn add_beside(&mut self, entry: &Entry) {
        if let Verdict::Forged { digest, .. } = &entry.verdict {
            self.history.add_unbelieved(*digest);
        }
    }

    /// One that was met elsewhere, if it is not known: its lock was not asked for.
    fn add_seen(&mut self, vault: &dyn Vault, place: &Place) {
        if self.history.has(place.digest) {
            return;
        }
        let copy = Copy { vault: vault.address().to_owned(), stored: place.stored, locked_until: None };
        self.history.add(Link::new(place, vec![copy]));
    }

    /// `whole` says that every vault was read to its end.
    pub fn check(&self, now: Timestamp, whole: bool) -> super::chain::Verdict {
        self.history.check(&View { now, complete_from: whole.then_some(Timestamp::UNIX_EPOCH) })
    }
}

/// What is wrong with the place of the newest backup in its history, from the few that come before it.
pub async fn of_newest(
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    newest: &Head,
    (of_vault, places): &(Vec<usize>, Vec<Place>),
) -> Vec<Break> {
    let id = newest.manifest.id;
    let named_before = id.created_at().checked_add(AHEAD).ok();
    let filter = Filter { id: None, after: None, named_before, ..filter.clone() };
    let mut gathered = Gathered::default();
    let mut complete_from = Some(Timestamp::UNIX_EPOCH);
    for vault in vaults {
        let read = look_back(vault.as_ref(), &filter, keys, now, newest, &mut gathered).await;
        complete_from = complete_from.zip(read.ok()).map(|(a, b)| a.max(b));
    }
    for (vault, place) in of_vault.iter().zip(places) {
        gathered.add_seen(vaults[*vault].as_ref(), place);
    }
    let verdict = gathered.history.check(&View { now, complete_from });
    let of_newest = |it: &Break| match it {
        Break::Missing { child, .. } | Break::Misnumbered { child, .. } => *child == id,
        // That a clock was wrong is told by whoever saw it.
        Break::ClockBehind { .. } => false,
        Break::Unseen { newer, .. } => *newer == id,
    };
    verdict.breaks.into_iter().filter(of_newest).collect()
}

/// Answers with the time from which on it has read everything.
async fn look_back(
    vault: &dyn Vault,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    newest: &Head,
    gathered: &mut Gathered,
) -> Result<Timestamp, VaultError> {
    let bounds = Bounds { bad_of_window: 32, bad: 32, bad_when_spent: 0, pages: 100, ..Bounds::default() };
    let cluster = &newest.manifest.cluster_id;
    let mut walk = Walk::new(vault, cluster, filter, keys, now).within(bounds);
    let mut reached = None;
    for _ in 0..=LOOK_BACK {
        let entry = loop {
            match walk.next().await? {
                Some(entry) if entry.head().is_none() => gathered.add_beside(&entry),
                entry => break entry,
            }
        };
        let Some(entry) = entry else {
            // Given up somewhere: nothing is known to be missing.
            let whole = walk.strays().given_up.is_empty();
            return Ok(if whole { Timestamp::UNIX_EPOCH } else { Timestamp::MAX });
        };
        let Some(head) = entry.head() else { continue };
        // Its lock matters only if what the newest follows is not found; one request each.
        let lock = vault.head(&entry.at).await?.lock;
        gathered.add(vault, &entry, head, lock.map(|lock| lock.until));
        reached = Some(entry.name.id().created_at());
        if newest.manifest.previous == Some(head.manifest_digest) {
            break;
        }
    }
    match walk.strays().given_up.is_empty() {
        true => Ok(reached.unwrap_or(Timestamp::MAX)),
        false => Ok(Timestamp::MAX),
    }
}

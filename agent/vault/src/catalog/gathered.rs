//! Builds a lineage from the entries of vaults, and checks it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::TrustedKeys;

use super::{
    Bounds, Entry, Filter, Place, Series, SignedHead, Verdict, Walk,
    lineage::{Break, Broken, Lineage, Member, Scope, StoredCopy},
};
use crate::{Vault, VaultError};

/// Number of archives that are read per vault to find the parent of the newest, which is nearly always the next.
const LOOK_BACK: usize = 8;

/// Names up to this long after the newest archive are searched, because a clock that was an hour ahead must not hide its
/// parent.
const AHEAD: SignedDuration = SignedDuration::from_hours(2);

/// The archives of one series in several vaults, as they are found.
#[derive(Debug, Default)]
pub struct GatheredLineage {
    lineage: Lineage,
}

impl GatheredLineage {
    /// Adds a stored archive. `locked_until` is the end of the retention in effect, if it is known.
    pub fn add<S: Series>(
        &mut self,
        vault: &dyn Vault,
        entry: &Entry<S>,
        head: &S::Head,
        locked_until: Option<Timestamp>,
    ) {
        // Not longer than the first lock: a renewed one says nothing about the locks of other backups.
        let first = vault.lock_policy().map(|policy| policy.lock_from(entry.modified).until);
        let locked_until = locked_until.map(|until| first.map_or(until, |first| until.min(first)));
        let copy = StoredCopy { vault: vault.address().to_owned(), stored: entry.modified, locked_until };
        let trusted = !matches!(entry.verdict, Verdict::KeyEnded { .. });
        self.lineage.add(Member { trusted, ..Member::new(&Place::of(head, entry.modified), vec![copy]) });
    }

    /// Adds a forged archive, which good ones may follow.
    pub fn add_untrusted<S: Series>(&mut self, entry: &Entry<S>) {
        if let Verdict::Forged { digest, .. } = &entry.verdict {
            self.lineage.add_untrusted(*digest);
        }
    }

    /// Adds an archive that another search found, unless it is there already. Its lock was not read.
    fn add_seen(&mut self, vault: &dyn Vault, place: &Place) {
        if self.lineage.has(place.digest) {
            return;
        }
        let copy = StoredCopy { vault: vault.address().to_owned(), stored: place.stored, locked_until: None };
        self.lineage.add(Member::new(place, vec![copy]));
    }

    /// Checks the lineage. `whole` says whether every vault was read completely.
    pub fn check(&self, now: Timestamp, whole: bool) -> super::lineage::Assessment {
        self.lineage.check(&Scope { now, complete_from: whole.then_some(Timestamp::UNIX_EPOCH) })
    }
}

/// Checks the newest archive against the few before it. Returns the breaks that concern the newest.
pub async fn of_newest<S: Series>(
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    newest: &S::Head,
    (of_vault, places): &(Vec<usize>, Vec<Place>),
) -> Vec<Broken<S>> {
    let id = newest.facts().id;
    let named_before = id.created_at().checked_add(AHEAD).ok();
    let filter = Filter { id: None, after: None, named_before, ..filter.clone() };
    let mut gathered = GatheredLineage::default();
    let mut complete_from = Some(Timestamp::UNIX_EPOCH);
    for vault in vaults {
        let read = look_back::<S>(vault.as_ref(), &filter, keys, now, newest, &mut gathered).await;
        complete_from = complete_from.zip(read.ok()).map(|(a, b)| a.max(b));
    }
    for (vault, place) in of_vault.iter().zip(places) {
        gathered.add_seen(vaults[*vault].as_ref(), place);
    }
    let verdict = gathered.lineage.check(&Scope { now, complete_from });
    let of_newest = |it: &Break| match it {
        Break::Missing { child, .. } | Break::Misnumbered { child, .. } => *child == id,
        // A wrong clock is reported by the search that noticed it.
        Break::ClockBehind { .. } => false,
        Break::Unseen { newer, .. } => *newer == id,
    };
    verdict.breaks.into_iter().filter(of_newest).map(|at| Broken { series: S::of(newest), at }).collect()
}

/// Adds the archives from the newest back to its parent. Returns the time since which everything was read.
async fn look_back<S: Series>(
    vault: &dyn Vault,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    newest: &S::Head,
    gathered: &mut GatheredLineage,
) -> Result<Timestamp, VaultError> {
    let bounds = Bounds { bad_of_window: 32, bad: 32, bad_when_spent: 0, pages: 100, ..Bounds::default() };
    let mut walk = Walk::new(vault, &S::of(newest), filter, keys, now).within(bounds);
    let mut reached = None;
    for _ in 0..=LOOK_BACK {
        let entry = loop {
            match walk.next().await? {
                Some(entry) if entry.head().is_none() => gathered.add_untrusted(&entry),
                entry => break entry,
            }
        };
        let Some(entry) = entry else {
            // If a window was given up, no archive is known to be missing.
            let whole = walk.skipped().given_up.is_empty();
            return Ok(if whole { Timestamp::UNIX_EPOCH } else { Timestamp::MAX });
        };
        let Some(head) = entry.head() else { continue };
        // Each lock costs a request, and matters only if the parent of the newest is not found.
        let lock = vault.head(&entry.at).await?.lock;
        gathered.add(vault, &entry, head, lock.map(|lock| lock.until));
        reached = Some(entry.id.created_at());
        if newest.facts().previous == Some(head.facts().digest) {
            break;
        }
    }
    match walk.skipped().given_up.is_empty() {
        true => Ok(reached.unwrap_or(Timestamp::MAX)),
        false => Ok(Timestamp::MAX),
    }
}

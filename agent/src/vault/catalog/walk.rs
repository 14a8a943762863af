//! Goes through the versions of one cluster from the newest backup to the oldest, at a bounded price.
//!
//! Whoever may write into a vault may store any number of objects there, all newer by name than the newest backup. What
//! they cost is bounded by [`Bounds`]: pages of listings, heads that turn out to be no backup, and versions in memory.
//! Within the bounds the order is exact. Beyond them the walk leaves a crowded stretch of time, says so in
//! [`Strays::given_up`], and goes on with what lies before it. There it prefers objects that were stored when their name
//! says ([`Candidate::is_prompt`]): nobody can store such a one afterwards, so the backups from before an attack are found
//! however large the flood. Where no object is like that (a bucket that was copied), those that have lain there longest
//! are looked at in the end: whoever breaks in comes after the first backup.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{Digest, TrustedKeys};

use super::pass::{Candidate, Keep, Pass};
use super::window::{Window, Windows};
use super::{Bounds, Entry, Filter, Strays, Timing, Verdict, Visibility, examine};
use crate::vault::object_name::ObjectName;
use crate::vault::{Marker, Vault, VaultError};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Heads read at once. Begins with one, because the first is nearly always the one that is wanted.
const MOST_AT_ONCE: usize = 8;

/// Names of one second that are read to put them into the order of their numbers. Nobody makes so many in a second.
const MOST_OF_A_SECOND: usize = 16;

/// How a stretch of time is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Every name, newest first.
    All,
    /// Too many were bad: only those that were stored when their name says.
    Prompt,
    /// Nothing was good anywhere: those that were stored first of all.
    StoredFirst,
}

#[derive(Debug)]
struct Current {
    window: Window,
    stage: Stage,
    /// Only what is older is still wanted.
    below: Option<Candidate>,
    /// There is more below `below`.
    more: bool,
    bad: u32,
}

/// What a pass over a window found.
#[derive(Debug)]
struct Listed {
    pass: Pass,
    /// False if the window has more pages than it is worth.
    to_its_end: bool,
    /// Objects whose keys sort before any time.
    junk_before: u64,
}

/// Entries come newest first; what is not the walk's cluster is not its business.
#[derive(Debug)]
pub struct Walk<'a> {
    vault: &'a dyn Vault,
    cluster: String,
    filter: Filter,
    keys: &'a TrustedKeys,
    bounds: Bounds,
    windows: Windows,
    current: Option<Current>,
    batch: BTreeSet<Candidate>,
    at_once: usize,
    examined: VecDeque<Entry>,
    last_good: Option<(ObjectName, Digest)>,
    strays: Strays,
    found_good: bool,
    tried_all: bool,
    bad: u32,
    pages: u32,
}

impl<'a> Walk<'a> {
    /// `now` says where to begin, and need not be right.
    pub fn new(
        vault: &'a dyn Vault,
        cluster: &str,
        filter: &Filter,
        keys: &'a TrustedKeys,
        now: Timestamp,
    ) -> Walk<'a> {
        let windows = match filter.id {
            // Ids have whole seconds.
            Some(id) => Windows::new(now, Some(id.created_at()), id.created_at().checked_add(SECOND).ok()),
            None => Windows::new(now, filter.after, filter.names_end()),
        };
        Walk {
            vault,
            cluster: cluster.to_owned(),
            filter: filter.clone(),
            keys,
            bounds: Bounds::default(),
            windows,
            current: None,
            batch: BTreeSet::new(),
            at_once: 1,
            examined: VecDeque::new(),
            last_good: None,
            strays: Strays::default(),
            found_good: false,
            tried_all: false,
            bad: 0,
            pages: 0,
        }
    }

    /// With other bounds, for searches that are repeated many times.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Walk<'a> {
        self.bounds = bounds;
        self
    }

    /// The next entry, whatever its verdict; `None` at the end. An error leaves the walk where it was.
    pub async fn next(&mut self) -> Result<Option<Entry>, VaultError> {
        loop {
            if let Some(entry) = self.examined.pop_front() {
                if self.is_copy(&entry) {
                    self.strays.copies += 1;
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

    /// What was met so far that is no entry.
    pub fn strays(&self) -> &Strays {
        &self.strays
    }

    fn may_go_on(&self) -> bool {
        let allowed = if self.bad < self.bounds.bad { self.bounds.bad_of_window } else { self.bounds.bad_when_spent };
        // The last resort has a batch that is small enough.
        self.current.as_ref().is_some_and(|current| current.stage == Stage::StoredFirst || current.bad < allowed)
    }

    async fn examine_some(&mut self) {
        let chosen = self.choose();
        if let (Some(current), Some(last)) = (&mut self.current, chosen.last()) {
            current.below = Some(last.clone());
        }
        let (vault, keys) = (self.vault, self.keys);
        let mut entries = join_all(chosen.into_iter().map(|candidate| look_at(candidate, vault, keys))).await;
        // Who names one has seen what is said of it.
        if self.filter.id.is_none() {
            entries.iter_mut().for_each(bound_by_clock);
        }
        tell_same_heads(&mut entries);
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

    /// The next few, with all that were made in the second of the last of them.
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

    /// Lists the next part; false when there is none.
    async fn refill(&mut self) -> Result<bool, VaultError> {
        let given_up = !self.batch.is_empty();
        let part = match self.current.take() {
            Some(current) if given_up && current.stage == Stage::All => {
                Some(Current { stage: Stage::Prompt, bad: 0, ..current })
            }
            Some(current) if given_up => {
                self.give_up(&current.window);
                None
            }
            Some(current) if current.more => Some(current),
            _ => None,
        };
        self.batch.clear();
        let part = part.or_else(|| self.next_window()).or_else(|| self.last_resort());
        let Some(part) = part else { return Ok(false) };
        let listed = self.list(&part).await;
        let (window, is_first, stage) = (part.window, part.below.is_none(), part.stage);
        // After an error the part is listed again.
        let current = self.current.insert(Current { more: true, ..part });
        let Listed { pass, to_its_end, junk_before } = listed?;
        if !to_its_end
            && is_first
            && stage == Stage::All
            && self.pages < self.bounds.pages
            && self.windows.split(window)
        {
            self.strays.junk += junk_before;
            self.current = None;
            return Ok(true);
        }
        current.more = pass.overflowed && stage != Stage::StoredFirst;
        if is_first && stage == Stage::All {
            self.strays.junk += pass.junk;
            self.strays.passed_over += pass.passed_over;
        }
        // Said now: whether or not a good one comes, others of this stretch were not looked at.
        if stage == Stage::Prompt || !to_its_end {
            self.give_up(&window);
        }
        self.batch = pass.into_batch();
        Ok(true)
    }

    fn next_window(&mut self) -> Option<Current> {
        let window = self.windows.next()?;
        Some(Current { window, stage: Stage::All, below: None, more: false, bad: 0 })
    }

    fn last_resort(&mut self) -> Option<Current> {
        if self.found_good || self.strays.given_up.is_empty() || self.tried_all {
            return None;
        }
        self.tried_all = true;
        let window = Windows::new(Timestamp::UNIX_EPOCH, self.filter.after, self.filter.names_end()).next()?;
        let window = window.as_one(self.bounds.pages / 4);
        Some(Current { window, stage: Stage::StoredFirst, below: None, more: false, bad: 0 })
    }

    /// All of a window, or its first pages.
    async fn list(&mut self, part: &Current) -> Result<Listed, VaultError> {
        let (window, under) = (part.window, format!("{}/", self.cluster));
        let (first, end) = (window.before_first_key(&self.cluster), window.end_key(&self.cluster));
        let mut pass = match part.stage {
            Stage::StoredFirst => Pass::new(Keep::StoredFirst, self.bounds.bad_of_window as usize),
            _ => Pass::new(Keep::Newest, self.bounds.batch),
        };
        // The first look begins at the first key, to see what junk lies there.
        let from_the_start = window.is_whole() && self.filter.after.is_none() && self.filter.id.is_none();
        let mut after = (!from_the_start).then(|| Marker::after_key(&first));
        let mut junk_before = 0;
        let spent = self.pages >= self.bounds.pages && part.stage != Stage::StoredFirst;
        let pages = if spent { window.pages.min(self.bounds.pages_when_spent) } else { window.pages };
        for _ in 0..pages {
            let page = self.vault.list_versions(&under, after.as_ref()).await?;
            self.pages += 1;
            for version in page.versions {
                if version.at.key >= end {
                    // Behind all times nothing is listed for its own sake; what came along is told.
                    pass.junk += u64::from(window.is_whole() && window.to == Timestamp::MAX);
                    continue;
                }
                junk_before += u64::from(version.at.key < first);
                pass.take(version, |candidate| self.wants(part, candidate));
            }
            match page.next {
                Some(next) if next.key < end => after = Some(next),
                _ => return Ok(Listed { pass: pass.end(), to_its_end: true, junk_before }),
            }
        }
        Ok(Listed { pass: pass.end(), to_its_end: false, junk_before })
    }

    fn wants(&self, part: &Current, candidate: &Candidate) -> bool {
        self.filter.admits(candidate)
            && !self.filter.excepts(self.vault.address(), &candidate.at)
            && part.below.as_ref().is_none_or(|below| candidate < below)
            && (part.stage != Stage::Prompt || candidate.is_prompt())
    }

    fn give_up(&mut self, window: &Window) {
        const TOLD: usize = 8;
        let span = (window.from, window.to);
        if self.strays.given_up.len() < TOLD && self.strays.given_up.last() != Some(&span) {
            self.strays.given_up.push(span);
        }
    }

    fn is_copy(&mut self, entry: &Entry) -> bool {
        let Verdict::Good(head) = &entry.verdict else { return false };
        let this = Some((entry.name.clone(), head.manifest_digest));
        if self.last_good == this {
            return true;
        }
        self.last_good = this;
        false
    }
}

/// The greatest comes first. What lies about a second is told before a good backup of that second ends a search.
fn newness(entry: &Entry) -> (Timestamp, bool, u64) {
    let sequence = match &entry.verdict {
        Verdict::Good(head) => Some(head.manifest.sequence),
        _ => None,
    };
    (entry.name.id().created_at(), sequence.is_none(), sequence.unwrap_or_default())
}

async fn look_at(candidate: Candidate, vault: &dyn Vault, keys: &TrustedKeys) -> Entry {
    let Candidate { name, at, size, modified, visibility, .. } = candidate;
    let verdict = examine::verdict(vault, &at, size, modified, &name, keys).await;
    Entry { name, at, size, modified, visibility, verdict }
}

/// What lies below a version with its own head was not put out of sight by it.
fn tell_same_heads(entries: &mut [Entry]) {
    let of = |entry: &Entry| entry.head().map(|head| (entry.at.key.clone(), head.manifest_digest));
    let seen = |entry: &&Entry| entry.visibility == Visibility::Plain;
    let on_top: Vec<_> = entries.iter().filter(seen).filter_map(of).collect();
    for entry in entries.iter_mut().filter(|entry| entry.visibility == Visibility::UnderNewerVersion) {
        if of(entry).is_some_and(|own| on_top.contains(&own)) {
            entry.visibility = Visibility::UnderSameHead;
        }
    }
}

/// Nothing is made after it was stored.
fn bound_by_clock(entry: &mut Entry) {
    if entry.timing() == Timing::Impossible
        && let Verdict::Good(head) = &entry.verdict
    {
        entry.verdict = Verdict::Impossible(head.clone());
    }
}

//! Goes through the versions of a vault from the newest backup to the oldest.
//!
//! Vaults list keys in ascending order only, so the newest come last. A pass over the listing keeps the newest
//! few thousand in memory; when they are used up, another pass finds those before them.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use futures_util::future::join_all;
use jiff::Timestamp;
use swarmdr_archive::{BackupId, Digest, TrustedKeys};

use super::{Entry, Filter, Verdict, Visibility, examine};
use crate::vault::object_name::ObjectName;
use crate::vault::{Vault, VaultError, Version, VersionRef};

/// Versions kept by one pass, some hundred bytes each.
const BATCH: usize = 4096;

/// Heads read at once. Begins with one, because the first is nearly always the one that is wanted.
const MOST_AT_ONCE: usize = 8;

/// Things in the vault that are no backups of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strays {
    /// Versions under keys that are no backup's name.
    pub junk: u64,
    /// Further versions of a good backup with the same signed head.
    pub copies: u64,
}

#[derive(Debug)]
pub struct Walk<'a> {
    vault: &'a dyn Vault,
    filter: Filter,
    keys: &'a TrustedKeys,
    batch_size: usize,
    batch: BTreeSet<Candidate>,
    rest: Rest,
    at_once: usize,
    examined: VecDeque<Entry>,
    last_good: Option<(ObjectName, Digest)>,
    strays: Strays,
}

/// What no pass has put into a batch yet.
#[derive(Debug)]
enum Rest {
    All,
    Below(Candidate),
    Nothing,
}

/// Greater comes earlier in the walk: the newer backup, and of one key the older version, which is more likely the original.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    id: BackupId,
    name: ObjectName,
    /// Versions of the key that are newer. Times would not do: listings of S3 give whole seconds.
    depth: u64,
    at: VersionRef,
    size: u64,
    modified: Timestamp,
    visibility: Visibility,
}

impl<'a> Walk<'a> {
    pub fn new(vault: &'a dyn Vault, filter: Filter, keys: &'a TrustedKeys) -> Walk<'a> {
        Walk {
            vault,
            filter,
            keys,
            batch_size: BATCH,
            batch: BTreeSet::new(),
            rest: Rest::All,
            at_once: 1,
            examined: VecDeque::new(),
            last_good: None,
            strays: Strays::default(),
        }
    }

    /// The next entry, whatever its verdict; `None` at the end. An error leaves the walk where it was.
    pub async fn next(&mut self) -> Result<Option<Entry>, VaultError> {
        loop {
            match self.examined.pop_front() {
                Some(entry) if self.is_copy(&entry) => self.strays.copies += 1,
                Some(entry) => return Ok(Some(entry)),
                None if !self.batch.is_empty() => self.examine_some().await,
                None if matches!(self.rest, Rest::Nothing) => return Ok(None),
                None => self.fill_batch().await?,
            }
        }
    }

    /// What was met so far that is no entry.
    pub fn strays(&self) -> Strays {
        self.strays
    }

    async fn examine_some(&mut self) {
        let chosen: Vec<_> = std::iter::from_fn(|| self.batch.pop_last()).take(self.at_once).collect();
        let (vault, keys) = (self.vault, self.keys);
        self.examined.extend(join_all(chosen.into_iter().map(|candidate| candidate.examine(vault, keys))).await);
        self.at_once = (self.at_once * 2).min(MOST_AT_ONCE);
    }

    async fn fill_batch(&mut self) -> Result<(), VaultError> {
        let under = self.common_prefix();
        let mut pass = Pass { junk: 0, overflowed: false, batch: BTreeSet::new(), top: None };
        let mut after = None;
        loop {
            let page = self.vault.list_versions(&under, after.as_ref()).await?;
            for version in page.versions {
                pass.take(version, self);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if matches!(self.rest, Rest::All) {
            self.strays.junk = pass.junk;
        }
        self.rest = match pass.batch.first() {
            Some(least) if pass.overflowed => Rest::Below(least.clone()),
            _ => Rest::Nothing,
        };
        self.batch = pass.batch;
        Ok(())
    }

    fn common_prefix(&self) -> String {
        match (&self.filter.cluster, self.filter.id) {
            (Some(cluster), Some(id)) => format!("{cluster}/{id}"),
            (Some(cluster), None) => format!("{cluster}/"),
            (None, _) => String::new(),
        }
    }

    fn wants(&self, candidate: &Candidate) -> bool {
        self.filter.admits(&candidate.name)
            && match &self.rest {
                Rest::All => true,
                Rest::Below(floor) => candidate < floor,
                Rest::Nothing => false,
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

/// One pass over the listing.
struct Pass {
    junk: u64,
    overflowed: bool,
    batch: BTreeSet<Candidate>,
    top: Option<Top>,
}

/// The key that was listed last.
struct Top {
    key: String,
    /// What covers the versions below the newest.
    cover: Visibility,
    /// Of the version listed last.
    depth: u64,
}

impl Pass {
    fn take(&mut self, version: Version, walk: &Walk<'_>) {
        let (depth, visibility) = self.place(&version);
        let Ok(name) = ObjectName::parse(&version.at.key) else {
            self.junk += 1;
            return;
        };
        if version.is_delete_marker {
            return;
        }
        let Version { at, size, modified, .. } = version;
        let candidate = Candidate { id: name.id(), name, depth, at, size, modified, visibility };
        if !walk.wants(&candidate) {
            return;
        }
        self.batch.insert(candidate);
        if self.batch.len() > walk.batch_size {
            self.batch.pop_first();
            self.overflowed = true;
        }
    }

    /// The versions of a key are listed from its newest on.
    fn place(&mut self, version: &Version) -> (u64, Visibility) {
        if let Some(top) = self.top.as_mut().filter(|top| top.key == version.at.key) {
            top.depth += 1;
            return (top.depth, top.cover);
        }
        let cover = match version.is_delete_marker {
            true => Visibility::UnderDeleteMarker,
            false => Visibility::UnderNewerVersion,
        };
        self.top = Some(Top { key: version.at.key.clone(), cover, depth: 0 });
        (0, Visibility::Plain)
    }
}

impl Candidate {
    async fn examine(self, vault: &dyn Vault, keys: &TrustedKeys) -> Entry {
        let verdict = examine::verdict(vault, &self.at, self.size, &self.name, keys).await;
        Entry {
            name: self.name,
            at: self.at,
            size: self.size,
            modified: self.modified,
            visibility: self.visibility,
            verdict,
        }
    }
}

impl fmt::Display for Strays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects that are no backups, {} further copies of good ones", self.junk, self.copies)
    }
}

#[cfg(test)]
impl<'a> Walk<'a> {
    pub(super) fn with_batch_size(mut self, batch_size: usize) -> Walk<'a> {
        self.batch_size = batch_size;
        self
    }
}

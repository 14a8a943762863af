//! The verified view of vaults: what is there, what is forged, damaged or hidden, and the newest backup that is good.
//!
//! Nothing that a vault says is believed. An object counts if the head of its bytes is signed by a trusted key, names the
//! very key that it lies under, and fits its size. Delete markers and versions on top hide nothing; neither
//! does a flood of junk: memory stays bounded, only time does not.

mod clusters;
mod examine;
mod walk;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::manifest::Proof;
use swarmdr_archive::reader::Head;
use swarmdr_archive::{BackupId, Error as ArchiveError, TrustedKeys};
use thiserror::Error;

use super::object_name::ObjectName;
use super::{Vault, VaultError, VersionRef};
pub use walk::{Strays, Walk};

/// Findings kept in full; a flood of forged objects must not fill the memory or the screen.
const FINDINGS_KEPT: usize = 100;

/// Which backups are looked for. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub cluster: Option<String>,
    /// Taken before this time.
    pub before: Option<Timestamp>,
    pub id: Option<BackupId>,
}

impl Filter {
    pub fn cluster(cluster: impl Into<String>) -> Filter {
        Filter { cluster: Some(cluster.into()), ..Filter::default() }
    }

    fn admits(&self, name: &ObjectName) -> bool {
        self.cluster.as_deref().is_none_or(|cluster| name.cluster() == cluster)
            && self.before.is_none_or(|before| name.id().created_at() < before)
            && self.id.is_none_or(|id| name.id() == id)
    }
}

/// One version of an object that has the name of a backup.
#[derive(Debug)]
pub struct Entry {
    pub name: ObjectName,
    pub at: VersionRef,
    pub size: u64,
    /// By the vault's clock.
    pub modified: Timestamp,
    pub visibility: Visibility,
    pub verdict: Verdict,
}

/// Whether a plain listing of the bucket shows this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    Plain,
    /// Somebody deleted the key; the locked version is still there.
    UnderDeleteMarker,
    /// Somebody put another version on top.
    UnderNewerVersion,
}

#[derive(Debug)]
pub enum Verdict {
    /// Signed by a trusted key, under its own name, of the right size. The payload has not been read.
    Good(Box<Head>),
    /// The head is whole but no trusted key has signed it.
    Forged(ArchiveError),
    /// Not an archive, or not all of it.
    Damaged(ArchiveError),
    /// A good head whose archive is longer or shorter than it says.
    WrongSize { expected: u64 },
    /// A good backup under the name of another one: a copy laid where it does not belong.
    Misplaced { belongs: String },
    /// It could not be read.
    Unread(VaultError),
}

/// The newest good backup that an engine comes up with, and all that was met on the way to it.
#[derive(Debug)]
pub struct Latest {
    /// Index into the vaults that were searched.
    pub vault: usize,
    pub at: VersionRef,
    pub size: u64,
    pub head: Head,
    pub findings: Findings,
}

/// What somebody should look at. The backup that was found is good in spite of it.
#[derive(Debug, Default)]
pub struct Findings {
    pub kept: Vec<Finding>,
    /// How many more there were.
    pub dropped: u64,
}

#[derive(Debug)]
pub struct Finding {
    /// Address of the vault.
    pub vault: String,
    pub about: About,
}

#[derive(Debug)]
pub enum About {
    Entry(Box<Entry>),
    /// A good one that was stored unproven, and passed over for an older one that an engine comes up with.
    Unproven(Box<Entry>),
    /// The vault could not be searched, or not to its end.
    Vault(VaultError),
    Strays(Strays),
}

#[derive(Debug, Error)]
pub enum CatalogError {
    #[error("the vaults hold backups of {} clusters: {}; say which one is meant", clusters.len(), clusters.join(", "))]
    SeveralClusters { clusters: Vec<String> },

    #[error("no backup that verifies was found in {vaults}{findings}")]
    NothingGood { vaults: String, findings: Findings },
}

/// Finds the newest good backup that the filter admits, over all vaults. A vault that fails is a finding, not an error, while another has one.
///
/// One that was stored unproven counts only where there is no other: nobody would want it in the place of an older one
/// that works. Without a cluster in the filter, good backups of two clusters are an error: the caller must choose.
pub async fn find_latest(
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
) -> Result<Latest, CatalogError> {
    let mut findings = Findings::default();
    let mut candidates: Vec<Candidate> = Vec::new();
    for (index, vault) in vaults.iter().enumerate() {
        let vault = vault.as_ref();
        match clusters::of_filter(vault, filter).await {
            Ok(clusters) => {
                for cluster in clusters {
                    let filter = Filter { cluster: Some(cluster), ..filter.clone() };
                    let found = newest_of_cluster(vault, filter, keys, &mut findings).await;
                    candidates.extend(found.into_iter().map(|(entry, head)| Candidate { vault: index, entry, head }));
                }
            }
            Err(error) => findings.add(vault, About::Vault(error)),
        }
    }
    let mut clusters: Vec<_> = candidates.iter().map(|it| it.head.manifest.cluster_id.clone()).collect();
    clusters.sort();
    clusters.dedup();
    if clusters.len() > 1 {
        return Err(CatalogError::SeveralClusters { clusters });
    }
    // Of equal ones the first: vaults are configured in the order of preference.
    candidates.sort_by_key(|it| std::cmp::Reverse(it.rank()));
    let mut candidates = candidates.into_iter();
    let Some(Candidate { vault, entry, head }) = candidates.next() else {
        let vaults = vaults.iter().map(|vault| vault.address().to_owned()).collect::<Vec<_>>().join(", ");
        return Err(CatalogError::NothingGood { vaults, findings });
    };
    for passed in candidates.filter(|it| !it.is_usable() && it.entry.name.id() > entry.name.id()) {
        findings.add(vaults[passed.vault].as_ref(), About::Unproven(Box::new(passed.entry)));
    }
    let (at, size) = (entry.at.clone(), entry.size);
    if entry.visibility != Visibility::Plain {
        findings.add(vaults[vault].as_ref(), About::Entry(Box::new(entry)));
    }
    Ok(Latest { vault, at, size, head, findings })
}

/// A good backup of one vault.
struct Candidate {
    vault: usize,
    entry: Entry,
    head: Head,
}

impl Candidate {
    fn is_usable(&self) -> bool {
        self.head.manifest.proof != Proof::Unproven
    }

    fn rank(&self) -> (bool, BackupId) {
        (self.is_usable(), self.entry.name.id())
    }
}

/// The newest good backup of one cluster in one vault. What is wrong with the others is logged.
pub async fn newest(vault: &dyn Vault, cluster: &str, keys: &TrustedKeys) -> Result<Option<Head>, VaultError> {
    let mut walk = Walk::new(vault, Filter::cluster(cluster), keys);
    while let Some(entry) = walk.next().await? {
        match entry.verdict {
            Verdict::Good(head) => return Ok(Some(*head)),
            _ => tracing::warn!(vault = vault.address(), "{entry}"),
        }
    }
    Ok(None)
}

/// The newest one that is usable, and before it the newest of all if that was stored unproven.
async fn newest_of_cluster(
    vault: &dyn Vault,
    filter: Filter,
    keys: &TrustedKeys,
    findings: &mut Findings,
) -> Vec<(Entry, Head)> {
    let mut walk = Walk::new(vault, filter, keys);
    let mut found: Vec<(Entry, Head)> = Vec::new();
    loop {
        match walk.next().await {
            Ok(Some(entry)) => match &entry.verdict {
                Verdict::Good(head) => {
                    let head = Head::clone(head);
                    let usable = head.manifest.proof != Proof::Unproven;
                    if usable || found.is_empty() {
                        found.push((entry, head));
                    }
                    if usable {
                        break;
                    }
                }
                _ => findings.add(vault, About::Entry(Box::new(entry))),
            },
            Ok(None) => break,
            Err(error) => {
                findings.add(vault, About::Vault(error));
                break;
            }
        }
    }
    if walk.strays() != Strays::default() {
        findings.add(vault, About::Strays(walk.strays()));
    }
    found
}

impl Findings {
    fn add(&mut self, vault: &dyn Vault, about: About) {
        if self.kept.len() < FINDINGS_KEPT {
            self.kept.push(Finding { vault: vault.address().into(), about });
        } else {
            self.dropped += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// For the end of a sentence: nothing, or `: ` and all of them.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.kept.iter().enumerate() {
            write!(f, "{}{finding}", if i == 0 { ": " } else { "; " })?;
        }
        if self.dropped > 0 {
            write!(f, "; and {} more", self.dropped)?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.about {
            About::Entry(entry) => write!(f, "{}: {entry}", self.vault),
            About::Unproven(entry) => {
                let at = &entry.at;
                write!(
                    f,
                    "{}: `{}` (version {}) is newer, but its raft log did not replay",
                    self.vault, at.key, at.id
                )?;
                f.write_str(" when it was made, so an older one was taken")
            }
            // Names its vault itself.
            About::Vault(error) => write!(f, "{error}"),
            About::Strays(strays) => write!(f, "{}: {strays}", self.vault),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (version {}) ", self.at.key, self.at.id)?;
        match &self.verdict {
            Verdict::Good(_) => f.write_str("is good")?,
            Verdict::Forged(why) => write!(f, "is not ours: {why}")?,
            Verdict::Damaged(why) => write!(f, "is damaged: {why}")?,
            Verdict::WrongSize { expected } => {
                write!(f, "is damaged: it has {} bytes and should have {expected}", self.size)?;
            }
            Verdict::Misplaced { belongs } => write!(f, "is a copy of `{belongs}` under a false name")?,
            Verdict::Unread(error) => write!(f, "could not be read: {error}")?,
        }
        f.write_str(match self.visibility {
            Visibility::Plain => "",
            Visibility::UnderDeleteMarker => ", and was hidden by a delete marker",
            Visibility::UnderNewerVersion => ", and was hidden by another version put on top",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;

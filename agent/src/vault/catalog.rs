//! The verified view of vaults: what is there, what is forged, damaged or hidden, and the newest backup that is good.
//!
//! Nothing that a vault says is believed, but for the time at which it stored an object. An object counts if the head of
//! its bytes is signed by a key that was trusted when it was stored, names the very key that it lies under, and fits its
//! size, and if it was not stored before the time that it bears. Which of them is the newest, [`order`] says. Delete markers and
//! versions on top hide nothing; neither does a flood of junk or of forged backups: memory and requests are bounded, see
//! [`Bounds`].

mod bounds;
pub mod chain;
mod clusters;
mod examine;
mod finding;
mod history;
mod latest;
pub mod order;
mod pass;
mod strays;
mod survey;
mod view;
mod walk;
mod window;

use std::fmt;

use jiff::Timestamp;
use swarmdr_archive::reader::Head;
use swarmdr_archive::{BackupId, Digest, Error as ArchiveError};
use thiserror::Error;

use super::{VaultError, VersionRef, object_name::ObjectName};
pub use bounds::Bounds;
pub use clusters::{Clusters, of_filter as clusters_of};
pub use finding::{About, Finding, Findings};
pub use history::Gathered;
pub use latest::{CatalogError, Latest, find_latest};
pub use order::{Place, Timing};
use pass::Candidate;
pub use strays::Strays;
pub use survey::{Found, Survey, Surveyed, Visit};
pub use view::{View, view};
pub use walk::Walk;

/// Which backups are looked for. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub cluster: Option<String>,
    /// Taken before this time, and stored before it: the time that a backup bears is its writer's claim.
    pub before: Option<Timestamp>,
    /// Taken at this time or later.
    pub after: Option<Timestamp>,
    pub id: Option<BackupId>,
    /// Versions that turned out to lie.
    pub except: Vec<Lied>,
    /// Named for a time before this one, whenever it was stored.
    pub named_before: Option<Timestamp>,
    /// Stored later than this by the vault's clock, whatever time it bears.
    pub stored_after: Option<Timestamp>,
    /// The newest of what answers is enough, though other vaults may hold a newer one.
    pub any_vault: bool,
}

/// A version whose signed head is good and whose bytes are not the ones that were signed. Only reading all of it shows
/// that. Another copy, or an older backup, may be whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{vault}: `{}` (version {}) is damaged behind its head: {why}", at.key, at.id)]
pub struct Lied {
    /// Address of the vault.
    pub vault: String,
    pub at: VersionRef,
    pub why: String,
}

impl Filter {
    pub fn cluster(cluster: impl Into<String>) -> Filter {
        Filter { cluster: Some(cluster.into()), ..Filter::default() }
    }

    fn admits(&self, candidate: &Candidate) -> bool {
        let made = candidate.id.created_at();
        self.cluster.as_deref().is_none_or(|cluster| candidate.name.cluster() == cluster)
            && self.before.is_none_or(|before| made.max(candidate.modified) < before)
            && self.after.is_none_or(|after| made >= after)
            && self.id.is_none_or(|id| candidate.id == id)
            && self.named_before.is_none_or(|before| made < before)
            && self.stored_after.is_none_or(|after| candidate.modified > after)
    }

    /// The time before which all names lie that this admits.
    fn names_end(&self) -> Option<Timestamp> {
        self.before.into_iter().chain(self.named_before).min()
    }

    fn excepts(&self, vault: &str, at: &VersionRef) -> bool {
        self.except.iter().any(|lied| lied.vault == vault && lied.at == *at)
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
    /// The version on top bears the same signed head, as where an answer was lost and the backup was stored again.
    UnderSameHead,
}

#[derive(Debug)]
pub enum Verdict {
    /// Signed by a trusted key, under its own name, of the right size. The payload has not been read.
    Good(Box<Head>),
    /// The head is whole but no trusted key has signed it. The digest is that of its manifest: what follows it names it.
    Forged { why: ArchiveError, digest: Digest },
    /// Not an archive, or not all of it.
    Damaged(ArchiveError),
    /// A good head whose archive is longer or shorter than it says.
    WrongSize { expected: u64 },
    /// A good backup under the name of another one: a copy laid where it does not belong.
    Misplaced { belongs: String },
    /// Signed by a key that had ended when the vault stored this.
    KeyEnded { head: Box<Head>, until: Timestamp },
    /// Good in all else, and stored before the time that it bears. Only who names its id gets it.
    Impossible(Box<Head>),
    /// It could not be read.
    Unread(VaultError),
}

impl Entry {
    /// Its head, if it is signed by whom it was to be and lies where it should: a place in the history, not a backup that
    /// counts.
    pub fn head(&self) -> Option<&Head> {
        match &self.verdict {
            Verdict::Good(head) | Verdict::Impossible(head) | Verdict::KeyEnded { head, .. } => Some(head),
            _ => None,
        }
    }

    pub fn timing(&self) -> Timing {
        Timing::of(self.name.id().created_at(), self.modified)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (version {}) ", self.at.key, self.at.id)?;
        match &self.verdict {
            Verdict::Good(_) => f.write_str("is good")?,
            // Another manager's key, an earlier one, or a stranger's.
            Verdict::Forged { why: why @ ArchiveError::UnknownKey { .. }, .. } => write!(f, "is not believed: {why}")?,
            Verdict::Forged { why, .. } => write!(f, "is not ours: {why}")?,
            Verdict::Damaged(why) => write!(f, "is damaged: {why}")?,
            Verdict::WrongSize { expected } => {
                write!(f, "is damaged: it has {} bytes and should have {expected}", self.size)?;
            }
            Verdict::Misplaced { belongs } => write!(f, "is a copy of `{belongs}` under a false name")?,
            Verdict::KeyEnded { head, until } => write!(
                f,
                "was stored at {}, and its signing key {} is trusted for what was stored before {until} only",
                self.modified, head.key_id
            )?,
            Verdict::Impossible(head) => write!(
                f,
                "bears a time after {}, when it was stored: the clock of {} was ahead, or somebody made the time up; it \
                 counts for nothing, and only who names its id gets it",
                self.modified, head.manifest.hostname
            )?,
            Verdict::Unread(error) => write!(f, "could not be read: {error}")?,
        }
        f.write_str(match self.visibility {
            Visibility::Plain => "",
            Visibility::UnderDeleteMarker => ", and was hidden by a delete marker",
            Visibility::UnderNewerVersion => ", and was hidden by another version put on top",
            Visibility::UnderSameHead => {
                ", and lies below another version with the same head: it was stored twice, or a copy was put on top"
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

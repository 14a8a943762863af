//! Verified content of vaults: which archives are good, forged, damaged or hidden, and which good one is the newest.
//!
//! Archives follow each other in series: the backups of a cluster, the streams of one name of a cluster, and the recovery
//! points of a cluster. All of this is one code for every kind of [`Series`]; what names no kind is about backups.
//!
//! Nothing that a vault reports is trusted, except the time at which it stored an object. An object is a good backup if
//! its head is signed by a key that was trusted at that time, names the key under which the object is stored, and gives
//! the right size, and if the object was not stored before the time in its id. [`order`] decides which good backup is
//! the newest. Delete markers and newer versions hide no backup, and neither does a flood of junk or of forged backups.
//! Memory and requests are bounded, see [`Bounds`]. [`lineage`] checks whether backups are missing between the existing
//! ones. The same holds for streams.

mod bounds;
mod examine;
mod finding;
mod gathered;
mod latest;
pub mod lineage;
mod listed;
mod newest_points;
pub mod order;
mod pass;
mod series;
mod skipped;
mod survey;
mod view;
mod walk;
mod window;

use std::fmt;

use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId, Digest, Error as ArchiveError};
use thiserror::Error;

use super::{VaultError, VersionRef};
pub use bounds::Bounds;
pub use finding::{About, Finding, Findings};
pub use latest::{CatalogError, Latest, find_latest, find_latest_point, find_latest_stream};
pub use listed::{Clusters, SeriesList, clusters_of, points_of, streams_of};
pub use newest_points::{NewestPoints, SeenPoint, newest_points};
pub use order::{Place, Timing};
use pass::Candidate;
pub use series::{Facts, PointSeries, Series, SignedHead, StreamSeries};
pub use skipped::Skipped;
pub use survey::{Found, Survey, Surveyed, Visit};
pub use view::{View, view};
pub use walk::Walk;

/// Conditions that an archive must meet to be admitted. The default admits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub cluster: Option<ClusterId>,
    /// Time before which the archive was begun and stored; the time in the id alone is only the writer's claim.
    pub before: Option<Timestamp>,
    /// Time at which, or after which, the archive was begun.
    pub after: Option<Timestamp>,
    pub id: Option<BackupId>,
    /// Versions to exclude, because their payload turned out to be bad.
    pub except: Vec<PayloadMismatch>,
    /// Time before which the time in the id is, whenever the archive was stored.
    pub named_before: Option<Timestamp>,
    /// Time after which the vault stored the archive by its own clock, whatever the time in the id.
    pub stored_after: Option<Timestamp>,
    /// Whether the newest archive in the vaults that answer is enough, although other vaults may hold a newer one.
    pub any_vault: bool,
    /// Whether the newest is meant even if it cannot be used as far as its maker knew.
    pub even_unusable: bool,
}

/// A version with a good signed head, whose payload is not the signed one. This shows only when the whole payload is
/// read. Another copy, or an older backup, may be whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{vault}: `{}` (version {}) is damaged behind its head: {why}", at.key, at.id)]
pub struct PayloadMismatch {
    /// Address of the vault.
    pub vault: String,
    pub at: VersionRef,
    pub why: String,
}

impl Filter {
    pub fn cluster(cluster: ClusterId) -> Self {
        Self { cluster: Some(cluster), ..Self::default() }
    }

    fn admits(&self, cluster: &ClusterId, candidate: &Candidate) -> bool {
        let made = candidate.id.created_at();
        self.cluster.as_ref().is_none_or(|wanted| cluster == wanted)
            && self.before.is_none_or(|before| made.max(candidate.modified) < before)
            && self.after.is_none_or(|after| made >= after)
            && self.id.is_none_or(|id| candidate.id == id)
            && self.named_before.is_none_or(|before| made < before)
            && self.stored_after.is_none_or(|after| candidate.modified > after)
    }

    /// Returns the time before which the times in all admitted ids are.
    fn names_end(&self) -> Option<Timestamp> {
        self.before.into_iter().chain(self.named_before).min()
    }

    /// Whether the archive of this head is one that is meant when the newest is.
    fn counts(&self, head: &impl SignedHead) -> bool {
        self.even_unusable || head.facts().is_usable
    }

    fn excepts(&self, vault: &str, at: &VersionRef) -> bool {
        self.except.iter().any(|mismatch| mismatch.vault == vault && mismatch.at == *at)
    }
}

/// One version of an object under a key of a series.
#[derive(Debug)]
pub struct Entry<S: Series = ClusterId> {
    /// Id in the key.
    pub id: BackupId,
    pub at: VersionRef,
    pub size: u64,
    /// Time of storing by the vault's clock.
    pub modified: Timestamp,
    pub visibility: Visibility,
    pub verdict: Verdict<S>,
}

/// Visibility of a version in a plain listing of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// Shown: the newest version of its key.
    Plain,
    /// Hidden by a delete marker on the key; the locked version still exists.
    UnderDeleteMarker,
    /// Hidden by a newer version of the key.
    UnderNewerVersion,
    /// Under a newest version with the same signed head, as when a reply was lost and the archive was stored again.
    UnderSameHead,
}

/// The result of examining an entry.
#[derive(Debug)]
pub enum Verdict<S: Series = ClusterId> {
    /// Signed by a trusted key, stored under its own name, and of the right size. The payload was not read.
    Good(Box<S::Head>),
    /// The head is complete but not signed by a trusted key. Archives that follow it name `digest`, of its manifest.
    Forged { why: ArchiveError, digest: Digest },
    /// Not an archive, or its head is incomplete or malformed.
    Damaged(ArchiveError),
    /// The head is good, but the object is longer or shorter than the head says.
    WrongSize { expected: u64 },
    /// A good archive under the name of another one: a copy in the wrong place.
    Misplaced { belongs: String },
    /// Signed by a key that was no longer trusted when the vault stored the object.
    KeyEnded { head: Box<S::Head>, until: Timestamp },
    /// Good otherwise, but stored before the time in its id. Used only if a user names its id.
    Impossible(Box<S::Head>),
    /// The head could not be read.
    Unread(VaultError),
}

impl<S: Series> Entry<S> {
    /// Returns the head if its signature and its name are right. Such an entry has a place in the lineage, even if it
    /// is not a good archive.
    pub fn head(&self) -> Option<&S::Head> {
        match &self.verdict {
            Verdict::Good(head) | Verdict::Impossible(head) | Verdict::KeyEnded { head, .. } => Some(head),
            _ => None,
        }
    }

    /// Returns the entry, or the error if the vault was not reached to read it: then nothing is known about it. Nobody
    /// who can only store objects can cause that error.
    pub fn reached(self) -> Result<Self, VaultError> {
        match self.verdict {
            Verdict::Unread(error) if error.is_inconclusive() => Err(error),
            verdict => Ok(Self { verdict, ..self }),
        }
    }

    fn is_unreached(&self) -> bool {
        matches!(&self.verdict, Verdict::Unread(error) if error.is_inconclusive())
    }

    /// Whether the vault stored it before the time in its id.
    fn is_impossible(&self) -> bool {
        Timing::of(self.id.created_at(), self.modified) == Timing::Impossible
    }
}

impl<S: Series> fmt::Display for Entry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (version {}) ", self.at.key, self.at.id)?;
        match &self.verdict {
            Verdict::Good(_) => f.write_str("is good")?,
            // The key of another manager, an earlier key, or the key of a stranger.
            Verdict::Forged { why: why @ ArchiveError::UnknownKey { .. }, .. } => write!(f, "is not trusted: {why}")?,
            Verdict::Forged { why, .. } => write!(f, "is forged or altered: {why}")?,
            Verdict::Damaged(why) => write!(f, "is damaged: {why}")?,
            Verdict::WrongSize { expected } => {
                write!(f, "is damaged: it has {} bytes and should have {expected}", self.size)?;
            }
            Verdict::Misplaced { belongs } => write!(f, "is a copy of `{belongs}` under another name")?,
            Verdict::KeyEnded { head, until } => write!(
                f,
                "was stored at {}, and its signing key {} is trusted for what was stored before {until} only",
                self.modified,
                head.facts().signer.key_id()
            )?,
            Verdict::Impossible(head) => write!(
                f,
                "is dated after {}, when it was stored: the clock of {} was ahead, or the date is false; it is \
                 ignored unless its id is named",
                self.modified,
                head.facts().hostname
            )?,
            Verdict::Unread(error) => write!(f, "could not be read: {error}")?,
        }
        f.write_str(match self.visibility {
            Visibility::Plain => "",
            Visibility::UnderDeleteMarker => ", and was hidden by a delete marker",
            Visibility::UnderNewerVersion => ", and was hidden by another version put on top",
            Visibility::UnderSameHead => {
                ", and is covered by another version with the same head: it was stored twice, or a copy was put on top"
            }
        })
    }
}

#[cfg(test)]
mod tests;

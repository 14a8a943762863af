//! Series of archives that follow each other: the backups of a cluster, the streams of one name, or the recovery points
//! of a cluster.
//!
//! Everything in the catalog is written once, for every kind of series. A kind says where its archives are, how their
//! heads are read, and how they are named in messages.

mod backups;
mod points;
mod streams;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, ClusterId, Digest, Error as ArchiveError, PublicKey, TrustedKeys};

use super::{Filter, SeriesList};
use crate::{Vault, VaultError};
pub use points::PointSeries;
pub use streams::StreamSeries;

/// A series of archives in which each one names the one before it. Their keys have a prefix of their own, below which
/// they sort by the time in their ids.
pub trait Series: Clone + fmt::Debug + Ord + Send + Sync + 'static {
    /// Verified head of an archive.
    type Head: SignedHead;

    /// What a search is for, besides the cluster of its filter.
    type Wanted: Clone + fmt::Debug + Send + Sync;

    const WORDS: Words;

    /// Whether a key that is trusted for data streams only counts on them.
    const IS_OF_STREAMS: bool = false;

    /// The longest time from the one in an id to the end of making the archive. One that took longer counts as late, and
    /// is not examined in a flood; see [`super::Walk`].
    const LONGEST: SignedDuration;

    /// Number of bytes that are read first of an object: enough for the head of an ordinary one. A longer head is read
    /// again, up to its limit.
    const FIRST_READ: u64 = 16 * 1024;

    /// Returns the series to which an archive belongs by its signed manifest.
    fn of(head: &Self::Head) -> Self;

    fn cluster(&self) -> &ClusterId;

    /// Returns what all keys of the series start with. The id follows.
    fn prefix(&self) -> String;

    fn key(&self, id: BackupId) -> String;

    /// Returns the id in a key, if it is a key of this series.
    fn id_in(&self, key: &str) -> Option<BackupId>;

    /// Reads a head from the first bytes of an archive, and checks its signature.
    fn check_head(bytes: &[u8], keys: &TrustedKeys) -> Result<CheckedHead<Self::Head>, ArchiveError>;

    /// Lists the series in a vault in which a search has to look.
    fn list(
        vault: &dyn Vault,
        wanted: &Self::Wanted,
        filter: &Filter,
    ) -> impl Future<Output = Result<SeriesList<Self>, VaultError>> + Send;

    /// Returns what a search is for, to follow `no` in a sentence.
    fn sought(wanted: &Self::Wanted) -> String;

    /// Returns the name of an archive of this series without its id, as `backup` or `stream shop-db`.
    fn one(&self) -> String;

    /// Returns the name of the series, as `swarm q9x0…`.
    fn title(&self) -> String;
}

/// Words for messages about one kind of series.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Noun for one archive.
    pub one: &'static str,
    pub many: &'static str,
    /// Noun for the host that makes them.
    pub maker: &'static str,
    /// What a vault has too many of.
    pub crowd: &'static str,
    /// What to do about that.
    pub narrow: &'static str,
    /// Why a newer one is passed over that cannot be used as far as its maker knew.
    pub passed_over: &'static str,
}

/// A complete head, and whether it is signed by a trusted key.
#[derive(Debug)]
pub struct CheckedHead<H> {
    /// Digest of the manifest, whoever signed it.
    pub digest: Digest,
    pub verified: Result<H, ArchiveError>,
}

/// The verified head of an archive.
pub trait SignedHead: Clone + fmt::Debug + Send + Sync + 'static {
    fn facts(&self) -> Facts<'_>;
}

impl<H: SignedHead> SignedHead for Box<H> {
    fn facts(&self) -> Facts<'_> {
        H::facts(self)
    }
}

/// What the catalog needs to know of a head.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub id: BackupId,
    pub sequence: u64,
    pub previous: Option<Digest>,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Time when the archive was complete by its maker's clock: at most [`Series::LONGEST`] after the time in its id.
    pub ended: Timestamp,
    pub signer: &'a PublicKey,
    pub archive_size: u64,
    pub hostname: &'a str,
    /// Whether it can be used as far as its maker knew. An older one that can be used is better.
    pub is_usable: bool,
    /// Whether its maker tried it out, and it worked. Some kinds of archives are never tried out.
    pub is_proven: bool,
    /// Digest of the settings in it, for kinds that have one.
    pub specs: Option<Digest>,
}

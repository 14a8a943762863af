//! The recovery points of a cluster are one series.

use std::fmt;

use jiff::SignedDuration;
use swarmdr_archive::{
    BackupId, ClusterId, Error as ArchiveError, TrustedKeys,
    point::{self, PointKey, SignedPoint},
    receipt::RECEIPT_MAX,
};

use super::{CheckedHead, Facts, Series, SignedHead, Words};
use crate::{
    Vault, VaultError,
    catalog::{Filter, SeriesList, points_of},
};

/// The recovery points of a cluster, each of which follows the one before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointSeries(pub ClusterId);

/// Writes the name as in messages: `of swarm q9x0…`.
impl fmt::Display for PointSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of swarm {}", self.0)
    }
}

impl Series for PointSeries {
    type Head = SignedPoint;
    type Wanted = ();

    const WORDS: Words = Words {
        one: "recovery point",
        many: "recovery points",
        maker: "host",
        crowd: "clusters",
        narrow: "name yours with --cluster",
        passed_over: "it is not complete",
    };

    const LONGEST: SignedDuration = SignedDuration::ZERO;

    /// All of it: there is nothing behind its head.
    const FIRST_READ: u64 = RECEIPT_MAX;

    fn of(head: &SignedPoint) -> Self {
        Self(head.point.cluster_id.clone())
    }

    fn cluster(&self) -> &ClusterId {
        &self.0
    }

    fn prefix(&self) -> String {
        PointKey::cluster_prefix(&self.0)
    }

    fn key(&self, id: BackupId) -> String {
        PointKey { cluster: self.0.clone(), id }.to_string()
    }

    fn id_in(&self, key: &str) -> Option<BackupId> {
        let PointKey { cluster, id } = key.parse().ok()?;
        (cluster == self.0).then_some(id)
    }

    fn check_head(bytes: &[u8], keys: &TrustedKeys) -> Result<CheckedHead<SignedPoint>, ArchiveError> {
        let unverified = point::read(bytes)?;
        Ok(CheckedHead { digest: unverified.digest(), verified: unverified.verify(keys) })
    }

    async fn list(vault: &dyn Vault, (): &(), filter: &Filter) -> Result<SeriesList<Self>, VaultError> {
        points_of(vault, filter).await
    }

    fn sought((): &()) -> String {
        Self::WORDS.one.to_owned()
    }

    fn one(&self) -> String {
        Self::WORDS.one.to_owned()
    }

    fn title(&self) -> String {
        format!("recovery points {self}")
    }
}

impl SignedHead for SignedPoint {
    fn facts(&self) -> Facts<'_> {
        let point = &self.point;
        Facts {
            id: point.id,
            sequence: point.sequence,
            previous: point.previous,
            digest: self.digest,
            ended: point.id.created_at(),
            signer: &self.signer,
            archive_size: self.size,
            hostname: &point.hostname,
            is_usable: point.is_complete(),
            is_proven: false,
            specs: None,
        }
    }
}

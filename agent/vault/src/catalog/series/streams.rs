//! The streams of one name of a cluster are one series.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{
    BackupId, ClusterId, Error as ArchiveError, TrustedKeys,
    stream_archive::{self, StreamHead, StreamKey, StreamName},
};

use super::{CheckedHead, Facts, Series, SignedHead, Words};
use crate::{
    Vault, VaultError,
    catalog::{Filter, SeriesList, streams_of},
};

/// The streams of one name of a cluster, each of which follows the one before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamSeries {
    pub cluster: ClusterId,
    pub name: StreamName,
}

/// Writes the name as in messages: `shop-db of swarm q9x0…`.
impl fmt::Display for StreamSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of swarm {}", self.name, self.cluster)
    }
}

impl StreamSeries {
    fn place(&self, id: BackupId) -> StreamKey {
        StreamKey { cluster: self.cluster.clone(), name: self.name.clone(), id }
    }
}

impl Series for StreamSeries {
    type Head = StreamHead;
    /// Name of the streams; `None` for those of every name.
    type Wanted = Option<StreamName>;

    const WORDS: Words = Words {
        one: "stream",
        many: "streams",
        maker: "host",
        crowd: "streams",
        narrow: "name yours, and its cluster with --cluster",
        passed_over: "it cannot be used",
    };

    const IS_OF_STREAMS: bool = true;

    /// The time in an id is that of the start, and the command of a stream may run for hours.
    const LONGEST: SignedDuration = SignedDuration::from_hours(24);

    fn of(head: &StreamHead) -> Self {
        Self { cluster: head.manifest.cluster_id.clone(), name: head.manifest.name.clone() }
    }

    fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    fn prefix(&self) -> String {
        StreamKey::name_prefix(&self.cluster, &self.name)
    }

    fn key(&self, id: BackupId) -> String {
        self.place(id).to_string()
    }

    fn id_in(&self, key: &str) -> Option<BackupId> {
        let StreamKey { cluster, name, id } = key.parse().ok()?;
        (cluster == self.cluster && name == self.name).then_some(id)
    }

    fn check_head(bytes: &[u8], keys: &TrustedKeys) -> Result<CheckedHead<StreamHead>, ArchiveError> {
        let head = stream_archive::read_head(bytes)?;
        Ok(CheckedHead { digest: head.manifest_digest(), verified: head.verify(keys) })
    }

    async fn list(
        vault: &dyn Vault,
        name: &Option<StreamName>,
        filter: &Filter,
    ) -> Result<SeriesList<Self>, VaultError> {
        streams_of(vault, name.as_ref(), filter).await
    }

    fn sought(name: &Option<StreamName>) -> String {
        match name {
            Some(name) => format!("stream {name}"),
            None => Self::WORDS.one.to_owned(),
        }
    }

    fn one(&self) -> String {
        format!("stream {}", self.name)
    }

    fn title(&self) -> String {
        format!("stream {self}")
    }
}

impl SignedHead for StreamHead {
    fn facts(&self) -> Facts<'_> {
        let manifest = &self.manifest;
        let began = manifest.id.created_at();
        // The end is a claim: it moves the time by no more than a name may.
        let latest = began.checked_add(StreamSeries::LONGEST).unwrap_or(Timestamp::MAX);
        Facts {
            id: manifest.id,
            sequence: manifest.sequence,
            previous: manifest.previous,
            digest: self.manifest_digest,
            ended: manifest.ended_at.clamp(began, latest),
            signer: &self.signer,
            archive_size: self.archive_size,
            hostname: &manifest.hostname,
            // One whose command failed is never stored.
            is_usable: true,
            is_proven: false,
            specs: None,
        }
    }
}

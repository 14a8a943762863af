//! The signed document.
//!
//! A reader ignores keys that it does not know. A key that must be understood bumps [`VERSION`].

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Gap, PointKey, Span};
use crate::{
    backup_id::BackupId,
    digest::Digest,
    error::{Error, Result},
    receipt::DOCUMENT_MAX,
    stream_archive::StreamName,
    swarm_node::ClusterId,
    untrusted::needs_escape,
};

/// Version of the document.
pub const VERSION: u32 = 1;

/// Maximum number of characters of the id that another tool gave its snapshot.
pub const EXTERNAL_ID_MAX: usize = 256;

/// What belongs together in time. Strings come from the host that made it: treat them as text to display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Version of the document; always 1.
    pub version: u32,
    /// Id of this point; its time is `made_at` to the second.
    pub id: BackupId,
    /// Swarm whose state and data it names.
    pub cluster_id: ClusterId,
    /// Number among the points of that swarm in its vaults, from 1, one more with each.
    pub sequence: u64,
    /// SHA-256 of the document of the point before this one.
    pub previous: Option<Digest>,
    /// Time of the point: nothing that it names ended later.
    pub made_at: Timestamp,
    /// Name of the host that made it, by whose configuration it is complete or not.
    pub hostname: String,
    /// Version of the agent that made it.
    pub agent_version: String,
    /// The backup of the swarm's state; `None` if there was none.
    pub state: Option<StatePart>,
    /// The newest stream of each name, in the order of their names.
    pub streams: Vec<StreamPart>,
    /// The newest snapshot of each other tool, in the order of their names.
    pub external: Vec<ExternalPart>,
    /// The last check of the images that the services need; `None` if no host checks them.
    #[serde(default)]
    pub images: Option<ImagesPart>,
    /// What keeps the point from being complete; empty if it is.
    pub gaps: Vec<Gap>,
    /// Number of parts that the document had no room for; a point that lacks any is not complete.
    pub left_out: u64,
}

/// A backup in a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePart {
    /// Id of the backup.
    pub backup: BackupId,
    /// SHA-256 of its manifest.
    pub manifest_digest: Digest,
    /// Time when it was made.
    pub created_at: Timestamp,
}

/// A stream in a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPart {
    /// Name of the stream.
    pub name: StreamName,
    /// Id of this one among the streams of that name.
    pub id: BackupId,
    /// SHA-256 of its manifest.
    pub manifest_digest: Digest,
    /// Time of the data.
    pub as_of: Timestamp,
    /// Time when its command was started.
    pub started_at: Timestamp,
    /// Time when its command had ended.
    pub ended_at: Timestamp,
}

/// A snapshot that another tool made and keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalPart {
    /// Name in the configuration.
    pub name: StreamName,
    /// Id that the tool gave its snapshot: 1 to [`EXTERNAL_ID_MAX`] printable characters.
    pub id: String,
    /// Time when the tool was started.
    pub as_of: Timestamp,
    /// Name of the host that it ran on.
    pub host: String,
}

/// What a check of the images of the swarm's services found in their registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesPart {
    /// Time of the check.
    pub checked_at: Timestamp,
    /// Number of images that services need.
    pub images: u64,
    /// Number of those without which a service would not start.
    pub missing: u64,
    /// Number of those of which it could not be found out.
    pub unknown: u64,
}

impl Point {
    /// Parses and checks a document. The result can be trusted as far as the signature over these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // Before anything else: in another version the other keys may have any meaning.
        let Version { version } = from_json(bytes)?;
        if version != VERSION {
            return Err(invalid(format!("it is of version {version}, and this one reads only {VERSION}")));
        }
        let point: Self = from_json(bytes)?;
        point.check()?;
        Ok(point)
    }

    /// Returns the only place in a vault that the point belongs to.
    pub fn key(&self) -> PointKey {
        PointKey { cluster: self.cluster_id.clone(), id: self.id }
    }

    /// Whether everything is there that the host which made it expects, and nothing of it too old.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.left_out == 0
    }

    /// Returns the span of time that its parts are from; `None` if it has none.
    pub fn span(&self) -> Option<Span> {
        let state = self.state.iter().map(|state| state.created_at);
        let streams = self.streams.iter().map(|stream| stream.as_of);
        Span::of(state.chain(streams).chain(self.external.iter().map(|external| external.as_of)))
    }

    /// Whether the document is small enough to be packed.
    pub fn fits(&self) -> bool {
        self.to_bytes().is_ok_and(|bytes| bytes.len() as u64 <= DOCUMENT_MAX)
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| invalid(error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Checks every rule of the format that the types do not enforce.
    pub(super) fn check(&self) -> Result<()> {
        if BackupId::new(self.made_at, [0; 4]).created_at() != self.id.created_at() {
            return Err(invalid("its id and its time disagree"));
        }
        if !are_unique(self.streams.iter().map(|part| &part.name)) {
            return Err(invalid("it names a stream twice"));
        }
        if !are_unique(self.external.iter().map(|part| &part.name)) {
            return Err(invalid("it names another tool twice"));
        }
        match self.external.iter().find(|part| !is_external_id(&part.id)) {
            Some(part) => Err(invalid(format!("the id of {} is not one", part.name))),
            None => Ok(()),
        }
    }
}

/// Whether a text can be the id of another tool's snapshot: 1 to [`EXTERNAL_ID_MAX`] printable characters.
pub fn is_external_id(text: &str) -> bool {
    (1..=EXTERNAL_ID_MAX).contains(&text.chars().count()) && !text.chars().any(needs_escape)
}

fn are_unique<T: Ord>(mut names: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    names.all(|name| seen.insert(name))
}

fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidPoint { reason: reason.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
pub(super) mod tests {
    use super::{
        super::{Part, Why},
        *,
    };

    pub fn point() -> Point {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let id = |text: &str| text.parse::<BackupId>().unwrap();
        Point {
            version: VERSION,
            id: id("20261121T030500Z-0a1b2c3d"),
            cluster_id: "q9x0h2k7m1c4v8b6n3z5a7s2d".parse().unwrap(),
            sequence: 7,
            previous: Some(Digest::of(b"before")),
            made_at: time("2026-11-21T03:05:00.5Z"),
            hostname: "m1".into(),
            agent_version: "0.1.0".into(),
            state: Some(StatePart {
                backup: id("20261121T030000Z-00000001"),
                manifest_digest: Digest::of(b"state"),
                created_at: time("2026-11-21T03:00:00Z"),
            }),
            streams: vec![StreamPart {
                name: "shop-db".parse().unwrap(),
                id: id("20261121T021500Z-00000002"),
                manifest_digest: Digest::of(b"stream"),
                as_of: time("2026-11-21T02:15:00Z"),
                started_at: time("2026-11-21T02:15:00Z"),
                ended_at: time("2026-11-21T02:20:00Z"),
            }],
            external: vec![ExternalPart {
                name: "uploads".parse().unwrap(),
                id: "3f9a1c07".into(),
                as_of: time("2026-11-21T02:30:00Z"),
                host: "w1".into(),
            }],
            images: Some(ImagesPart { checked_at: time("2026-11-21T03:01:00Z"), images: 12, missing: 0, unknown: 0 }),
            gaps: Vec::new(),
            left_out: 0,
        }
    }

    #[test]
    fn a_document_reads_back_as_written_and_says_how_far_its_parts_are_apart() {
        let point = point();
        assert_eq!(Point::parse(&point.to_bytes().unwrap()).unwrap(), point);
        assert_eq!(point.key().to_string(), "points/q9x0h2k7m1c4v8b6n3z5a7s2d/20261121T030500Z-0a1b2c3d.point");
        assert!(point.is_complete() && point.fits());
        assert_eq!(
            point.span().unwrap().to_string(),
            "from 2026-11-21T02:15:00Z to 2026-11-21T03:00:00Z, 45 min apart"
        );
        let late = Gap { part: Part::State, name: None, why: Why::Missing, max_age: None };
        assert!(!Point { gaps: vec![late], ..point.clone() }.is_complete());
        assert!(!Point { left_out: 1, ..point }.is_complete());
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        type Change<'a> = &'a dyn Fn(&mut Point);
        let parse = |change: Change<'_>| {
            let mut point = point();
            change(&mut point);
            Point::parse(&point.to_bytes().unwrap()).map_err(|error| error.to_string())
        };
        let wrong: [(Change<'_>, &str); 7] = [
            (&|point| point.version = 2, "version 2"),
            (&|point| point.made_at = Timestamp::UNIX_EPOCH, "disagree"),
            (&|point| point.streams.extend(point.streams.clone()), "stream twice"),
            (&|point| point.external.extend(point.external.clone()), "tool twice"),
            (&|point| point.external[0].id = String::new(), "uploads is not one"),
            (&|point| point.external[0].id = "a\u{1b}[2J".into(), "uploads is not one"),
            (&|point| point.external[0].id = "é".repeat(EXTERNAL_ID_MAX + 1), "uploads is not one"),
        ];
        for (change, said) in wrong {
            let why = parse(change).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
        parse(&|point| point.external[0].id = "é".repeat(EXTERNAL_ID_MAX)).unwrap();
    }
}

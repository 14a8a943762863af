//! Data that vaults take and return: uploads, versions, locks, checksums, pages.

use std::{fs::File, path::Path};

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use swarmdr_archive::Digest;

use super::{Source, VaultError};

/// Mode of a lock, which says who may remove it: nobody (COMPLIANCE), or an account with `s3:BypassGovernanceRetention`
/// (GOVERNANCE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LockMode {
    Compliance,
    Governance,
}

/// How long a version of an object is locked that is replaced all the time. Without a lock of its own, a bucket's default
/// retention would apply, and keep hundreds of versions a day for weeks.
const BRIEF: SignedDuration = SignedDuration::from_hours(1);

/// The lock that every object of a vault gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockPolicy {
    pub mode: LockMode,
    pub days: u16,
}

impl LockPolicy {
    /// Returns the lock of an object stored `now`, to the whole second (S3 keeps no finer time).
    pub fn lock_from(self, now: Timestamp) -> Lock {
        let until = now.as_second().saturating_add(i64::from(self.days) * 86_400);
        let until = Timestamp::from_second(until).unwrap_or(Timestamp::MAX);
        Lock { mode: self.mode, until }
    }
}

/// A retention, requested or in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lock {
    pub mode: LockMode,
    pub until: Timestamp,
}

impl Lock {
    /// The lock of an object that is replaced all the time: it ends so soon that old versions can be removed, and an
    /// owner can end it.
    pub fn brief(now: Timestamp) -> Self {
        let until = now.as_second().saturating_add(BRIEF.as_secs());
        Self { mode: LockMode::Governance, until: Timestamp::from_second(until).unwrap_or(Timestamp::MAX) }
    }

    /// Whether this lock protects at least as well as `asked`.
    pub fn covers(&self, asked: &Lock) -> bool {
        let strong_enough = self.mode == LockMode::Compliance || asked.mode == LockMode::Governance;
        // A server that keeps fractions may round down: a lock that is a second shorter is not weaker.
        strong_enough && self.until + SignedDuration::from_secs(1) >= asked.until
    }
}

/// Sealed bytes on their way into a vault. A file must not change until the upload is done.
#[derive(Debug, Clone)]
pub struct Upload {
    pub key: String,
    pub source: Source,
    pub size: u64,
    pub sha256: [u8; 32],
    /// Stored with the object in clear, readable by all who may read the object: no secrets here.
    pub metadata: Vec<(String, String)>,
    /// The time from which the lock is counted.
    pub now: Timestamp,
}

impl Upload {
    /// Makes an upload of a file, which is read whole for its size and SHA-256.
    pub fn of_file(key: impl Into<String>, file: &Path, now: Timestamp) -> Result<Self, VaultError> {
        let (size, sha256) = File::open(file).and_then(Digest::of_reader).map_err(|source| VaultError::File {
            action: "read the archive to store",
            path: file.into(),
            source,
        })?;
        let source = Source::File { path: file.into(), range: 0..size };
        Ok(Self { key: key.into(), source, size, sha256: *sha256.as_bytes(), metadata: Vec::new(), now })
    }

    /// Makes an upload of bytes in memory.
    pub fn of_bytes(key: impl Into<String>, bytes: impl Into<Bytes>, now: Timestamp) -> Self {
        let bytes = bytes.into();
        let (size, sha256) = (bytes.len() as u64, *Digest::of(&bytes).as_bytes());
        Self { key: key.into(), source: Source::Memory(vec![bytes]), size, sha256, metadata: Vec::new(), now }
    }

    /// Adds one name and value of metadata, which is stored in clear.
    pub fn with_metadata(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }
}

/// A SHA-256 checksum as S3 defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The SHA-256 of the object's bytes.
    Whole([u8; 32]),
    /// The SHA-256 of the concatenated SHA-256 digests of that many parts.
    OfParts([u8; 32], u32),
}

impl Checksum {
    /// Parses `base64` or `base64-N`, as S3 writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let (digest, parts) = match text.split_once('-') {
            Some((digest, parts)) => (digest, Some(parts.parse().ok()?)),
            None => (text, None),
        };
        let digest = BASE64.decode(digest.as_bytes()).ok()?.try_into().ok()?;
        Some(parts.map_or(Checksum::Whole(digest), |parts| Checksum::OfParts(digest, parts)))
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Checksum::Whole(digest) => write!(f, "SHA-256 {}", HEXLOWER.encode(digest)),
            Checksum::OfParts(digest, parts) => write!(f, "SHA-256 {} of {parts} parts", HEXLOWER.encode(digest)),
        }
    }
}

/// The name of one version of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionRef {
    pub key: String,
    /// Opaque id; `null`, as in S3, if the vault keeps no versions.
    pub id: String,
}

impl VersionRef {
    pub fn new(key: impl Into<String>, id: impl Into<String>) -> Self {
        Self { key: key.into(), id: id.into() }
    }
}

/// An attack on a locked version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// Removes it permanently; `bypass` requests to override a governance lock.
    Delete { bypass: bool },
    /// Makes its lock end at this earlier time.
    Shorten { until: Timestamp, bypass: bool },
    /// Puts a delete marker on its key.
    Hide,
    /// Puts another version on its key.
    Overlay,
}

/// One version or delete marker of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub at: VersionRef,
    /// Size in bytes; 0 for a delete marker.
    pub size: u64,
    pub modified: Timestamp,
    pub is_latest: bool,
    pub is_delete_marker: bool,
}

/// Position at which a listing continues: after this key, or after this version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub key: String,
    pub version: Option<String>,
}

impl Marker {
    pub fn after_key(key: impl Into<String>) -> Self {
        Self { key: key.into(), version: None }
    }
}

/// Page of a listing: at most a thousand versions.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub versions: Vec<Version>,
    pub next: Option<Marker>,
}

/// Properties of one version, as read back from the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    pub size: u64,
    /// `None` if the vault keeps no checksum: only reading the bytes back verifies them.
    pub checksum: Option<Checksum>,
    /// `None` if there is no lock; if the lock cannot be read, [`super::Vault::head`] fails.
    pub lock: Option<Lock>,
}

/// A put that the vault has confirmed.
#[derive(Debug, Clone)]
pub struct Placed {
    pub at: VersionRef,
    /// The value that [`ObjectHead::checksum`] must have, if it has any.
    pub checksum: Checksum,
    /// Whether the vault keeps no checksum but read all bytes back before it published the object.
    pub read_back: bool,
}

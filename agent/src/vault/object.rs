//! What a vault is given and what it tells: uploads, versions, locks, checksums, pages.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::VaultError;

/// Who may lift a lock: nobody (COMPLIANCE), or whoever holds `s3:BypassGovernanceRetention` (GOVERNANCE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LockMode {
    Compliance,
    Governance,
}

/// What every object of a vault is locked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockPolicy {
    pub mode: LockMode,
    pub days: u16,
}

impl LockPolicy {
    /// The lock of an object stored `now`, to the whole second (S3 keeps no finer time).
    pub fn lock_from(self, now: Timestamp) -> Lock {
        let until = now.as_second().saturating_add(i64::from(self.days) * 86_400);
        let until = Timestamp::from_second(until).unwrap_or(Timestamp::MAX);
        Lock { mode: self.mode, until }
    }
}

/// A retention, asked for or in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lock {
    pub mode: LockMode,
    pub until: Timestamp,
}

impl Lock {
    /// Whether this lock protects at least as well as `asked`.
    pub fn covers(&self, asked: &Lock) -> bool {
        let strong_enough = self.mode == LockMode::Compliance || asked.mode == LockMode::Governance;
        // Servers that keep fractions may round down; a second is not a weaker lock.
        strong_enough && self.until + SignedDuration::from_secs(1) >= asked.until
    }
}

/// A sealed file on its way into a vault. The file must not change until the upload is done.
#[derive(Debug, Clone)]
pub struct Upload {
    pub key: String,
    pub file: PathBuf,
    pub size: u64,
    pub sha256: [u8; 32],
    /// Stored beside the object in clear, readable by whoever may read the object: nothing secret.
    pub metadata: Vec<(String, String)>,
    /// The lock runs from here.
    pub now: Timestamp,
}

impl Upload {
    /// Reads the whole file to learn its size and SHA-256.
    pub fn of_file(key: impl Into<String>, file: &Path, now: Timestamp) -> Result<Upload, VaultError> {
        let (size, sha256) = hash_file(file).map_err(|source| VaultError::File {
            action: "read the archive to store",
            path: file.into(),
            source,
        })?;
        Ok(Upload { key: key.into(), file: file.into(), size, sha256, metadata: Vec::new(), now })
    }

    /// Adds one pair of plain-text metadata.
    pub fn with_metadata(mut self, name: &str, value: impl Into<String>) -> Upload {
        self.metadata.push((name.into(), value.into()));
        self
    }
}

fn hash_file(file: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hash.finalize().into())),
            n => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

/// SHA-256 as S3 knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Of the object's bytes.
    Whole([u8; 32]),
    /// Of the concatenated SHA-256 of that many parts.
    OfParts([u8; 32], u32),
}

impl Checksum {
    /// Reads `base64` or `base64-N`, as S3 writes them.
    pub fn parse(text: &str) -> Option<Checksum> {
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

/// Names one version of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionRef {
    pub key: String,
    /// Opaque. `null` where the vault keeps no versions, as S3 calls it.
    pub id: String,
}

impl VersionRef {
    pub fn new(key: impl Into<String>, id: impl Into<String>) -> VersionRef {
        VersionRef { key: key.into(), id: id.into() }
    }
}

/// What an attacker would try on a locked version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// Remove it for good; `bypass` asks to overrule a governance lock.
    Delete { bypass: bool },
    /// Let its lock end at this time already.
    Shorten { until: Timestamp, bypass: bool },
    /// Lay a delete marker on its key.
    Hide,
    /// Lay another version on its key.
    Overlay,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub at: VersionRef,
    /// 0 for a delete marker.
    pub size: u64,
    pub modified: Timestamp,
    pub is_latest: bool,
    pub is_delete_marker: bool,
}

/// Where a listing goes on: behind this key, or behind this version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub key: String,
    pub version: Option<String>,
}

impl Marker {
    pub fn after_key(key: impl Into<String>) -> Marker {
        Marker { key: key.into(), version: None }
    }
}

/// At most a thousand versions.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub versions: Vec<Version>,
    pub next: Option<Marker>,
}

/// What one version is, as read back from the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    pub size: u64,
    /// `None` where the vault keeps none: the bytes must be read to know them.
    pub checksum: Option<Checksum>,
    /// `None` says that there is none; one that cannot be read is an error of [`super::Vault::head`].
    pub lock: Option<Lock>,
}

/// A put that the vault says it has done.
#[derive(Debug, Clone)]
pub struct Placed {
    pub at: VersionRef,
    /// What [`ObjectHead::checksum`] must say if it says anything.
    pub checksum: Checksum,
    /// The vault has no checksums but has read all bytes back before it published them.
    pub read_back: bool,
}

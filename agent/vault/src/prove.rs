//! Proves that a version in a vault has the bytes that were sent, and the lock that was asked for.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Checksum, Lock, LockMode, NO_PROGRESS, ObjectHead, Placed, SentPart, Upload, Vault, VaultError, Version,
    VersionRef, fetch::fetch_range, parts::checksum_of,
};

/// How the SHA-256 of the stored bytes was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifiedBy {
    /// The vault computed the same digest from the bytes that arrived.
    Vault,
    /// All bytes were read back, because the vault keeps no checksum that can be compared.
    ReadBack,
}

/// Properties of a stored archive, as read back from the vault.
#[derive(Debug, Clone)]
pub struct Stored {
    pub at: VersionRef,
    pub size: u64,
    pub verified_by: VerifiedBy,
    /// The retention in effect; `None` only if the vault cannot lock.
    pub lock: Option<Lock>,
    /// Whether an earlier run had stored it already.
    pub was_there: bool,
    /// Number of other versions and delete markers under the same key. Only this agent uses these keys, so more than 0
    /// deserves a warning.
    pub others: usize,
}

/// The object that should be under a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub key: &'a str,
    pub size: u64,
    pub content: ExpectedContent<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum ExpectedContent<'a> {
    /// The SHA-256 of all bytes.
    Whole([u8; 32]),
    /// The parts that the object was put together of. The SHA-256 of the whole is not known.
    Parts(&'a [SentPart]),
}

impl<'a> Expected<'a> {
    pub fn of(upload: &'a Upload) -> Self {
        Self { key: &upload.key, size: upload.size, content: ExpectedContent::Whole(upload.sha256) }
    }

    pub fn of_parts(key: &'a str, sent: &'a [SentPart]) -> Self {
        Self { key, size: sent.iter().map(|part| part.size).sum(), content: ExpectedContent::Parts(sent) }
    }

    /// The checksum that the vault should have computed.
    fn checksum(&self) -> Checksum {
        match self.content {
            ExpectedContent::Whole(sha256) => Checksum::Whole(sha256),
            ExpectedContent::Parts(sent) => checksum_of(sent),
        }
    }

    fn mismatch(&self, vault: &dyn Vault, expected: impl ToString, found: impl ToString) -> VaultError {
        VaultError::ChecksumMismatch {
            vault: vault.address().into(),
            key: self.key.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// Reads all bytes of a version back, and compares them.
    async fn read_back(&self, vault: &dyn Vault, at: &VersionRef) -> Result<(), VaultError> {
        let whole = [(self.size, self.checksum())];
        let parts: Vec<(u64, Checksum)> = match self.content {
            ExpectedContent::Whole(_) => whole.to_vec(),
            ExpectedContent::Parts(sent) => sent.iter().map(|it| (it.size, Checksum::Whole(it.sha256))).collect(),
        };
        let mut start = 0;
        for (size, expected) in parts {
            let range = start..start + size;
            let read = fetch_range(vault, at, range, &mut tokio::io::sink(), NO_PROGRESS).await?;
            let found = Checksum::Whole(read.sha256);
            if found != expected {
                return Err(self.mismatch(vault, expected, found));
            }
            start += size;
        }
        Ok(())
    }
}

/// A version whose bytes were verified to be the ones that were sent.
pub(crate) struct Confirmed {
    at: VersionRef,
    head: ObjectHead,
    verified_by: VerifiedBy,
    /// The time of storing by the vault's clock, if the version was found in a listing.
    stored: Option<Timestamp>,
}

impl Confirmed {
    /// Whether the version had a lock of at least this mode when it was stored. The lock may have ended since.
    pub fn was_locked(&self, mode: LockMode) -> bool {
        let lock = self.head.lock.zip(self.stored);
        lock.is_some_and(|(lock, stored)| lock.until > stored && lock.covers(&Lock { mode, until: stored }))
    }
}

pub(crate) async fn finish(
    vault: &dyn Vault,
    key: &str,
    found: Confirmed,
    asked: Option<Lock>,
    was_there: bool,
) -> Result<Stored, VaultError> {
    require_lock(vault, key, &found.head, asked)?;
    let others = versions_of(vault, key).await?.len().saturating_sub(1);
    if others > 0 {
        tracing::warn!(vault = vault.address(), key, others, "the key of this backup has other versions too");
    }
    let Confirmed { at, head, verified_by, .. } = found;
    Ok(Stored { at, size: head.size, verified_by, lock: head.lock, was_there, others })
}

pub(crate) fn require_lock(
    vault: &dyn Vault,
    key: &str,
    head: &ObjectHead,
    asked: Option<Lock>,
) -> Result<(), VaultError> {
    let Some(asked) = asked.filter(|asked| !head.lock.is_some_and(|lock| lock.covers(asked))) else { return Ok(()) };
    Err(VaultError::LockDropped { vault: vault.address().into(), key: key.to_owned(), asked, found: head.lock })
}

/// Returns the oldest version under the key that has the same bytes.
pub(crate) async fn find_same(vault: &dyn Vault, expected: &Expected<'_>) -> Result<Option<Confirmed>, VaultError> {
    for version in versions_of(vault, expected.key).await?.into_iter().rev() {
        if version.is_delete_marker || version.size != expected.size {
            continue;
        }
        match prove(vault, expected, version.at, None).await {
            Ok(found) => return Ok(Some(Confirmed { stored: Some(version.modified), ..found })),
            Err(VaultError::ChecksumMismatch { .. } | VaultError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Returns the first page of a key's versions, newest first. A key of this agent has one version; more than a page of
/// other writers' versions says nothing more.
pub(crate) async fn versions_of(vault: &dyn Vault, key: &str) -> Result<Vec<Version>, VaultError> {
    let page = vault.list_versions(key, None).await?;
    Ok(page.versions.into_iter().filter(|version| version.at.key == key).collect())
}

/// Compares size and SHA-256 of a version with what was sent. Reads the bytes back if the vault has no checksum that
/// can be compared.
pub(crate) async fn prove(
    vault: &dyn Vault,
    expected: &Expected<'_>,
    at: VersionRef,
    placed: Option<&Placed>,
) -> Result<Confirmed, VaultError> {
    let head = vault.head(&at).await?;
    if head.size != expected.size {
        let (wanted, found) = (format!("{} bytes", expected.size), format!("{} bytes", head.size));
        return Err(expected.mismatch(vault, wanted, found));
    }
    let wanted = expected.checksum();
    let verified_by = match head.checksum {
        Some(found) if found == wanted || placed.is_some_and(|placed| found == placed.checksum) => VerifiedBy::Vault,
        // The same kind of checksum: the bytes differ.
        Some(found @ Checksum::Whole(_)) if matches!(wanted, Checksum::Whole(_)) => {
            return Err(expected.mismatch(vault, wanted, found));
        }
        None if placed.is_some_and(|placed| placed.read_back) => VerifiedBy::ReadBack,
        Some(_) | None => {
            expected.read_back(vault, &at).await?;
            VerifiedBy::ReadBack
        }
    };
    Ok(Confirmed { at, head, verified_by, stored: None })
}

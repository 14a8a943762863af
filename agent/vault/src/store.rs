//! Puts an archive into a vault and proves that it is stored: whole, locked, and once.

use std::{io::Write, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_http::Backoff;

use super::{
    Checksum, Lock, LockMode, NO_PROGRESS, ObjectHead, Placed, Progress, Upload, Vault, VaultError, Version,
    VersionRef, clock, fetch,
};

/// Number of puts that are tried before a transient failure is returned.
const ATTEMPTS: u32 = 4;

/// Pauses after a transient failure. A request whose reply was lost has this long to take effect.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(4) };

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

/// Puts `upload`, and reads back its size, checksum and lock. Calling it again after a lost reply or a killed run makes
/// no second copy.
///
/// A client that retries a put whose reply was lost leaves two versions, both locked. `If-None-Match` does not prevent
/// that: old servers ignore it, and some new ones have a race. So each put is a single attempt, and the versions under
/// the key are read before the first put and after each put that may have worked.
pub async fn store(vault: &dyn Vault, upload: &Upload, progress: Progress<'_>) -> Result<Stored, VaultError> {
    let upload = &Upload { now: clock::time_of(vault, upload.now).await, ..upload.clone() };
    let asked = vault.lock_policy().map(|policy| policy.lock_from(upload.now));
    if let Some(found) = find_same(vault, upload).await? {
        // The lock began with the earlier run. It is right if it still holds, or if it held until its end.
        let holding = asked.filter(|lock| !found.was_locked(lock.mode)).map(|lock| Lock { until: upload.now, ..lock });
        return finish(vault, upload, found, holding, true).await;
    }
    let mut attempt = 1;
    loop {
        let failure = match vault.put(upload, progress).await {
            Ok(placed) => {
                let found = prove(vault, upload, placed.at.clone(), Some(&placed)).await?;
                return finish(vault, upload, found, asked, false).await;
            }
            Err(failure @ VaultError::AlreadyExists { .. }) => failure,
            Err(failure) if failure.is_transient() => {
                tracing::warn!(vault = vault.address(), key = upload.key, attempt, "{failure}");
                BACKOFF.pause(attempt).await;
                failure
            }
            Err(failure) => return Err(failure),
        };
        // An error here is returned, because another put could make a second copy.
        if let Some(found) = find_same(vault, upload).await? {
            return finish(vault, upload, found, asked, false).await;
        }
        if !failure.is_transient() || attempt == ATTEMPTS {
            return Err(failure);
        }
        attempt += 1;
    }
}

/// Stores a small object from memory, like [`store`].
pub async fn store_bytes(vault: &dyn Vault, key: String, bytes: &[u8], now: Timestamp) -> anyhow::Result<Stored> {
    let mut file = tempfile::NamedTempFile::new().context("failed to make a temporary file")?;
    file.write_all(bytes).with_context(|| format!("failed to write {}", file.path().display()))?;
    let upload = Upload::of_file(key, file.path(), now)?;
    Ok(store(vault, &upload, NO_PROGRESS).await?)
}

/// A version whose bytes were verified to be the bytes of the upload.
struct Confirmed {
    at: VersionRef,
    head: ObjectHead,
    verified_by: VerifiedBy,
    /// The time of storing by the vault's clock, if the version was found in a listing.
    stored: Option<Timestamp>,
}

impl Confirmed {
    /// Whether the version had a lock of at least this mode when it was stored. The lock may have ended since.
    fn was_locked(&self, mode: LockMode) -> bool {
        let lock = self.head.lock.zip(self.stored);
        lock.is_some_and(|(lock, stored)| lock.until > stored && lock.covers(&Lock { mode, until: stored }))
    }
}

async fn finish(
    vault: &dyn Vault,
    upload: &Upload,
    found: Confirmed,
    asked: Option<Lock>,
    was_there: bool,
) -> Result<Stored, VaultError> {
    if let Some(asked) = asked.filter(|asked| !found.head.lock.is_some_and(|lock| lock.covers(asked))) {
        return Err(VaultError::LockDropped {
            vault: vault.address().into(),
            key: upload.key.clone(),
            asked,
            found: found.head.lock,
        });
    }
    let others = versions_of(vault, &upload.key).await?.len().saturating_sub(1);
    if others > 0 {
        tracing::warn!(
            vault = vault.address(),
            key = upload.key,
            others,
            "the key of this backup has other versions too"
        );
    }
    let Confirmed { at, head, verified_by, .. } = found;
    Ok(Stored { at, size: head.size, verified_by, lock: head.lock, was_there, others })
}

/// Returns the oldest version under the upload's key that has the same bytes.
async fn find_same(vault: &dyn Vault, upload: &Upload) -> Result<Option<Confirmed>, VaultError> {
    for version in versions_of(vault, &upload.key).await?.into_iter().rev() {
        if version.is_delete_marker || version.size != upload.size {
            continue;
        }
        match prove(vault, upload, version.at, None).await {
            Ok(found) => return Ok(Some(Confirmed { stored: Some(version.modified), ..found })),
            Err(VaultError::ChecksumMismatch { .. } | VaultError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Returns the first page of a key's versions, newest first. A key of this agent has one version; more than a page of
/// other writers' versions says nothing more.
async fn versions_of(vault: &dyn Vault, key: &str) -> Result<Vec<Version>, VaultError> {
    let page = vault.list_versions(key, None).await?;
    Ok(page.versions.into_iter().filter(|version| version.at.key == key).collect())
}

/// Compares size and SHA-256 of a version with the upload. Reads the bytes back if the vault has no checksum that can
/// be compared.
async fn prove(
    vault: &dyn Vault,
    upload: &Upload,
    at: VersionRef,
    placed: Option<&Placed>,
) -> Result<Confirmed, VaultError> {
    let head = vault.head(&at).await?;
    let mismatch = |expected: String, found: String| VaultError::ChecksumMismatch {
        vault: vault.address().into(),
        key: upload.key.clone(),
        expected,
        found,
    };
    if head.size != upload.size {
        return Err(mismatch(format!("{} bytes", upload.size), format!("{} bytes", head.size)));
    }
    let whole = Checksum::Whole(upload.sha256);
    let verified_by = match head.checksum {
        Some(found) if found == whole || placed.is_some_and(|placed| found == placed.checksum) => VerifiedBy::Vault,
        Some(found @ Checksum::Whole(_)) => return Err(mismatch(whole.to_string(), found.to_string())),
        None if placed.is_some_and(|placed| placed.read_back) => VerifiedBy::ReadBack,
        Some(Checksum::OfParts(..)) | None => {
            let read = fetch(vault, &at, head.size, &mut tokio::io::sink(), NO_PROGRESS).await?;
            if read.sha256 != upload.sha256 {
                return Err(mismatch(whole.to_string(), Checksum::Whole(read.sha256).to_string()));
            }
            VerifiedBy::ReadBack
        }
    };
    Ok(Confirmed { at, head, verified_by, stored: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{
        archives::{CLUSTER, archive, key, minute, vault},
        injector::without_locks_to_read,
    };

    /// So the caller keeps the archive in the spool.
    #[tokio::test]
    async fn a_version_whose_lock_cannot_be_read_is_neither_stored_nor_unlocked() {
        let vault = without_locks_to_read(std::sync::Arc::new(vault("v")));
        let archive = archive(CLUSTER, 0, &key());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &archive.bytes).unwrap();
        let upload = Upload::of_file(archive.name.key(), file.path(), minute(0)).unwrap();
        for _ in 0..2 {
            let error = store(&vault, &upload, NO_PROGRESS).await.unwrap_err();
            assert!(matches!(error, VaultError::AccessDenied { .. }), "{error}");
        }
        assert_eq!(vault.list_versions("", None).await.unwrap().versions.len(), 1, "trying again adds no copy");
    }

    /// Another vault was down for longer than the lock of this one lasts, and the archive waited in the spool.
    #[tokio::test]
    async fn a_version_that_was_locked_until_its_lock_ended_counts_as_stored() {
        let vault = vault("v");
        let archive = archive(CLUSTER, 0, &key());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &archive.bytes).unwrap();
        let upload = |days: i64| Upload::of_file(archive.name.key(), file.path(), minute(days * 24 * 60)).unwrap();
        let first = store(&vault, &upload(0), NO_PROGRESS).await.unwrap();
        let much_later = store(&vault, &upload(100), NO_PROGRESS).await.unwrap();
        assert!(much_later.was_there && much_later.at == first.at);
        assert!(much_later.lock.is_some_and(|lock| lock.until < minute(31 * 24 * 60)), "{much_later:?}");
    }
}

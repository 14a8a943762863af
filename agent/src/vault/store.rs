//! Puts an archive into a vault and proves that it is there: whole, locked, once.

use std::{io::Write, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Checksum, Lock, LockMode, NO_PROGRESS, ObjectHead, Placed, Progress, Upload, Vault, VaultError, Version,
    VersionRef, clock, fetch,
};

/// Puts tried before a transient failure is passed on.
const ATTEMPTS: u32 = 4;

/// Before the second put; doubles from there. A request whose reply was lost gets this long to land.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How the SHA-256 of the stored bytes is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The vault computed it from the bytes that arrived, and says the same.
    Vault,
    /// The vault keeps no checksum that can be compared: all bytes were read back.
    ReadBack,
}

/// A stored archive, as read back.
#[derive(Debug, Clone)]
pub struct Stored {
    pub at: VersionRef,
    pub size: u64,
    pub proof: Proof,
    /// The retention in effect; `None` only where the vault cannot lock.
    pub lock: Option<Lock>,
    /// An earlier run had stored it already.
    pub was_there: bool,
    /// Other versions and delete markers under the same key. Keys are ours alone: more than 0 deserves a warning.
    pub others: usize,
}

/// Puts `upload` and reads back size, checksum and lock. Repeating it after a lost reply or a killed run makes no second copy.
///
/// A client that retries a put whose reply was lost leaves two versions, both locked; `If-None-Match` is ignored by old
/// servers and racy on some new ones. So a put is one attempt, and what is stored under the key is looked at
/// before the first put and after each one that may have worked.
pub async fn store(vault: &dyn Vault, upload: &Upload, progress: Progress<'_>) -> Result<Stored, VaultError> {
    let upload = &Upload { now: clock::time_of(vault, upload.now).await, ..upload.clone() };
    let asked = vault.lock_policy().map(|policy| policy.lock_from(upload.now));
    if let Some(found) = find_same(vault, upload).await? {
        // Its lock began with the earlier run: right if it still holds, or held until its end.
        let holding = asked.filter(|lock| !found.was_locked(lock.mode)).map(|lock| Lock { until: upload.now, ..lock });
        return finish(vault, upload, found, holding, true).await;
    }
    let mut pause = FIRST_PAUSE;
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
                tokio::time::sleep(pause).await;
                failure
            }
            Err(failure) => return Err(failure),
        };
        // An error of this look is passed on: putting again blindly could make a second copy.
        if let Some(found) = find_same(vault, upload).await? {
            return finish(vault, upload, found, asked, false).await;
        }
        if !failure.is_transient() || attempt == ATTEMPTS {
            return Err(failure);
        }
        attempt += 1;
        pause *= 2;
    }
}

/// [`store`] for something small that is in memory.
pub async fn store_bytes(vault: &dyn Vault, key: String, bytes: &[u8], now: Timestamp) -> anyhow::Result<Stored> {
    let mut file = tempfile::NamedTempFile::new().context("failed to make a temporary file")?;
    file.write_all(bytes).with_context(|| format!("failed to write {}", file.path().display()))?;
    let upload = Upload::of_file(key, file.path(), now)?;
    Ok(store(vault, &upload, NO_PROGRESS).await?)
}

/// A version whose bytes are known to be those of the upload.
struct Found {
    at: VersionRef,
    head: ObjectHead,
    proof: Proof,
    /// By the vault's clock, if it was found in a listing.
    stored: Option<Timestamp>,
}

impl Found {
    /// Whether a lock of this strength was on it when it was stored, which may have come to its end since.
    fn was_locked(&self, mode: LockMode) -> bool {
        let lock = self.head.lock.zip(self.stored);
        lock.is_some_and(|(lock, stored)| lock.until > stored && lock.covers(&Lock { mode, until: stored }))
    }
}

async fn finish(
    vault: &dyn Vault,
    upload: &Upload,
    found: Found,
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
    let Found { at, head, proof, .. } = found;
    Ok(Stored { at, size: head.size, proof, lock: head.lock, was_there, others })
}

/// The oldest version under the upload's key that holds its very bytes.
async fn find_same(vault: &dyn Vault, upload: &Upload) -> Result<Option<Found>, VaultError> {
    for version in versions_of(vault, &upload.key).await?.into_iter().rev() {
        if version.is_delete_marker || version.size != upload.size {
            continue;
        }
        match prove(vault, upload, version.at, None).await {
            Ok(found) => return Ok(Some(Found { stored: Some(version.modified), ..found })),
            Err(VaultError::ChecksumMismatch { .. } | VaultError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Newest first; the first page of them. A key of ours has one version, and a thousand strange ones prove nothing more.
async fn versions_of(vault: &dyn Vault, key: &str) -> Result<Vec<Version>, VaultError> {
    let page = vault.list_versions(key, None).await?;
    Ok(page.versions.into_iter().filter(|version| version.at.key == key).collect())
}

/// Compares size and SHA-256 of a version with the upload; reads its bytes back where the vault's word is not enough.
async fn prove(
    vault: &dyn Vault,
    upload: &Upload,
    at: VersionRef,
    placed: Option<&Placed>,
) -> Result<Found, VaultError> {
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
    let proof = match head.checksum {
        Some(found) if found == whole || placed.is_some_and(|placed| found == placed.checksum) => Proof::Vault,
        Some(found @ Checksum::Whole(_)) => return Err(mismatch(whole.to_string(), found.to_string())),
        None if placed.is_some_and(|placed| placed.read_back) => Proof::ReadBack,
        Some(Checksum::OfParts(..)) | None => {
            let read = fetch(vault, &at, head.size, &mut tokio::io::sink(), NO_PROGRESS).await?;
            if read.sha256 != upload.sha256 {
                return Err(mismatch(whole.to_string(), Checksum::Whole(read.sha256).to_string()));
            }
            Proof::ReadBack
        }
    };
    Ok(Found { at, head, proof, stored: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::catalog::testing::{CLUSTER, archive, key, minute, vault};
    use crate::vault::faulty::without_locks_to_read;

    /// Whoever called keeps its archive: it stays in the spool.
    #[tokio::test]
    async fn what_has_a_lock_that_cannot_be_read_is_neither_stored_nor_called_unlocked() {
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

    /// Another vault was away for longer than the lock of this one: the archive waited in the spool all the while.
    #[tokio::test]
    async fn what_was_locked_to_the_end_of_its_lock_is_stored() {
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

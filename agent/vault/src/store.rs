//! Puts an archive into a vault and proves that it is stored: whole, locked, and once.

use std::time::Duration;

use jiff::Timestamp;
use swarmdr_http::Backoff;

use super::{
    Lock, NO_PROGRESS, Progress, Stored, Upload, Vault, VaultError, clock,
    prove::{Expected, find_same, finish, prove},
};

/// Number of puts that are tried before a transient failure is returned.
const ATTEMPTS: u32 = 4;

/// Pauses after a transient failure. A request whose reply was lost has this long to take effect.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(4) };

/// Puts `upload`, and reads back its size, checksum and lock. Calling it again after a lost reply or a killed run makes
/// no second copy.
///
/// A client that retries a put whose reply was lost leaves two versions, both locked. `If-None-Match` does not prevent
/// that: old servers ignore it, and some new ones have a race. So each put is a single attempt, and the versions under
/// the key are read before the first put and after each put that may have worked.
pub async fn store(vault: &dyn Vault, upload: &Upload, progress: Progress<'_>) -> Result<Stored, VaultError> {
    let upload = &Upload { now: clock::time_of(vault, upload.now).await, ..upload.clone() };
    let (key, expected) = (&upload.key, Expected::of(upload));
    let asked = vault.lock_policy().map(|policy| policy.lock_from(upload.now));
    if let Some(found) = find_same(vault, &expected).await? {
        // The lock began with the earlier run. It is right if it still holds, or if it held until its end.
        let holding = asked.filter(|lock| !found.was_locked(lock.mode)).map(|lock| Lock { until: upload.now, ..lock });
        return finish(vault, key, found, holding, true).await;
    }
    let mut attempt = 1;
    loop {
        let failure = match vault.put(upload, progress).await {
            Ok(placed) => {
                let found = prove(vault, &expected, placed.at.clone(), Some(&placed)).await?;
                return finish(vault, key, found, asked, false).await;
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
        if let Some(found) = find_same(vault, &expected).await? {
            return finish(vault, key, found, asked, false).await;
        }
        if !failure.is_transient() || attempt == ATTEMPTS {
            return Err(failure);
        }
        attempt += 1;
    }
}

/// Stores a small object from memory, like [`store`].
pub async fn store_bytes(vault: &dyn Vault, key: String, bytes: &[u8], now: Timestamp) -> anyhow::Result<Stored> {
    let upload = Upload::of_bytes(key, bytes.to_vec(), now);
    Ok(store(vault, &upload, NO_PROGRESS).await?)
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

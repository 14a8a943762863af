//! Objects are stored whole, once, and locked.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{Subject, assert_error, bytes};
use crate::{VaultError, VerifiedBy, read_range, replace, store};

const SMALL: usize = 100_000;

pub async fn a_usable_vault_passes_its_check(s: &Subject) {
    s.vault().check().await.unwrap_or_else(|error| panic!("{error}"));
}

pub async fn a_stored_object_is_read_back_and_locked(s: &Subject) {
    let upload = s.upload("stored/a", SMALL, 1).with_metadata("swarmdr-id", "a");
    let stored = s.store(&upload).await;
    assert_eq!((stored.at.key.as_str(), stored.size), ("stored/a", SMALL as u64));
    assert_eq!((stored.was_there, stored.others), (false, 0));
    assert_eq!(s.read(&stored).await, bytes(SMALL, 1));
    assert_eq!(stored.lock.is_some(), s.can.locks);
    assert_eq!(s.vault().lock_policy().is_some(), s.can.locks);
    if let (Some(lock), Some(policy)) = (stored.lock, s.vault().lock_policy()) {
        assert_eq!(lock, policy.lock_from(upload.now));
    }
    let head = s.vault().head(&stored.at).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((head.size, head.lock), (SMALL as u64, stored.lock));
    assert_eq!(head.checksum.is_some(), stored.verified_by == VerifiedBy::Vault);
    let versions = s.versions("stored/").await;
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].at, stored.at);
    assert_eq!(versions[0].size, stored.size);
    assert!(versions[0].is_latest && !versions[0].is_delete_marker);
}

pub async fn an_empty_file_can_be_stored(s: &Subject) {
    let stored = s.store(&s.upload("empty/a", 0, 1)).await;
    assert_eq!(s.read(&stored).await, b"");
}

pub async fn a_key_is_created_once(s: &Subject) {
    let first = s.store(&s.upload("once/a", SMALL, 1)).await;
    let second = store(s.vault(), &s.upload("once/a", SMALL, 2), &|_| {}).await;
    if s.can.create_only {
        assert_error(second, |error| matches!(error, VaultError::AlreadyExists { .. }));
        assert_eq!(s.count("once/a").await, 1);
    } else {
        assert_eq!(second.unwrap_or_else(|error| panic!("{error}")).others, 1, "the other version is reported");
    }
    assert_eq!(s.read(&first).await, bytes(SMALL, 1), "the first version stays as it was");
}

pub async fn what_is_put_over_a_key_is_its_newest_version(s: &Subject) {
    for seed in [1, 2] {
        let put = replace(s.vault(), "over/a", &bytes(700, seed), Timestamp::now()).await;
        put.unwrap_or_else(|error| panic!("{error}"));
    }
    let versions = s.versions("over/").await;
    assert_eq!(versions.len(), if s.can.locks { 2 } else { 1 }, "{versions:?}");
    let newest = &versions[0];
    assert!(newest.is_latest && newest.size == 700, "{newest:?}");
    let content = read_range(s.vault(), &newest.at, 0..newest.size).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(content, bytes(700, 2));
    let head = s.vault().head(&newest.at).await.unwrap_or_else(|error| panic!("{error}"));
    let soon = Timestamp::now() + SignedDuration::from_hours(2);
    assert_eq!(head.lock.is_some(), s.can.locks);
    assert!(head.lock.is_none_or(|lock| lock.until < soon), "a default retention does not apply: {head:?}");
}

pub async fn storing_the_same_again_finds_it(s: &Subject) {
    let upload = s.upload("again/a", SMALL, 1);
    let first = s.store(&upload).await;
    let second = s.store(&upload).await;
    assert_eq!(second.at, first.at);
    assert!(second.was_there && !first.was_there);
    assert_eq!(s.count("again/a").await, 1);
}

pub async fn progress_ends_at_the_size(s: &Subject) {
    let last = AtomicU64::new(0);
    let upload = s.upload("progress/a", SMALL, 1);
    store(s.vault(), &upload, &|done| last.store(done, Ordering::Relaxed))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(last.into_inner(), SMALL as u64);
}

pub async fn a_wrong_checksum_is_an_error(s: &Subject) {
    let mut upload = s.upload("wrong/a", SMALL, 1);
    upload.sha256[0] ^= 1;
    let result = store(s.vault(), &upload, &|_| {}).await;
    assert_error(result, |error| matches!(error, VaultError::ChecksumMismatch { .. }));
    if s.can.verifies_checksum {
        assert_eq!(s.count("wrong/a").await, 0);
    }
}

pub async fn a_missing_file_is_an_error_of_this_host(s: &Subject) {
    let upload = s.upload("missing/a", SMALL, 77);
    std::fs::remove_file(s.directory.path().join(format!("{SMALL}-77"))).expect("it was just written");
    let result = store(s.vault(), &upload, &|_| {}).await;
    assert_error(result, |error| matches!(error, VaultError::File { .. }));
    assert_eq!(s.count("missing/a").await, 0);
}

pub async fn writers_of_the_same_bytes_all_succeed(s: &Subject) {
    let upload = s.upload("same/a", SMALL, 1);
    for stored in join_all((0..8).map(|_| s.store(&upload))).await {
        assert_eq!(s.read(&stored).await, bytes(SMALL, 1));
    }
    if s.can.create_only_in_a_race {
        assert_eq!(s.count("same/a").await, 1);
    }
}

pub async fn writers_of_different_bytes_never_mix(s: &Subject) {
    let uploads: Vec<_> = (0..8).map(|seed| s.upload("race/a", SMALL, seed)).collect();
    let results = join_all(uploads.iter().map(|upload| store(s.vault(), upload, &|_| {}))).await;
    let mut winners = 0;
    for (seed, result) in (0..).zip(results) {
        match result {
            Ok(stored) => {
                winners += 1;
                assert_eq!(s.read(&stored).await, bytes(SMALL, seed));
            }
            Err(error) => assert_error::<()>(Err(error), |error| matches!(error, VaultError::AlreadyExists { .. })),
        }
    }
    assert!(winners >= 1);
    if s.can.create_only_in_a_race {
        assert_eq!(winners, 1);
    }
}

/// The archive has more than two parts, the last of one byte.
pub async fn a_large_archive_is_stored_whole(s: &Subject) {
    let size = 12 << 20 | 1;
    let last = AtomicU64::new(0);
    let upload = s.upload("large/a", size, 1);
    let in_parts = s.can.multipart_from.is_some_and(|from| upload.size >= from);
    let result = store(s.vault(), &upload, &|done| last.store(done, Ordering::Relaxed)).await;
    if in_parts && s.can.locks && !s.can.locks_parts {
        assert_error(result, |error| matches!(error, VaultError::LockDropped { found: None, .. }));
        return;
    }
    let stored = result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(last.into_inner(), upload.size);
    assert_eq!(s.read(&stored).await, bytes(size, 1));
    assert_eq!(stored.lock.is_some(), s.can.locks);
    let again = s.store(&upload).await;
    assert_eq!((again.at, again.was_there), (stored.at, true));
    assert_eq!(s.vault().unfinished().await.unwrap_or_else(|error| panic!("{error}")), [""; 0]);
}

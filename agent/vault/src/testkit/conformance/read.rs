//! Objects are read back, and locked ones cannot be removed.

use jiff::{SignedDuration, Timestamp};

use super::{Subject, assert_error, bytes};
use crate::{NO_PROGRESS, Tampering, VaultError, VersionRef, fetch, read_range};

const SIZE: usize = 300_000;

pub async fn ranges_are_exact(s: &Subject) {
    let stored = s.store(&s.upload("ranges/a", SIZE, 3)).await;
    let expected = bytes(SIZE, 3);
    for range in [0..1, 0..SIZE, 1..2, 65_535..65_537, 100_000..250_000, SIZE - 1..SIZE, 5..5] {
        let wanted = range.start as u64..range.end as u64;
        let read = read_range(s.vault(), &stored.at, wanted).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(read == expected[range.clone()], "{range:?}");
    }
}

pub async fn a_missing_object_is_not_found(s: &Subject) {
    let stored = s.store(&s.upload("there/a", SIZE, 1)).await;
    let missing = VersionRef::new("there/b", &stored.at.id);
    let is_not_found = |error: &VaultError| matches!(error, VaultError::NotFound { .. });
    assert_error(s.vault().head(&missing).await, is_not_found);
    assert_error(read_range(s.vault(), &missing, 0..1).await, is_not_found);
    assert_error(fetch(s.vault(), &missing, 1, &mut Vec::new(), NO_PROGRESS).await, is_not_found);
}

pub async fn a_locked_version_cannot_be_deleted(s: &Subject) {
    let stored = s.store(&s.upload("delete/a", SIZE, 1)).await;
    let deleted = s.vault().delete_version(&stored.at).await;
    if s.can.locks {
        assert_error(deleted, |error| matches!(error, VaultError::AccessDenied { .. }));
        assert_eq!(s.read(&stored).await, bytes(SIZE, 1));
    } else {
        deleted.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(s.count("delete/a").await, 0);
    }
}

pub async fn a_lock_resists_writers(s: &Subject) {
    if !s.can.locks {
        return;
    }
    let stored = s.store(&s.upload("tamper/a", SIZE, 1)).await;
    let until = Timestamp::now() + SignedDuration::from_mins(1);
    for bypass in [false, true] {
        for how in [Tampering::Delete { bypass }, Tampering::Shorten { until, bypass }] {
            let tampered = s.vault().tamper(&stored.at, how).await;
            assert_error(tampered, |error| matches!(error, VaultError::AccessDenied { .. }));
        }
    }
    assert_eq!(s.read(&stored).await, bytes(SIZE, 1));
    let head = s.vault().head(&stored.at).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(head.lock, stored.lock);
}

pub async fn the_clock_is_near_enough(s: &Subject) {
    let clock = s.vault().clock().await.unwrap_or_else(|error| panic!("{error}"));
    // Only servers have one of their own, and only they take parts.
    assert_eq!(clock.is_some(), s.can.multipart_from.is_some());
    if let Some(clock) = clock {
        assert!(clock.duration_since(Timestamp::now()).abs() < SignedDuration::from_mins(10), "{clock}");
    }
}

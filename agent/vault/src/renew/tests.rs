//! Tests of which locks are renewed, and when.

use std::sync::Arc;

use jiff::SignedDuration;
use swarmdr_archive::{
    SecretKey,
    manifest::Proof,
    point::{Gap, Part, Point, StreamPart, Why},
};

use super::*;
use crate::{
    catalog::find_latest,
    object_name::ObjectName,
    testkit::{
        archives::{Archived, CLUSTER, archive, archive_with, cluster_id, key, minute, points, put, streams, vault},
        injector::without_locks_to_read,
    },
};

fn day(day: i64) -> Timestamp {
    minute(day * 24 * 60)
}

#[tokio::test]
async fn a_vault_without_backups_for_a_hundred_days_still_restores() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let keys = TrustedKeys::from(key.public());
    let (old, newest) = (archive(CLUSTER, -24 * 60, &key), archive(CLUSTER, 0, &key));
    for archive in [&old, &newest] {
        put(vault.as_ref(), archive).await;
    }
    let mut renewed = 0;
    // Once a week, as by the weekly `verify`.
    for week in 1..=15 {
        renewed += renew(vault.as_ref(), None, &keys, day(7 * week)).await.unwrap().len();
    }
    assert_eq!(renewed, 5, "a lock of thirty days, each time when less than half of it was left");
    let vaults: [Arc<dyn Vault>; 1] = [vault.clone()];
    let latest = find_latest(&vaults, &Filter::default(), &keys, day(105)).await.unwrap();
    assert_eq!(latest.head.manifest.id, newest.name.id());
    let lock = vault.head(&latest.at).await.unwrap().lock.unwrap();
    assert!(lock.until >= day(105) + SignedDuration::from_hours(15 * 24), "{lock:?}");
    // Older backups are not renewed.
    let page = vault.list_versions(&old.name.key(), None).await.unwrap();
    assert!(vault.head(&page.versions[0].at).await.unwrap().lock.unwrap().until < day(31));
}

#[tokio::test]
async fn only_the_newest_that_works_is_renewed_and_only_when_it_is_due() {
    let (key, vault) = (key(), vault("v"));
    let keys = TrustedKeys::from(key.public());
    let works = archive_with(CLUSTER, 0, &key, Proof::Proven);
    put(&vault, &works).await;
    put(&vault, &archive_with(CLUSTER, 24 * 60, &key, Proof::Unproven)).await;
    assert_eq!(renew(&vault, Some(&cluster_id()), &keys, day(15)).await.unwrap(), []);
    let renewed = renew(&vault, Some(&cluster_id()), &keys, day(16)).await.unwrap();
    assert_eq!((renewed.len(), renewed[0].id, renewed[0].lock.until), (1, works.name.id(), day(46)));
    assert_eq!(renew(&vault, Some(&cluster_id()), &keys, day(16)).await.unwrap(), [], "once is enough");
}

#[tokio::test]
async fn of_each_name_the_newest_stream_is_renewed_and_no_forged_one() {
    let (key, forger, vault) = (key(), key(), Arc::new(vault("v")));
    let keys = TrustedKeys::from(key.public());
    let old = streams::stream("db", -24 * 60, &key);
    let (db, files) = (streams::following(Some(&old), "db", 0, 9, &key), streams::stream("files", 1, &key));
    let forged = streams::stream("db", 60, &forger);
    for stream in [&old, &db, &files, &forged] {
        streams::put(vault.as_ref(), stream).await;
    }
    put(vault.as_ref(), &archive(CLUSTER, 0, &key)).await;
    assert_eq!(renew_streams(vault.as_ref(), Some(&cluster_id()), &keys, day(14), |_| true).await.unwrap(), []);
    let other = "other".parse().unwrap();
    assert_eq!(renew_streams(vault.as_ref(), Some(&other), &keys, day(16), |_| true).await.unwrap(), []);
    let given_up = renew_streams(vault.as_ref(), None, &keys, day(16), |name| name.as_str() == "none").await.unwrap();
    assert_eq!(given_up, []);
    let renewed = renew_streams(vault.as_ref(), Some(&cluster_id()), &keys, day(16), |_| true).await.unwrap();
    let said: Vec<_> = renewed.iter().map(|it| (it.what.as_str(), it.id, it.lock.until)).collect();
    assert_eq!(said, [("stream db", db.name.id, day(46)), ("stream files", files.name.id, day(46))]);
    assert_eq!(renew(vault.as_ref(), None, &keys, day(16)).await.unwrap().len(), 1, "the backup is apart");
}

/// Stores a point that names a backup and a stream.
async fn put_point(
    vault: &dyn Vault,
    at: i64,
    (state, stream): (&Archived<ObjectName>, &streams::Stream),
    is_complete: bool,
    key: &SecretKey,
) -> BackupId {
    let gap = Gap { part: Part::State, name: None, why: Why::Missing, max_age: None };
    let point = Point {
        state: Some(points::state(state)),
        streams: vec![StreamPart {
            name: stream.name.name.clone(),
            id: stream.name.id,
            manifest_digest: stream.digest,
            as_of: minute(at),
            started_at: minute(at),
            ended_at: minute(at),
        }],
        gaps: if is_complete { Vec::new() } else { vec![gap] },
        ..points::invented(minute(at), 7)
    };
    points::put(vault, &point, key).await;
    point.id
}

#[tokio::test]
async fn the_newest_complete_point_is_renewed_with_what_it_names() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let keys = TrustedKeys::from(key.public());
    let (old, newer) = (archive(CLUSTER, 0, &key), archive(CLUSTER, 60, &key));
    let db = streams::stream("db", 1, &key);
    let later = streams::following(Some(&db), "db", 50, 9, &key);
    for archive in [&old, &newer] {
        put(vault.as_ref(), archive).await;
    }
    for stream in [&db, &later] {
        streams::put(vault.as_ref(), stream).await;
    }
    let first = put_point(vault.as_ref(), 2, (&old, &db), true, &key).await;
    let complete = put_point(vault.as_ref(), 3, (&old, &db), true, &key).await;
    let newest = put_point(vault.as_ref(), 61, (&newer, &later), false, &key).await;
    assert_eq!(renew_points(vault.as_ref(), None, (&keys, &keys), day(14), |_| true).await.unwrap(), []);
    let given_up = renew_points(vault.as_ref(), None, (&keys, &keys), day(16), |_| false).await.unwrap();
    let said: Vec<_> = given_up.iter().map(|it| (it.what.as_str(), it.id, it.of_point)).collect();
    let expected =
        [("recovery point", newest, false), ("recovery point", complete, false), ("backup", old.name.id(), true)];
    assert_eq!(said, expected, "and neither {first} nor a stream that was given up");
    let renewed = renew_points(vault.as_ref(), Some(&cluster_id()), (&keys, &keys), day(16), |_| true).await.unwrap();
    assert_eq!(renewed.iter().map(|it| (it.what.as_str(), it.id)).collect::<Vec<_>>(), [("stream db", db.name.id)]);
    assert!(renewed[0].to_string().contains("which the newest complete recovery point names, was renewed until"));
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_is_neither_renewed_nor_taken_for_one_that_holds() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let keys = TrustedKeys::from(key.public());
    put(vault.as_ref(), &archive(CLUSTER, 0, &key)).await;
    let vault = without_locks_to_read(vault);
    for at in [1, 16, 100] {
        let error = renew(&vault, None, &keys, day(at)).await.unwrap_err();
        assert!(error.to_string().contains("read the lock of"), "{error}");
    }
}

#[tokio::test]
async fn credentials_that_only_read_are_reported_when_a_lock_is_due() {
    let (key, vault) = (key(), vault("v").read_only());
    let keys = TrustedKeys::from(key.public());
    put(&vault, &archive(CLUSTER, 0, &key)).await;
    assert_eq!(renew(&vault, None, &keys, day(14)).await.unwrap(), []);
    let error = renew(&vault, None, &keys, day(16)).await.unwrap_err();
    assert!(error.to_string().contains("extend the lock"), "{error}");
}

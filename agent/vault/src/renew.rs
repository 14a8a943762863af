//! Keeps the newest good archive of each series locked while no new ones come, so that it is not lost when its lock ends.
//!
//! For each cluster in a vault, the lock of the newest backup that an engine can start from is extended to its full
//! length when less than half of it is left; the same for each name of its streams, and for its newest complete recovery
//! point with all that it names. No other lock is renewed, so that old archives can be removed as the policy says. The credentials that make backups suffice for a renewal, and cannot
//! undo it.

use std::fmt;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, ClusterId, Digest, TrustedKeys, stream_archive::StreamName};

use super::{
    Lock, Vault, VaultError, VersionRef,
    catalog::{self, Bounds, Filter, PointSeries, SeenPoint, Series, SignedHead, Skipped, StreamSeries, newest_points},
    clock,
};

/// Number of parts of a recovery point that are looked at at once.
const AT_ONCE: usize = 8;

/// A lock that was extended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renewed {
    pub vault: String,
    /// Kind of the archive, and the name of a stream: `backup`, `stream shop-db`.
    pub what: String,
    /// Whether it was renewed because the newest complete recovery point names it.
    pub of_point: bool,
    pub id: BackupId,
    pub lock: Lock,
}

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vault, what, of_point, id, lock } = self;
        let why =
            if *of_point { "which the newest complete recovery point names," } else { "the newest good one there," };
        write!(f, "{vault}: the lock of {what} {id}, {why} was renewed until {}", lock.until)
    }
}

/// Renews the lock of the newest good backup of each cluster, or of the given one, if less than half of the lock is
/// left.
pub async fn renew(
    vault: &dyn Vault,
    cluster: Option<&ClusterId>,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Vec<Renewed>, VaultError> {
    renew_newest::<ClusterId>(vault, &(), cluster, keys, now, |_| true).await
}

/// Renews the lock of the newest good stream of each name that is `wanted`, by the same rules as [`renew`].
pub async fn renew_streams(
    vault: &dyn Vault,
    cluster: Option<&ClusterId>,
    keys: &TrustedKeys,
    now: Timestamp,
    wanted: impl Fn(&StreamName) -> bool,
) -> Result<Vec<Renewed>, VaultError> {
    renew_newest::<StreamSeries>(vault, &None, cluster, keys, now, |series| wanted(&series.name)).await
}

/// Renews the lock of the newest recovery point of each cluster and of the newest complete one, by the same rules as
/// [`renew`]; and those of the backup and of the `wanted` streams that it names, which need not be the
/// newest ones any more.
pub async fn renew_points(
    vault: &dyn Vault,
    cluster: Option<&ClusterId>,
    (keys, on_streams): (&TrustedKeys, &TrustedKeys),
    now: Timestamp,
    wanted: impl Fn(&StreamName) -> bool,
) -> Result<Vec<Renewed>, VaultError> {
    let mut renewed = Vec::new();
    if vault.lock_policy().is_none() {
        return Ok(renewed);
    }
    let now = clock::time_of(vault, now).await;
    let filter = Filter { cluster: cluster.cloned(), ..Filter::default() };
    for series in PointSeries::list(vault, &(), &filter).await?.names {
        let on_bad = |entry: catalog::Entry<PointSeries>| entry.reached().map(drop);
        let seen = newest_points(vault, &series, &Filter::default(), keys, now, on_bad).await?;
        let own = Renewing { vault, keys, now };
        let is_incomplete = |newest: &SeenPoint| !newest.head.point.is_complete();
        for SeenPoint { at, head, .. } in seen.newest.iter().filter(|it| is_incomplete(it)).chain(&seen.complete) {
            renewed.extend(own.version(at, &series, head.point.id, false).await?);
        }
        let Some(point) = seen.complete.map(|complete| complete.head.point) else { continue };
        if let Some(state) = &point.state {
            renewed.extend(own.part(&series.0, state.backup, state.manifest_digest).await?);
        }
        let streams = point.streams.into_iter().filter(|part| wanted(&part.name));
        let looks = stream::iter(streams).map(|part| {
            let of = StreamSeries { cluster: series.0.clone(), name: part.name };
            let own = Renewing { keys: on_streams, ..own };
            async move { own.part(&of, part.id, part.manifest_digest).await }
        });
        renewed.extend(looks.buffered(AT_ONCE).try_collect::<Vec<_>>().await?.into_iter().flatten());
    }
    Ok(renewed)
}

/// The newest usable archive of a series, or else the newest of all.
async fn newest<S: Series>(
    vault: &dyn Vault,
    series: &S,
    (bounds, keys): (Bounds, &TrustedKeys),
    now: Timestamp,
) -> Result<Option<(VersionRef, S::Head)>, VaultError> {
    // Findings are reported by the callers that search for them. The newest must be known.
    let on_bad = |entry: catalog::Entry<S>| entry.reached().map(drop);
    let found = (bounds, &mut Skipped::default());
    let mut view = catalog::view(vault, series, &Filter::default(), keys, now, found, on_bad).await?;
    let Some(index) = view.newest_usable(now) else { return Ok(None) };
    let (entry, head) = view.entries.swap_remove(index);
    Ok(Some((entry.at, head)))
}

/// A vault in which locks are renewed.
#[derive(Clone, Copy)]
struct Renewing<'a> {
    vault: &'a dyn Vault,
    keys: &'a TrustedKeys,
    now: Timestamp,
}

impl Renewing<'_> {
    async fn version<S: Series>(
        &self,
        at: &VersionRef,
        series: &S,
        id: BackupId,
        of_point: bool,
    ) -> Result<Option<Renewed>, VaultError> {
        let lock = renew_version(self.vault, at, self.now).await?;
        let what = series.one();
        Ok(lock.map(|lock| Renewed { vault: self.vault.address().to_owned(), what, of_point, id, lock }))
    }

    /// Renews the lock of an archive that the newest complete point names, if the vault has it.
    async fn part<S: Series>(&self, series: &S, id: BackupId, digest: Digest) -> Result<Option<Renewed>, VaultError> {
        let filter = Filter { id: Some(id), even_unusable: true, ..Filter::default() };
        let on_bad = |entry: catalog::Entry<S>| entry.reached().map(drop);
        let found = (Bounds::default(), &mut Skipped::default());
        let view = catalog::view(self.vault, series, &filter, self.keys, self.now, found, on_bad).await?;
        let named = view.entries.iter().find(|(_, head)| head.facts().digest == digest);
        match named {
            Some((entry, _)) => self.version(&entry.at, series, id, true).await,
            None => Ok(None),
        }
    }
}

async fn renew_newest<S: Series>(
    vault: &dyn Vault,
    all: &S::Wanted,
    cluster: Option<&ClusterId>,
    keys: &TrustedKeys,
    now: Timestamp,
    wanted: impl Fn(&S) -> bool,
) -> Result<Vec<Renewed>, VaultError> {
    let mut renewed = Vec::new();
    if vault.lock_policy().is_none() {
        return Ok(renewed);
    }
    let now = clock::time_of(vault, now).await;
    let filter = Filter { cluster: cluster.cloned(), ..Filter::default() };
    let listed = S::list(vault, all, &filter).await?.names;
    let bounds = Bounds::default().shared_by(listed.len());
    for series in listed.into_iter().filter(wanted) {
        let Some((at, head)) = newest(vault, &series, (bounds, keys), now).await? else { continue };
        let renewing = Renewing { vault, keys, now };
        renewed.extend(renewing.version(&at, &series, head.facts().id, false).await?);
    }
    Ok(renewed)
}

/// Extends the lock of a version if less than half of it is left. Returns the new lock, or `None` if it was not due.
pub async fn renew_version(vault: &dyn Vault, at: &VersionRef, now: Timestamp) -> Result<Option<Lock>, VaultError> {
    let Some(policy) = vault.lock_policy() else { return Ok(None) };
    let whole = policy.lock_from(now);
    let half = whole.until.duration_since(now) / 2;
    let held = vault.head(at).await?.lock;
    if held.is_some_and(|held| held.until.duration_since(now) >= half) {
        return Ok(None);
    }
    // The mode is kept as the object was put with it.
    let wanted = Lock { mode: held.map_or(whole.mode, |held| held.mode), ..whole };
    let answer = vault.extend_lock(at, wanted).await;
    // Another manager may have renewed it at the same moment, or the reply was lost: the lock in effect decides.
    match vault.head(at).await?.lock {
        Some(now_held) if now_held.until.duration_since(now) >= half => Ok(Some(now_held)),
        found => Err(answer.err().unwrap_or_else(|| VaultError::LockDropped {
            vault: vault.address().into(),
            key: at.key.clone(),
            asked: wanted,
            found,
        })),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;
    use swarmdr_archive::{
        SecretKey,
        manifest::Proof,
        point::{self, Gap, Part, Point, StatePart, StreamPart, VERSION, Why},
    };

    use super::*;
    use crate::{
        catalog::find_latest,
        object_name::ObjectName,
        store_bytes,
        testkit::{
            archives::{Archived, CLUSTER, archive, archive_with, cluster_id, key, minute, put, streams, vault},
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
        let given_up =
            renew_streams(vault.as_ref(), None, &keys, day(16), |name| name.as_str() == "none").await.unwrap();
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
            version: VERSION,
            id: BackupId::new(minute(at), [7; 4]),
            cluster_id: cluster_id(),
            sequence: 1,
            previous: None,
            made_at: minute(at),
            hostname: "m1".to_owned(),
            agent_version: "0.1.0".to_owned(),
            state: Some(StatePart {
                backup: state.name.id(),
                manifest_digest: state.digest,
                created_at: state.name.id().created_at(),
            }),
            streams: vec![StreamPart {
                name: stream.name.name.clone(),
                id: stream.name.id,
                manifest_digest: stream.digest,
                as_of: minute(at),
                started_at: minute(at),
                ended_at: minute(at),
            }],
            external: Vec::new(),
            gaps: if is_complete { Vec::new() } else { vec![gap] },
            left_out: 0,
        };
        let packed = point::seal(&point, key).unwrap();
        store_bytes(vault, point.key().to_string(), &packed, minute(at)).await.unwrap();
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
}

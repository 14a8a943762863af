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
    let (listed, now) = lockable::<PointSeries>(vault, &(), cluster, now).await?;
    for series in listed {
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

/// The series whose locks can be renewed, and the vault's own time. There is none in a vault without locks.
async fn lockable<S: Series>(
    vault: &dyn Vault,
    all: &S::Wanted,
    cluster: Option<&ClusterId>,
    now: Timestamp,
) -> Result<(Vec<S>, Timestamp), VaultError> {
    if vault.lock_policy().is_none() {
        return Ok((Vec::new(), now));
    }
    let now = clock::time_of(vault, now).await;
    let filter = Filter { cluster: cluster.cloned(), ..Filter::default() };
    Ok((S::list(vault, all, &filter).await?.names.into_iter().collect(), now))
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
    let (listed, now) = lockable::<S>(vault, all, cluster, now).await?;
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
mod tests;

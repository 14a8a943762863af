//! What one vault shows of the streams.

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use swarmdr_archive::{
    BackupId, TrustedKeys,
    stream_archive::{StreamKey, StreamManifest, StreamName},
};
use swarmdr_vault::{
    Vault,
    catalog::{self, Bounds, Filter, Place, Skipped, StreamSeries, order, streams_of},
    object_name::STREAMS,
};

use super::NewestStream;
use crate::observe::status::look::{FINDINGS_LISTED, read_lock};

/// Number of streams that are looked for at once.
const AT_ONCE: usize = 8;

/// The streams of one vault.
#[derive(Debug, Default)]
pub struct InVault {
    pub seen: BTreeMap<StreamName, Seen>,
    /// Uploads that were begun and not completed.
    pub unfinished: Vec<StreamKey>,
    pub findings: Vec<String>,
    /// Whether the vault was read to its end.
    pub is_whole: bool,
}

/// The streams of one name in one vault.
#[derive(Debug, Default)]
pub struct Seen {
    pub newest: Option<NewestStream>,
    /// The newest one that is not from the future: its age counts.
    pub freshest: Option<BackupId>,
}

impl InVault {
    /// Finds the newest stream of each name that the filter admits.
    pub async fn look(&mut self, vault: &dyn Vault, filter: &Filter, keys: &TrustedKeys, now: Timestamp) -> Result<()> {
        let listed = streams_of(vault, None, filter).await?.names;
        let bounds = Bounds::default().shared_by(listed.len());
        let looking = stream::iter(listed).map(|series| one(vault, series, filter, (keys, now), bounds));
        let mut looked = looking.buffered(AT_ONCE);
        while let Some((name, seen, findings)) = looked.try_next().await? {
            let room = FINDINGS_LISTED.saturating_sub(self.findings.len());
            self.findings.extend(findings.into_iter().take(room));
            self.seen.entry(name).or_default().add(seen, now);
        }
        if !self.seen.is_empty() {
            self.unfinished = unfinished(vault, filter).await;
        }
        Ok(())
    }
}

impl Seen {
    /// Adds what was seen of the same name in another cluster.
    fn add(&mut self, other: Self, now: Timestamp) {
        self.freshest = self.freshest.max(other.freshest);
        let places = [&self.newest, &other.newest].map(|it| it.as_ref().map(|newest| newest.place.clone()));
        let both: Vec<Place> = places.into_iter().flatten().collect();
        if self.newest.is_none() || order::newest(&both, |_| true, now) == Some(1) {
            self.newest = other.newest.or(self.newest.take());
        }
    }
}

async fn one(
    vault: &dyn Vault,
    series: StreamSeries,
    filter: &Filter,
    (keys, now): (&TrustedKeys, Timestamp),
    bounds: Bounds,
) -> Result<(StreamName, Seen, Vec<String>)> {
    let mut findings = Vec::new();
    let on_bad = |entry: catalog::Entry<StreamSeries>| {
        if findings.len() < FINDINGS_LISTED {
            findings.push(entry.to_string());
        }
        Ok(())
    };
    let found = (bounds, &mut Skipped::default());
    let mut view = catalog::view(vault, &series, filter, keys, now, found, on_bad).await?;
    let mut seen = Seen { newest: None, freshest: view.freshest(now).map(|place| place.id) };
    if let Some(index) = view.newest(now) {
        let previous = view.places[index].previous;
        let before = view.places.iter().position(|place| Some(place.digest) == previous);
        let size_before = before.map(|before| view.entries[before].1.manifest.payload.plain_size);
        let ((entry, head), place) = (view.entries.swap_remove(index), view.places.swap_remove(index));
        let what = format!("stream {}", series.name);
        let lock = read_lock(vault, &entry.at, &what, &mut findings).await?;
        let StreamManifest { id, cluster_id, hostname, started_at, ended_at, as_of, payload, .. } = head.manifest;
        seen.newest = Some(NewestStream {
            id,
            started_at,
            ended_at,
            as_of,
            stored_at: entry.modified,
            cluster_id,
            hostname,
            size: payload.plain_size,
            stored_size: entry.size,
            lock: lock.flatten(),
            lock_unread: lock.is_none(),
            size_before,
            place,
        });
    }
    Ok((series.name, seen, findings))
}

/// Returns the uploads that were begun and not completed. Credentials that only read may not list them, which is no
/// trouble of a stream.
async fn unfinished(vault: &dyn Vault, filter: &Filter) -> Vec<StreamKey> {
    let keys = vault.unfinished().await.unwrap_or_else(|error| {
        tracing::debug!(vault = vault.address(), "what killed runs left is not known: {error}");
        Vec::new()
    });
    let streams = keys.iter().filter_map(|key| begun_as(key));
    streams.filter(|key| filter.cluster.as_ref().is_none_or(|cluster| *cluster == key.cluster)).collect()
}

/// Returns the key under which an upload would have become visible: that of a part in a directory has more around it.
fn begun_as(key: &str) -> Option<StreamKey> {
    let (under, file) = key.strip_prefix(STREAMS)?.rsplit_once('/')?;
    let (id, _) = file.strip_prefix('.').unwrap_or(file).split_once(".stream")?;
    format!("{STREAMS}{under}/{id}.stream").parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmdr_vault::testkit::{
        archives::{cluster_id, key, minute, streams, vault},
        injector::without_locks_to_read,
    };

    use super::*;

    #[tokio::test]
    async fn of_each_name_the_newest_is_seen_and_what_is_forged_is_told() {
        let (own, forger, vault) = (key(), key(), Arc::new(vault("v")));
        let first = streams::stream("db", 0, &own);
        let second = streams::following(Some(&first), "db", 10, 400, &own);
        let files = streams::stream("files", 5, &own);
        let forged = streams::stream("db", 20, &forger);
        for stream in [&first, &second, &files, &forged] {
            streams::put(vault.as_ref(), stream).await;
        }
        let keys = TrustedKeys::from(own.public());
        let mut seen = InVault::default();
        let filter = Filter::cluster(cluster_id());
        seen.look(vault.as_ref(), &filter, &keys, minute(60)).await.expect("answers");
        let ids: Vec<_> = seen.seen.values().map(|seen| seen.newest.as_ref().map(|newest| newest.id)).collect();
        assert_eq!(ids, [Some(second.name.id), Some(files.name.id)]);
        let newest = seen.seen.values().next().and_then(|seen| seen.newest.as_ref()).expect("is there");
        assert_eq!((newest.size, newest.size_before, newest.lock.is_some()), (400, Some(1000), true));
        assert!(seen.findings.len() == 1 && seen.findings[0].contains("20261121T102000Z"), "{:?}", seen.findings);
        let mut unread = InVault::default();
        let without = without_locks_to_read(vault.clone());
        unread.look(&without, &filter, &keys, minute(60)).await.expect("is no reason to fail");
        assert!(unread.seen.values().all(|seen| seen.newest.as_ref().is_some_and(|newest| newest.lock_unread)));
    }

    #[test]
    fn an_upload_has_the_key_of_its_stream_in_a_bucket_and_in_a_directory() {
        let plain = "streams/q9x0/db/20261121T101500Z-0a1b2c3d.stream";
        for key in [plain, "streams/q9x0/db/.20261121T101500Z-0a1b2c3d.stream.Xy12.part"] {
            assert_eq!(begun_as(key).map(|key| key.to_string()).as_deref(), Some(plain), "{key}");
        }
        for key in ["q9x0/20261121T101500Z-0a1b2c3d.swarmdr", "streams/q9x0/.junk", "streams/x"] {
            assert_eq!(begun_as(key), None, "{key}");
        }
    }
}

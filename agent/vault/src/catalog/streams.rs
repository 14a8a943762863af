//! Lists stored streams: their names, and the newest versions of one of them. Only keys are read.
//!
//! Whether a version is good is decided by its head, in format 2 of the archive, as [`super::examine`] does for backups.
//! [`crate::read_range`] reads the bytes of a head. What a listing says of a stream is no more than a claim before that.

use std::collections::BTreeSet;

use jiff::Timestamp;
use swarmdr_archive::ClusterId;

use super::{
    Bounds, Skipped, Visibility,
    listing::Listing,
    pass::{Candidate, Pass, Prefer},
    window::Windows,
};
use crate::{
    Marker, Vault, VaultError, VersionRef,
    stream_name::{StreamLabel, StreamName},
};

/// The most names of streams that are returned. Those that come first in byte order are.
const MOST_LABELS: usize = 4096;

/// The most pages of listings that are read to find names. A stream costs one page.
const PAGES: u32 = 5000;

/// One version of an object that has the name of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamVersion {
    pub name: StreamName,
    pub at: VersionRef,
    pub size: u64,
    /// Time of storing by the vault's clock.
    pub modified: Timestamp,
    pub visibility: Visibility,
}

/// The newest versions of a stream.
#[derive(Debug, Default)]
pub struct NewestStreams {
    /// Newest first, by the time in their ids, and within a key the oldest version first, which is more likely the
    /// original.
    pub versions: Vec<StreamVersion>,
    pub skipped: Skipped,
}

/// Returns up to `most` versions, and no more than 4096, of one stream whose ids are before `before`, the newest. `now` only decides where the
/// search begins, and need not be right. Cost and memory are bounded, like those of [`super::Walk`].
pub async fn newest_streams(
    vault: &dyn Vault,
    (cluster, label): (&ClusterId, &StreamLabel),
    before: Option<Timestamp>,
    most: usize,
    now: Timestamp,
) -> Result<NewestStreams, VaultError> {
    let (bounds, under) = (Bounds::default(), StreamName::prefix(cluster, label));
    let most = most.min(bounds.batch);
    let mut windows = Windows::new(now, None, before);
    let mut found = NewestStreams::default();
    let mut spent = 0;
    while let Some(window) = windows.next() {
        if found.versions.len() >= most {
            break;
        }
        let mut pass = Pass::new(Prefer::Newest, most);
        let pages = if spent >= bounds.pages { window.pages.min(bounds.pages_when_spent) } else { window.pages };
        let mut listing = Listing::new(vault, &under, window, pages).beginning_at_the_start(window.is_whole());
        let wants = |candidate: &Candidate<StreamName>| before.is_none_or(|before| candidate.id.created_at() < before);
        let to_its_end = listing.read(&mut pass, wants).await?;
        spent += listing.listed;
        if !to_its_end && spent < bounds.pages && windows.split(window) {
            found.skipped.junk += listing.junk_before;
            continue;
        }
        if !to_its_end {
            found.skipped.given_up.push((window.from, window.to));
        }
        let pass = pass.end();
        found.skipped.junk += pass.junk;
        found.skipped.passed_over += pass.passed_over;
        let wanted = most.saturating_sub(found.versions.len());
        found.versions.extend(pass.into_batch().into_iter().rev().take(wanted).map(version_of));
    }
    Ok(found)
}

fn version_of(candidate: Candidate<StreamName>) -> StreamVersion {
    let Candidate { name, at, size, modified, visibility, .. } = candidate;
    StreamVersion { name, at, size, modified, visibility }
}

/// The names of the streams of one cluster.
#[derive(Debug, Default)]
pub struct StreamLabels {
    /// In ascending order.
    pub names: Vec<StreamLabel>,
    /// Number of keys that are not those of a stream, as far as they were listed.
    pub junk: u64,
    /// Whether there are more names than are listed.
    pub more: bool,
}

/// Returns the names under which streams of a cluster are stored.
pub async fn stream_labels(vault: &dyn Vault, cluster: &ClusterId) -> Result<StreamLabels, VaultError> {
    let under = StreamName::cluster_prefix(cluster);
    let mut names = BTreeSet::new();
    let mut junk = 0;
    let mut after: Option<Marker> = None;
    for _ in 0..PAGES {
        let page = vault.list_versions(&under, after.as_ref()).await?;
        for version in page.versions {
            match StreamName::parse(&version.at.key) {
                Ok(name) => drop(names.insert(name.label().clone())),
                Err(_) => junk += 1,
            }
        }
        let Some(next) = page.next.filter(|_| names.len() <= MOST_LABELS) else {
            let more = names.len() > MOST_LABELS;
            return Ok(StreamLabels { names: names.into_iter().take(MOST_LABELS).collect(), junk, more });
        };
        // `0` sorts right after `/`, so this skips all further keys of the same name.
        let first = next.key.strip_prefix(&under).and_then(|rest| rest.split_once('/')).map(|(first, _)| first);
        after = match first {
            Some(first) => Some(Marker::after_key(format!("{under}{first}0"))),
            None => Some(next),
        };
    }
    Ok(StreamLabels { names: names.into_iter().take(MOST_LABELS).collect(), junk, more: true })
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::BackupId;

    use super::*;
    use crate::testkit::{
        archives::{cluster_id, minute, vault},
        memory::MemoryVault,
    };

    fn label(text: &str) -> StreamLabel {
        text.parse().unwrap()
    }

    fn put(vault: &MemoryVault, text: &str, at: i64, tag: u32) -> VersionRef {
        let id = BackupId::new(minute(at), tag.to_be_bytes());
        let key = StreamName::new(cluster_id(), label(text), id).key();
        vault.overlay_at(&key, "a stream", minute(at))
    }

    async fn newest(vault: &MemoryVault, before: Option<Timestamp>, most: usize) -> (Vec<VersionRef>, Skipped) {
        let stream = (&cluster_id(), &label("db"));
        let found = newest_streams(vault, stream, before, most, minute(60)).await.unwrap();
        (found.versions.into_iter().map(|version| version.at).collect(), found.skipped)
    }

    #[tokio::test]
    async fn the_newest_come_first_of_one_stream_only_and_below_what_hides_them() {
        let vault = vault("v");
        let stored: Vec<_> = (0..30).map(|at| put(&vault, "db", at * 60 * 24 * 7, 1)).collect();
        put(&vault, "db-2", 1_000_000, 1);
        put(&vault, "d", 1_000_000, 1);
        vault.overlay(&format!("streams/{}/db/README", cluster_id()), "junk");
        vault.hide(&stored[29].key);
        let on_top = vault.overlay(&stored[28].key, "junk");
        let (found, skipped) = newest(&vault, None, 4).await;
        assert_eq!(found, [&stored[29], &stored[28], &on_top, &stored[27]].map(Clone::clone));
        assert_eq!(skipped, Skipped { junk: 1, ..Skipped::default() });
        let (all, _) = newest(&vault, None, 1000).await;
        assert_eq!(all.len(), 31);
        let (older, _) = newest(&vault, Some(minute(27 * 60 * 24 * 7)), 2).await;
        assert_eq!(older, [&stored[26], &stored[25]].map(Clone::clone));
        assert_eq!(newest(&self::vault("w"), None, 4).await, (Vec::new(), Skipped::default()));
    }

    /// Keys of other times and keys that are no streams are listed as little as possible.
    #[tokio::test]
    async fn a_crowd_of_other_keys_hides_none() {
        let vault = vault("v");
        let oldest = put(&vault, "db", -600_000, 1);
        for tag in 0..3000 {
            put(&vault, "db", -300_000, tag + 10);
        }
        let newest_one = put(&vault, "db", 10, 1);
        let (found, skipped) = newest(&vault, None, 1).await;
        assert_eq!((found, skipped.is_empty()), (vec![newest_one], true));
        let (found, _) = newest(&vault, Some(minute(-400_000)), 5).await;
        assert_eq!(found, [oldest]);
        let (found, _) = newest(&vault, None, 4000).await;
        assert_eq!(found.len(), 3002);
    }

    #[tokio::test]
    async fn every_name_is_found_behind_one_with_many_versions() {
        let vault = vault("v");
        for tag in 0..2500 {
            put(&vault, "db", 0, tag);
        }
        for name in ["db-x", "db.x", "db0", "db00", "a"] {
            put(&vault, name, 0, 1);
        }
        vault.overlay(&format!("streams/{}/UPPER/x", cluster_id()), "junk");
        let found = stream_labels(&vault, &cluster_id()).await.unwrap();
        let names: Vec<_> = found.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a", "db", "db-x", "db.x", "db0", "db00"]);
        assert_eq!((found.junk, found.more), (1, false));
    }
}

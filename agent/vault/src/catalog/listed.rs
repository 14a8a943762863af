//! Lists the clusters and the streams that have keys in a vault. Only names are read; the walk decides whether archives
//! are good.
//!
//! If there are too many, those whose objects were stored first are searched: no writer can set the vault's clock, so
//! invented names come after the real ones.

use std::{cmp::Reverse, collections::BTreeMap, str::FromStr};

use jiff::Timestamp;
use swarmdr_archive::{
    ClusterId,
    stream_archive::{StreamKey, StreamName},
};

use super::{Filter, PointSeries, StreamSeries};
use crate::{
    Marker, Page, Vault, VaultError,
    object_name::{self, POINTS, STREAMS},
};

/// The most clusters of a vault that are searched, as each costs some requests. A vault serves a few.
const MOST: usize = 64;

/// The most names of streams of a vault that are searched. A swarm has some dozens.
const MOST_STREAMS: usize = 256;

/// The most pages of listings, of a thousand versions each, that are read to find clusters, and to find the streams of
/// all of them. A cluster costs one page, and a stream too.
const PAGES: u32 = 2000;

/// The series that have keys in a vault.
#[derive(Debug)]
pub struct SeriesList<S> {
    /// Series in ascending order.
    pub names: Vec<S>,
    /// Number of keys outside of any series, as far as they were listed.
    pub junk: u64,
    /// Number of series that are not searched because there are too many. All beyond the last page count as one.
    pub passed_over: u64,
}

/// The clusters that have keys of backups in a vault.
pub type Clusters = SeriesList<ClusterId>;

impl<S> Default for SeriesList<S> {
    fn default() -> Self {
        Self { names: Vec::new(), junk: 0, passed_over: 0 }
    }
}

/// Returns the cluster of the filter, or all clusters that have a key in the vault.
pub async fn clusters_of(vault: &dyn Vault, filter: &Filter) -> Result<Clusters, VaultError> {
    match &filter.cluster {
        Some(cluster) => Ok(Clusters { names: vec![cluster.clone()], ..Clusters::default() }),
        None => Ok(parts(vault, "", MOST, PAGES).await?.into_list()),
    }
}

/// Returns the points of the filter's cluster, or of all clusters that have a key of a point in the vault.
pub async fn points_of(vault: &dyn Vault, filter: &Filter) -> Result<SeriesList<PointSeries>, VaultError> {
    let clusters = match &filter.cluster {
        Some(_) => clusters_of(vault, filter).await?,
        None => parts(vault, POINTS, MOST, PAGES).await?.into_list(),
    };
    let SeriesList { names, junk, passed_over } = clusters;
    Ok(SeriesList { names: names.into_iter().map(PointSeries).collect(), junk, passed_over })
}

/// Returns the streams of the filter's cluster, or of all clusters that have a key of a stream in the vault; of one name,
/// or of all names. If both are given, nothing is listed.
pub async fn streams_of(
    vault: &dyn Vault,
    name: Option<&StreamName>,
    filter: &Filter,
) -> Result<SeriesList<StreamSeries>, VaultError> {
    let clusters = match &filter.cluster {
        Some(_) => clusters_of(vault, filter).await?,
        None => parts(vault, STREAMS, MOST, PAGES).await?.into_list(),
    };
    let series = |cluster: &ClusterId, name: &StreamName| StreamSeries { cluster: cluster.clone(), name: name.clone() };
    let mut found = Parts { junk: clusters.junk, passed_over: clusters.passed_over, ..Parts::new("", MOST_STREAMS) };
    for cluster in &clusters.names {
        if let Some(name) = name {
            found.add(series(cluster, name), Timestamp::MIN);
            continue;
        }
        let share = PAGES / u32::try_from(clusters.names.len()).unwrap_or(PAGES);
        let of_cluster = parts(vault, &StreamKey::cluster_prefix(cluster), MOST_STREAMS, share).await?;
        found.junk += of_cluster.junk;
        found.passed_over += of_cluster.passed_over;
        of_cluster.oldest.iter().for_each(|(name, oldest)| found.add(series(cluster, name), *oldest));
        found.drop_youngest();
    }
    Ok(found.into_list())
}

/// Lists the first parts of the keys below a prefix, up to their next slash.
async fn parts<T: Ord + Clone + FromStr>(
    vault: &dyn Vault,
    under: &str,
    most: usize,
    pages: u32,
) -> Result<Parts<T>, VaultError> {
    let mut found = Parts::new(under, most);
    let mut after: Option<Marker> = None;
    for _ in 0..pages {
        let page = vault.list_versions(under, after.as_ref()).await?;
        found.take(&page);
        let Some(next) = page.next else { return Ok(found) };
        // `0` sorts right after `/`, so this skips all further keys with the same part.
        after = match found.part_of(&next.key).filter(|part| found.is_skipped(part)) {
            Some(part) => Some(Marker::after_key(format!("{under}{part}0"))),
            None => Some(next),
        };
    }
    found.passed_over += 1;
    Ok(found)
}

#[derive(Debug)]
struct Parts<T> {
    /// Prefix of the keys; they go on with the part.
    under: String,
    most: usize,
    /// Earliest listed time of storing, by part.
    oldest: BTreeMap<T, Timestamp>,
    junk: u64,
    passed_over: u64,
}

impl<T: Ord + Clone> Parts<T> {
    fn new(under: &str, most: usize) -> Self {
        Self { under: under.to_owned(), most, oldest: BTreeMap::new(), junk: 0, passed_over: 0 }
    }

    fn add(&mut self, part: T, stored: Timestamp) {
        let oldest = self.oldest.entry(part).or_insert(stored);
        *oldest = stored.min(*oldest);
    }

    fn drop_youngest(&mut self) {
        let Some(more) = self.oldest.len().checked_sub(self.most).filter(|more| *more > 0) else { return };
        let mut by_age: Vec<(Timestamp, T)> = self.oldest.iter().map(|(part, at)| (*at, part.clone())).collect();
        by_age.sort_by(|a, b| Reverse(a).cmp(&Reverse(b)));
        for (_, part) in by_age.into_iter().take(more) {
            self.oldest.remove(&part);
        }
        self.passed_over += more as u64;
    }

    fn into_list(self) -> SeriesList<T> {
        SeriesList { names: self.oldest.into_keys().collect(), junk: self.junk, passed_over: self.passed_over }
    }
}

impl<T: Ord + Clone + FromStr> Parts<T> {
    fn take(&mut self, page: &Page) {
        for version in &page.versions {
            let key = &version.at.key;
            if self.is_own(key) {
                continue;
            }
            match self.part_of(key).and_then(|part| part.parse().ok()) {
                Some(part) => self.add(part, version.modified),
                None => self.junk += 1,
            }
        }
        self.drop_youngest();
    }

    fn part_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        Some(key.strip_prefix(&self.under)?.split_once('/')?.0)
    }

    /// Whether further keys with this part are skipped, so that junk in one does not delay the next one.
    fn is_skipped(&self, part: &str) -> bool {
        part.parse::<T>().is_ok() || self.is_own(&format!("{part}/"))
    }

    /// Whether a key belongs to the agent, and to no cluster.
    fn is_own(&self, key: &str) -> bool {
        self.under.is_empty() && object_name::is_own(key)
    }
}

//! Lists the clusters that have keys in a vault. Only names are read; the walk decides whether backups are good.

use std::collections::BTreeMap;

use jiff::Timestamp;
use swarmdr_archive::ClusterId;

use super::Filter;
use crate::{Marker, Page, Vault, VaultError, object_name};

/// The most clusters of a vault that are searched, as each costs some requests. A vault serves a few. If there are
/// more, those whose objects were stored first are searched: no writer can set the vault's clock, so invented names
/// come after the real ones.
const MOST: usize = 64;

/// The most pages of listings, of a thousand versions each, that are read to find clusters. A cluster costs one page.
const PAGES: u32 = 2000;

/// The clusters that have keys in a vault.
#[derive(Debug, Default)]
pub struct Clusters {
    /// Cluster ids in ascending order.
    pub names: Vec<ClusterId>,
    /// Number of keys outside of any cluster, as far as they were listed.
    pub junk: u64,
    /// Number of clusters that are not searched because there are too many. All beyond the last page count as one.
    pub passed_over: u64,
}

/// Returns the cluster of the filter, or all clusters that have a key in the vault.
pub async fn of_filter(vault: &dyn Vault, filter: &Filter) -> Result<Clusters, VaultError> {
    match &filter.cluster {
        Some(cluster) => Ok(Clusters { names: vec![cluster.clone()], ..Clusters::default() }),
        None => all(vault).await,
    }
}

async fn all(vault: &dyn Vault) -> Result<Clusters, VaultError> {
    let mut search = Search::default();
    let mut after: Option<Marker> = None;
    for _ in 0..PAGES {
        let page = vault.list_versions("", after.as_ref()).await?;
        search.take(&page);
        let Some(next) = page.next else { return Ok(search.end()) };
        // `0` sorts right after `/`, so this skips all further keys with the same first part.
        after = match next.key.split_once('/') {
            Some((first, _)) if is_skipped(first) => Some(Marker::after_key(format!("{first}0"))),
            _ => Some(next),
        };
    }
    search.passed_over += 1;
    Ok(search.end())
}

/// Whether further keys below this first part are skipped, so that junk in one cluster does not delay the next one.
fn is_skipped(first: &str) -> bool {
    first.parse::<ClusterId>().is_ok() || object_name::is_own(&format!("{first}/"))
}

#[derive(Debug, Default)]
struct Search {
    /// Earliest listed time of storing, by cluster id.
    clusters: BTreeMap<ClusterId, Timestamp>,
    junk: u64,
    passed_over: u64,
}

impl Search {
    fn take(&mut self, page: &Page) {
        for version in &page.versions {
            let key = &version.at.key;
            if object_name::is_own(key) {
                continue;
            }
            match key.split_once('/').and_then(|(first, _)| first.parse().ok()) {
                Some(cluster) => {
                    let oldest = self.clusters.entry(cluster).or_insert(version.modified);
                    *oldest = version.modified.min(*oldest);
                }
                None => self.junk += 1,
            }
        }
        while self.clusters.len() > MOST {
            let youngest = self.clusters.iter().max_by_key(|(_, oldest)| **oldest).map(|(name, _)| name.clone());
            youngest.and_then(|name| self.clusters.remove(&name));
            self.passed_over += 1;
        }
    }

    fn end(self) -> Clusters {
        Clusters { names: self.clusters.into_keys().collect(), junk: self.junk, passed_over: self.passed_over }
    }
}

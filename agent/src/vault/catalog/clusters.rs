//! Which clusters a vault has keys of. Names only: whether their backups are good is for the walk to say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Filter;
use crate::vault::object_name::{self, ObjectName};
use crate::vault::{Marker, Page, Vault, VaultError};

/// A vault serves a few clusters, and each costs some requests. Of more, those whose objects have lain longest are kept:
/// the vault's clock is nobody's to set, so whoever makes names up comes after those that were there.
const MOST: usize = 64;

/// Pages, a thousand versions each, that are looked through for names; a cluster costs one.
const PAGES: u32 = 2000;

/// What lies at the top of a vault.
#[derive(Debug, Default)]
pub struct Clusters {
    /// Ascending.
    pub names: Vec<String>,
    /// Keys outside of any cluster, as far as they were listed.
    pub junk: u64,
    /// Clusters beyond the most, or all that lies beyond the last page: not searched.
    pub passed_over: u64,
}

/// The one of the filter, or all that have a key in the vault.
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
        // `0` follows `/`, so this skips whatever else is below the same first part.
        after = match next.key.split_once('/') {
            Some((first, _)) if is_skipped(first) => Some(Marker::after_key(format!("{first}0"))),
            _ => Some(next),
        };
    }
    search.passed_over += 1;
    Ok(search.end())
}

/// Junk in the directory of a cluster must not stand before the next one.
fn is_skipped(first: &str) -> bool {
    ObjectName::cluster_prefix(first).is_ok() || object_name::is_own(&format!("{first}/"))
}

#[derive(Debug, Default)]
struct Search {
    /// With the oldest time of what was seen of it.
    clusters: BTreeMap<String, Timestamp>,
    junk: u64,
    passed_over: u64,
}

impl Search {
    fn take(&mut self, page: &Page) {
        for version in &page.versions {
            let key = &version.at.key;
            match key.split_once('/') {
                _ if object_name::is_own(key) => {}
                Some((first, _)) if ObjectName::cluster_prefix(first).is_ok() => {
                    let oldest = self.clusters.entry(first.to_owned()).or_insert(version.modified);
                    *oldest = version.modified.min(*oldest);
                }
                _ => self.junk += 1,
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

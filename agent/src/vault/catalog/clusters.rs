//! Which clusters a vault has keys of. Names only: whether their backups are good is for the walk to say.

use super::Filter;
use crate::vault::object_name::ObjectName;
use crate::vault::{Marker, Vault, VaultError};

/// A vault serves a few clusters. More are somebody's junk, and each costs at least one request.
const MOST: usize = 1000;

/// The one of the filter, or all that have a key in the vault, ascending.
pub async fn of_filter(vault: &dyn Vault, filter: &Filter) -> Result<Vec<String>, VaultError> {
    match &filter.cluster {
        Some(cluster) => Ok(vec![cluster.clone()]),
        None => all(vault).await,
    }
}

async fn all(vault: &dyn Vault) -> Result<Vec<String>, VaultError> {
    let mut clusters: Vec<String> = Vec::new();
    let mut after: Option<Marker> = None;
    loop {
        let page = vault.list_versions("", after.as_ref()).await?;
        let named = page.versions.iter().filter_map(|version| ObjectName::parse(&version.at.key).ok());
        for name in named {
            if clusters.last().is_none_or(|last| last != name.cluster()) {
                clusters.push(name.cluster().into());
            }
        }
        let Some(next) = page.next else { return Ok(clusters) };
        if clusters.len() >= MOST {
            tracing::warn!(
                vault = vault.address(),
                "the vault has keys of {MOST} clusters or more; the rest is passed over"
            );
            return Ok(clusters);
        }
        // `0` follows `/`, so this skips whatever else the last cluster has.
        let in_last =
            |key: &str| key.split_once('/').is_some_and(|(cluster, _)| clusters.last().is_some_and(|it| it == cluster));
        after = match clusters.last() {
            Some(cluster) if in_last(&next.key) => Some(Marker::after_key(format!("{cluster}0"))),
            _ => Some(next),
        };
    }
}

//! The receipts of drills in a vault.
//!
//! `drills/<cluster id>/<drill id>-of-<backup id>.receipt`: apart from the backups, whose listings stay short. Whoever may
//! write may store anything there; what counts is signed by a trusted key, names its own key, and names the manifest
//! of the backup it is about.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use swarmdr_archive::{
    BackupId, TrustedKeys,
    receipt::{self, RECEIPT_MAX},
};

use super::receipt::{Outcome, Receipt, VERSION};
use crate::{
    config::Config,
    signing,
    vault::{Marker, Vault, VersionRef, object_name, read_range, store_bytes},
};

/// Pages of a listing that are looked at: a thousand receipts each.
const MOST_PAGES: usize = 8;

/// Of one backup, before it counts as having none.
const MOST_TRIED: usize = 3;

/// A name in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    drill: BackupId,
    backup: BackupId,
}

impl Name {
    fn key(&self, cluster: &str) -> String {
        format!("{}{cluster}/{}-of-{}.receipt", object_name::DRILLS, self.drill, self.backup)
    }

    fn parse(key: &str, cluster: &str) -> Option<Self> {
        let name = key.strip_prefix(object_name::DRILLS)?.strip_prefix(cluster)?.strip_prefix('/')?;
        let (drill, backup) = name.strip_suffix(".receipt")?.split_once("-of-")?;
        Some(Self { drill: drill.parse().ok()?, backup: backup.parse().ok()? })
    }
}

/// Signs a receipt with this host's key and stores it as a backup is stored: created only, and locked. Answers with its
/// key.
pub async fn store_in(vault: &dyn Vault, config: &Config, receipt: &Receipt) -> Result<String> {
    let key = signing::read(&config.signing_key_path())?;
    let document = serde_json::to_vec_pretty(receipt)?;
    let about = format!("{} of backup {} cluster {}", receipt.id, receipt.backup, receipt.cluster_id);
    let mtime = u64::try_from(receipt.at.as_second()).unwrap_or(0);
    let packed = receipt::seal(&key, &document, &about, mtime)?;
    let place = Name { drill: receipt.id, backup: receipt.backup }.key(&receipt.cluster_id);
    store_bytes(vault, place.clone(), &packed, receipt.at).await?;
    Ok(place)
}

/// The newest good receipt of each backup of a cluster that has one.
pub async fn by_backup(
    vault: &dyn Vault,
    cluster: &str,
    keys: &TrustedKeys,
    wanted: impl Fn(BackupId) -> bool,
) -> Result<BTreeMap<BackupId, Receipt>> {
    let mut named: BTreeMap<BackupId, Vec<(Name, VersionRef)>> = BTreeMap::new();
    for (name, at) in list(vault, cluster).await? {
        if wanted(name.backup) {
            named.entry(name.backup).or_default().push((name, at));
        }
    }
    let mut found = BTreeMap::new();
    for (backup, names) in named {
        for (name, at) in names.iter().rev().take(MOST_TRIED) {
            match read(vault, cluster, name, at, keys).await {
                Ok(receipt) => {
                    found.insert(backup, receipt);
                    break;
                }
                Err(error) => tracing::debug!("{} holds no receipt that counts: {error:#}", at.key),
            }
        }
    }
    Ok(found)
}

/// The newest good receipts of a cluster, back to the newest that says `proven`.
pub async fn newest(vault: &dyn Vault, cluster: &str, keys: &TrustedKeys) -> Result<Vec<Receipt>> {
    const LOOKED_AT: usize = 16;
    let mut newest = Vec::new();
    for (name, at) in list(vault, cluster).await?.iter().rev().take(LOOKED_AT) {
        match read(vault, cluster, name, at, keys).await {
            Ok(receipt) => {
                newest.push(receipt);
                if newest.last().is_some_and(|receipt| receipt.outcome == Outcome::Proven) {
                    break;
                }
            }
            Err(error) => tracing::debug!("{} holds no receipt that counts: {error:#}", at.key),
        }
    }
    Ok(newest)
}

/// In the order of the drills; of a key with several versions the oldest, which nobody can have laid on top.
async fn list(vault: &dyn Vault, cluster: &str) -> Result<Vec<(Name, VersionRef)>> {
    let under = format!("{}{cluster}/", object_name::DRILLS);
    let mut after: Option<Marker> = None;
    let mut found: BTreeMap<Name, VersionRef> = BTreeMap::new();
    for _ in 0..MOST_PAGES {
        let page = vault.list_versions(&under, after.as_ref()).await?;
        for version in page.versions.into_iter().filter(|version| !version.is_delete_marker) {
            if version.size <= RECEIPT_MAX
                && let Some(name) = Name::parse(&version.at.key, cluster)
            {
                found.insert(name, version.at);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(found.into_iter().collect())
}

async fn read(vault: &dyn Vault, cluster: &str, name: &Name, at: &VersionRef, keys: &TrustedKeys) -> Result<Receipt> {
    let size = vault.head(at).await?.size;
    ensure!(size <= RECEIPT_MAX, "it has {size} bytes");
    let packed = read_range(vault, at, 0..size).await?;
    let receipt: Receipt = serde_json::from_slice(&receipt::open(&packed, keys)?.document)?;
    ensure!(receipt.version == VERSION, "it is of version {}", receipt.version);
    ensure!(
        receipt.id == name.drill && receipt.backup == name.backup && receipt.cluster_id == cluster,
        "it names another place than the one it was found at"
    );
    ensure!(receipt.at <= Timestamp::now() + jiff::SignedDuration::from_hours(24), "it is from the future");
    Ok(receipt)
}

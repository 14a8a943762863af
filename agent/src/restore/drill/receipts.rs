//! The receipts of drills in a vault.
//!
//! `drills/<cluster id>/<drill id>-of-<backup id>.receipt`, apart from the backups, whose listings stay short. Anyone
//! with write access may store any object there; a receipt counts if it is signed by a trusted key, names its own key,
//! and names the manifest of its backup.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{
    BackupId, ClusterId, TrustedKeys,
    receipt::{self, RECEIPT_MAX},
};
use swarmdr_vault::{Marker, Vault, VersionRef, object_name, read_range, store_bytes};

use super::receipt::{Outcome, Receipt, VERSION};
use crate::{config::Config, keys::signing};

/// Maximum number of pages of a listing that are read, with a thousand receipts each.
const MOST_PAGES: usize = 8;

/// Maximum number of receipts of one backup that are read before it counts as having none.
const MOST_TRIED: usize = 3;

/// Maximum number of names that are read for the newest receipts.
const MOST_LOOKED_AT: usize = 16;

/// Period in which the newest receipts are looked for first: vaults keep years of receipts, and listings begin with the
/// oldest.
const RECENT: SignedDuration = SignedDuration::from_hours(100 * 24);

/// Tolerance for a drill whose clock is behind that of the backup.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(24);

/// A parsed name in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    drill: BackupId,
    backup: BackupId,
}

impl Name {
    fn key(&self, cluster: &ClusterId) -> String {
        format!("{}{cluster}/{}-of-{}.receipt", object_name::DRILLS, self.drill, self.backup)
    }

    fn parse(key: &str, cluster: &ClusterId) -> Option<Self> {
        let name = key.strip_prefix(object_name::DRILLS)?.strip_prefix(cluster.as_str())?.strip_prefix('/')?;
        let (drill, backup) = name.strip_suffix(".receipt")?.split_once("-of-")?;
        Some(Self { drill: drill.parse().ok()?, backup: backup.parse().ok()? })
    }
}

/// Signs a receipt with this host's key and stores it like a backup: created only, and locked. Returns its key.
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

/// A version that may be a receipt, and the time at which the vault got it.
#[derive(Debug)]
struct Stored {
    at: VersionRef,
    modified: Timestamp,
}

/// Returns the newest valid receipt of each of these backups that has one.
pub async fn by_backup(
    vault: &dyn Vault,
    cluster: &ClusterId,
    keys: &TrustedKeys,
    wanted: &BTreeSet<BackupId>,
) -> Result<BTreeMap<BackupId, Receipt>> {
    let mut named: BTreeMap<BackupId, Vec<(Name, Stored)>> = BTreeMap::new();
    let Some(oldest) = wanted.first() else { return Ok(BTreeMap::new()) };
    for (name, at) in list(vault, cluster, Some(oldest.created_at() - CLOCKS_DIFFER)).await? {
        if wanted.contains(&name.backup) {
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
                Err(error) => tracing::debug!("{} holds no receipt that counts: {error:#}", at.at.key),
            }
        }
    }
    Ok(found)
}

/// The newest receipts of a cluster.
#[derive(Debug, Default)]
pub struct Newest {
    /// Valid receipts, newest first, up to and including the newest one that says `proven`.
    pub receipts: Vec<Receipt>,
    /// Names without a valid receipt, and why: an object may have been put there to hide one.
    pub others: Vec<String>,
}

pub async fn newest(vault: &dyn Vault, cluster: &ClusterId, keys: &TrustedKeys, now: Timestamp) -> Result<Newest> {
    let mut named = list(vault, cluster, Some(now - RECENT)).await?;
    if named.is_empty() {
        named = list(vault, cluster, None).await?;
    }
    let mut newest = Newest::default();
    for (name, at) in named.iter().rev().take(MOST_LOOKED_AT) {
        match read(vault, cluster, name, at, keys).await {
            Ok(receipt) => {
                let is_proof = receipt.outcome == Outcome::Proven;
                newest.receipts.push(receipt);
                if is_proof {
                    break;
                }
            }
            Err(error) => newest.others.push(format!("{} is not a valid receipt: {error:#}", at.at.key)),
        }
    }
    Ok(newest)
}

/// Sorts the names by drill, of those held after `since`. Of a key with several versions the oldest counts, since
/// nothing can be put on top of it.
async fn list(vault: &dyn Vault, cluster: &ClusterId, since: Option<Timestamp>) -> Result<Vec<(Name, Stored)>> {
    let under = format!("{}{cluster}/", object_name::DRILLS);
    let mut after = since.map(|since| Marker::after_key(format!("{under}{}", BackupId::new(since, [0; 4]))));
    let mut found: BTreeMap<Name, Stored> = BTreeMap::new();
    for _ in 0..MOST_PAGES {
        let page = vault.list_versions(&under, after.as_ref()).await?;
        for version in page.versions.into_iter().filter(|version| !version.is_delete_marker) {
            if version.size <= RECEIPT_MAX
                && let Some(name) = Name::parse(&version.at.key, cluster)
            {
                found.insert(name, Stored { at: version.at, modified: version.modified });
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(found.into_iter().collect())
}

async fn read(
    vault: &dyn Vault,
    cluster: &ClusterId,
    name: &Name,
    stored: &Stored,
    keys: &TrustedKeys,
) -> Result<Receipt> {
    let at = &stored.at;
    let size = vault.head(at).await?.size;
    ensure!(size <= RECEIPT_MAX, "it has {size} bytes");
    let packed = read_range(vault, at, 0..size).await?;
    let receipt: Receipt = serde_json::from_slice(&receipt::open(&packed, &keys.at(stored.modified))?.document)?;
    ensure!(receipt.version == VERSION, "it is of version {}", receipt.version);
    ensure!(
        receipt.id == name.drill && receipt.backup == name.backup && receipt.cluster_id == *cluster,
        "it names another place than the one it was found at"
    );
    ensure!(receipt.at <= Timestamp::now() + CLOCKS_DIFFER, "it is from the future");
    Ok(receipt)
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::{Digest, SecretKey};

    use super::*;
    use swarmdr_vault::testkit::{
        archives::{key, vault},
        memory::MemoryVault,
    };

    fn cluster_id() -> ClusterId {
        "c1".parse().expect("is an id")
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("is a time")
    }

    fn id(at: &str) -> BackupId {
        BackupId::new(time(at), [7; 4])
    }

    /// Makes a receipt of a drill of a backup, and the key it belongs under.
    fn receipt(key: &SecretKey, drill: &str, backup: &str, outcome: Outcome) -> (String, Vec<u8>) {
        let receipt = Receipt {
            version: VERSION,
            id: id(drill),
            backup: id(backup),
            cluster_id: cluster_id(),
            manifest_digest: Digest::of(b"manifest"),
            at: time(drill),
            host: "h".to_owned(),
            agent: "0".to_owned(),
            engine: "28.5.2".to_owned(),
            outcome,
            problem: None,
            seconds: 1.0,
            counts: Default::default(),
            items: None,
        };
        let document = serde_json::to_vec(&receipt).expect("is JSON");
        let packed = receipt::seal(key, &document, "a drill", 0).expect("is small");
        (Name { drill: receipt.id, backup: receipt.backup }.key(&cluster_id()), packed)
    }

    async fn put(vault: &MemoryVault, (key, packed): (String, Vec<u8>)) {
        store_bytes(vault, key, &packed, time("2026-11-20T00:00:00Z")).await.expect("is stored");
    }

    #[tokio::test]
    async fn years_of_receipts_do_not_hide_the_newest() {
        let (key, vault) = (key(), vault("memory"));
        for second in 0..9_000 {
            let old = Name {
                drill: BackupId::new(time("2020-01-01T00:00:00Z") + SignedDuration::from_secs(second), [0; 4]),
                backup: id("2019-12-31T00:00:00Z"),
            };
            vault.overlay(&old.key(&cluster_id()), "an old one");
        }
        put(&vault, receipt(&key, "2026-11-20T05:00:00Z", "2026-11-20T03:00:00Z", Outcome::Proven)).await;
        let (keys, now) = (TrustedKeys::from(key.public()), time("2026-11-21T00:00:00Z"));
        let newest = newest(&vault, &cluster_id(), &keys, now).await.expect("lists");
        assert_eq!(
            newest.receipts.iter().map(|receipt| receipt.at).collect::<Vec<_>>(),
            [time("2026-11-20T05:00:00Z")]
        );
        assert!(newest.others.is_empty(), "{:?}", newest.others);
        let wanted = BTreeSet::from([id("2026-11-20T03:00:00Z"), id("2026-11-19T03:00:00Z")]);
        let found = by_backup(&vault, &cluster_id(), &keys, &wanted).await.expect("lists");
        assert_eq!(found.keys().collect::<Vec<_>>(), [&id("2026-11-20T03:00:00Z")]);
    }

    #[tokio::test]
    async fn what_is_no_receipt_is_told_and_proves_nothing() {
        let (key, other, vault) = (key(), key(), vault("memory"));
        put(&vault, receipt(&key, "2026-11-17T05:00:00Z", "2026-11-17T03:00:00Z", Outcome::Proven)).await;
        put(&vault, receipt(&key, "2026-11-18T05:00:00Z", "2026-11-18T03:00:00Z", Outcome::Failed)).await;
        // Forged, moved to another backup, and not a receipt at all.
        put(&vault, receipt(&other, "2026-11-19T05:00:00Z", "2026-11-19T03:00:00Z", Outcome::Proven)).await;
        let (_, packed) = receipt(&key, "2026-11-17T05:00:00Z", "2026-11-17T03:00:00Z", Outcome::Proven);
        let moved = Name { drill: id("2026-11-19T06:00:00Z"), backup: id("2026-11-18T03:00:00Z") }.key(&cluster_id());
        put(&vault, (moved, packed)).await;
        let junk = Name { drill: id("2026-11-19T07:00:00Z"), backup: id("2026-11-18T03:00:00Z") }.key(&cluster_id());
        put(&vault, (junk, b"junk".to_vec())).await;

        let (keys, now) = (TrustedKeys::from(key.public()), time("2026-11-21T00:00:00Z"));
        let newest = newest(&vault, &cluster_id(), &keys, now).await.expect("lists");
        let outcomes: Vec<Outcome> = newest.receipts.iter().map(|receipt| receipt.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Proven]);
        assert_eq!(newest.others.len(), 3, "{:?}", newest.others);
        let wanted = BTreeSet::from([id("2026-11-18T03:00:00Z"), id("2026-11-19T03:00:00Z")]);
        let found = by_backup(&vault, &cluster_id(), &keys, &wanted).await.expect("lists");
        assert_eq!(found.values().map(|receipt| receipt.outcome).collect::<Vec<_>>(), [Outcome::Failed]);
    }
}

//! Number of requests to a vault by nightly commands: it must not grow with the number of backups in the vault.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use swarmdr_archive::{SecretKey, TrustedKeys};
use swarmdr_vault::{
    Vault,
    catalog::{self, Bounds, Filter, Skipped, clusters_of, find_latest, lineage::Remembered},
    renew,
    testkit::{
        archives::{Archive, CLUSTER, cluster_id, following, key, minute, put, vault},
        injector::{Call, Injected, InjectingVault},
        memory::MemoryVault,
    },
};

use super::PreviousBackups;
use crate::{config::Config, restore::drill::receipts, vaults::delivery_record::DeliveryRecord};

/// Number of pages of listings, and of all other requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cost {
    pages: u32,
    others: u32,
}

struct Counted {
    vault: Arc<dyn Vault>,
    cost: Arc<Mutex<Cost>>,
}

impl Counted {
    fn new(vault: Arc<MemoryVault>) -> Self {
        let cost = Arc::<Mutex<Cost>>::default();
        let counter = Arc::clone(&cost);
        let vault = InjectingVault::new(vault, move |call| {
            let mut cost = counter.lock().expect("is whole");
            match call {
                Call::List { .. } => cost.pages += 1,
                _ => cost.others += 1,
            }
            Injected::None
        });
        Self { vault: Arc::new(vault), cost }
    }

    fn take(&self) -> Cost {
        std::mem::take(&mut self.cost.lock().expect("is whole"))
    }
}

/// A vault with `count` backups, made `every` minutes, the last one at minute 0. Returns the last one as well.
async fn with_history(count: i64, every: i64, key: &SecretKey) -> (Arc<MemoryVault>, Archive) {
    let vault = Arc::new(vault("v"));
    let mut last: Option<Archive> = None;
    for index in (0..count).rev() {
        let next = following(last.as_ref(), CLUSTER, -index * every, key);
        match index {
            0 => put(vault.as_ref(), &next).await,
            // The locks of the older ones have ended.
            _ => drop(vault.overlay_at(&next.name.key(), next.bytes.clone(), minute(-index * every + 3))),
        }
        last = Some(next);
    }
    (vault, last.expect("there are some"))
}

/// All requests of a backup run: at the checks, again right before the engine is touched, and to store the archive.
async fn backup(counted: &Counted, last: &Archive, key: &SecretKey, now: Timestamp) {
    let vault = counted.vault.as_ref();
    let keys = TrustedKeys::from(key.public());
    let dir = tempfile::tempdir().expect("a scratch directory");
    let memory = DeliveryRecord::of(&Config { state_dir: dir.path().to_owned(), ..Config::default() });
    let (id, cluster, sequence) = (last.name.id(), cluster_id(), last.sequence);
    memory.note(vault, Remembered { id, cluster, sequence, locked_until: None, digest: None }, now);
    for _ in 0..2 {
        memory.require_history(vault, &cluster_id()).await.expect("answers");
        let newest =
            PreviousBackups::default().extend_from(vault, &cluster_id(), &keys, now).await.expect("answers").newest;
        assert_eq!(newest, Some(last.sequence));
        assert_eq!(memory.lost(vault, &cluster_id(), newest, now).await.expect("answers"), None);
    }
    renew(vault, Some(&cluster_id()), &keys, now).await.expect("answers");
    put(vault, &following(Some(last), CLUSTER, 24 * 60, key)).await;
}

async fn restore(counted: &Counted, last: &Archive, keys: &TrustedKeys, now: Timestamp) {
    let vaults = [Arc::clone(&counted.vault)];
    let latest = find_latest(&vaults, &Filter::default(), keys, now).await.expect("is found");
    assert_eq!((latest.head.manifest.id, latest.findings.lines()), (last.name.id(), Vec::new()));
}

async fn status(counted: &Counted, keys: &TrustedKeys, now: Timestamp) {
    let (vault, filter) = (counted.vault.as_ref(), Filter::cluster(cluster_id()));
    for cluster in clusters_of(vault, &filter).await.expect("answers").names {
        let found = (Bounds::default(), &mut Skipped::default());
        let view = catalog::view(vault, &cluster, &filter, keys, now, found, |_| Ok(())).await.expect("answers");
        let (entry, _) = &view.entries[view.newest(now).expect("is found")];
        vault.head(&entry.at).await.expect("answers");
        receipts::newest(vault, &cluster, keys, now).await.expect("answers");
    }
}

#[tokio::test]
async fn a_backup_and_a_restore_cost_no_more_after_years() {
    /// Minutes between two backups: fifty thousand of them take more than five years.
    const EVERY: i64 = 60;
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let most = if std::env::var_os("SWARMDR_TEST_FULL").is_some() { 50_000 } else { 5_000 };
    let counts: Vec<i64> = [50, 500, 5_000, 50_000].into_iter().filter(|count| *count <= most).collect();
    let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    for count in &counts {
        let (vault, last) = with_history(*count, EVERY, &key).await;
        let now = minute(EVERY - 15);
        let counted = Counted::new(vault);
        let mut note = |what| costs.entry(what).or_default().push(counted.take());
        restore(&counted, &last, &keys, now).await;
        note("restore --latest");
        status(&counted, &keys, now).await;
        note("status");
        backup(&counted, &last, &key, now).await;
        note("backup");
    }
    println!("backups in the vault: {counts:?}");
    for (what, costs) in &costs {
        let told: Vec<String> = costs.iter().map(|it| format!("{} pages + {}", it.pages, it.others)).collect();
        println!("{what}: {}", told.join(", "));
        for (cost, count) in costs.iter().zip(&counts) {
            assert!(cost.others <= costs[0].others, "{what}: {costs:?}");
            // A backup that was stored late may have any time in its name, so names are searched, a thousand on a page,
            // up to the limit of a search.
            let names = u32::try_from(count / 1000).expect("is small").min(50);
            assert!(cost.pages <= costs[0].pages * (1 + 2 * names), "{what}: {costs:?}");
        }
    }
}

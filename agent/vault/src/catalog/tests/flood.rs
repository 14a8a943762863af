//! Floods of objects: the backup that a walk finds among them, and what that costs.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::SignedDuration;
use swarmdr_archive::{BackupId, SecretKey};

use super::*;
use crate::testkit::memory::MemoryVault;

/// A vault that counts the calls to it.
struct Counted {
    vault: Arc<dyn Vault>,
    lists: Arc<AtomicU32>,
    reads: Arc<AtomicU32>,
}

impl Counted {
    fn new(vault: Arc<MemoryVault>) -> Self {
        let (lists, reads) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let counters = (Arc::clone(&lists), Arc::clone(&reads));
        let vault = InjectingVault::new(vault, move |call| {
            match call {
                Call::List { .. } => counters.0.fetch_add(1, Ordering::Relaxed),
                Call::Open { .. } => counters.1.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            Injected::None
        });
        Self { vault: Arc::new(vault), lists, reads }
    }

    fn cost(&self) -> (u32, u32) {
        (self.lists.swap(0, Ordering::Relaxed), self.reads.swap(0, Ordering::Relaxed))
    }

    async fn latest(&self, key: &SecretKey) -> Result<Latest, CatalogError> {
        find_latest(&[Arc::clone(&self.vault)], &Filter::default(), &key.public().into(), now()).await
    }
}

fn name(at: Timestamp, tag: u32) -> String {
    ObjectName::new(cluster_id(), BackupId::new(at, tag.to_be_bytes())).key()
}

/// Makes a vault with a locked backup for each day up to two days before [`now`].
async fn with_history(key: &SecretKey, days: i64) -> (Arc<MemoryVault>, BackupId) {
    let vault = Arc::new(vault("v"));
    let mut previous = None;
    for day in (2..2 + days).rev() {
        let archive = following(previous.as_ref(), CLUSTER, -day * 24 * 60, key);
        put(vault.as_ref(), &archive).await;
        previous = Some(archive);
    }
    (vault, previous.unwrap().name.id())
}

#[tokio::test]
async fn junk_costs_pages_and_nothing_else() {
    let key = key();
    let (vault, newest) = with_history(&key, 10).await;
    let clean = Counted::new(Arc::clone(&vault));
    assert_eq!(clean.latest(&key).await.unwrap().head.manifest.id, newest);
    println!("lists, reads of a clean vault: {:?}", clean.cost());

    // Junk before all backups, after them, and within one second: 180,000 keys, or a million.
    let full = std::env::var_os("SWARMDR_TEST_FULL").is_some();
    let each: u32 = if full { 334_000 } else { 60_000 };
    for i in 0..each {
        vault.overlay_at(&format!("{CLUSTER}/!{i:06}"), "junk", now());
        vault.overlay_at(&format!("{CLUSTER}/~{i:06}"), "junk", now());
        vault.overlay_at(&format!("{CLUSTER}/20261121T101010Z-{i:06}"), "junk", now());
    }
    let counted = Counted::new(Arc::clone(&vault));
    let latest = counted.latest(&key).await.unwrap();
    let (lists, reads) = counted.cost();
    println!("lists, reads with {} keys of junk: {:?}", 3 * each, (lists, reads));
    assert_eq!(latest.head.manifest.id, newest);
    assert!(latest.findings.to_string().contains("objects that are not backups"), "{}", latest.findings);
    // The pages of that second, and nearly as many for each of the eleven halvings that isolate it. Twice, because the
    // lineage is searched as well.
    assert!(lists < 25 * each / 1000, "{lists}");
    assert!(reads < 20, "{reads}");
}

#[tokio::test]
async fn forged_backups_newer_than_the_newest_are_skipped_one_by_one() {
    let key = key();
    let (vault, newest) = with_history(&key, 10).await;
    for i in 0..500 {
        vault.overlay_at(&name(minute(i64::from(i) % 60), i), "forged", now());
    }
    let counted = Counted::new(vault);
    let latest = counted.latest(&key).await.unwrap();
    assert_eq!(latest.head.manifest.id, newest);
    assert_eq!(latest.findings.lines().len(), 51, "{}", latest.findings);
    assert!(latest.findings.lines()[50].contains("and 450 more"), "{}", latest.findings);
    assert!(latest.findings.to_string().ends_with("; and 492 more"), "{}", latest.findings);
    let (_, reads) = counted.cost();
    assert!((500..560).contains(&reads), "{reads}");
}

/// The flood has names of every time, also from before the break-in, but the vault knows when each object was stored.
#[tokio::test]
async fn a_flood_beyond_every_bound_leaves_the_backups_from_before_it() {
    let key = key();
    let (vault, newest) = with_history(&key, 400).await;
    let quarter = SignedDuration::from_mins(15);
    let mut at = now() + SignedDuration::from_hours(24 * 30);
    for i in 0..30_000 {
        vault.overlay_at(&name(at, i), "forged", now());
        at -= quarter;
    }
    let counted = Counted::new(vault);
    let latest = counted.latest(&key).await.unwrap();
    let (lists, reads) = counted.cost();
    println!("lists, reads with 30,000 forged backups: {:?}", (lists, reads));
    assert_eq!(latest.head.manifest.id, newest);
    let said = latest.findings.lines().join("\n");
    assert!(said.contains("a backup among them may have been missed"), "{said}");
    assert!(reads < 5200 && lists < 200, "{lists} {reads}");
}

/// Everything that a search reads first was stored by the attacker at the time in its name.
#[tokio::test]
async fn a_flood_that_went_on_for_days_leaves_the_backups_from_before_it() {
    let key = key();
    let (vault, newest) = with_history(&key, 40).await;
    let mut at = now();
    for i in 0..40_000 {
        vault.overlay_at(&name(at, i), "forged", at);
        at -= SignedDuration::from_secs(4);
    }
    assert!(newest.created_at() < at);
    let counted = Counted::new(vault);
    let latest = counted.latest(&key).await.unwrap();
    let (lists, reads) = counted.cost();
    println!("lists, reads with 40,000 prompt forged backups: {:?}", (lists, reads));
    assert_eq!(latest.head.manifest.id, newest);
    assert!(reads < 5200 && lists < 1000, "{lists} {reads}");
}

/// In a bucket that was copied, all objects but the later ones were stored at the time of the copy.
#[tokio::test]
async fn a_flood_over_backups_that_were_all_stored_late_leaves_them_too() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let mut newest = None;
    for day in (2..10).rev() {
        let archive = archive(CLUSTER, -day * 24 * 60, &key);
        vault.overlay_at(&archive.name.key(), archive.bytes.clone(), minute(0));
        newest = Some(archive.name.id());
    }
    let mut at = now() + SignedDuration::from_hours(24);
    for i in 0..20_000 {
        vault.overlay_at(&name(at, i), "forged", minute(1));
        at -= SignedDuration::from_mins(5);
    }
    let counted = Counted::new(vault);
    let latest = counted.latest(&key).await.unwrap();
    assert_eq!(Some(latest.head.manifest.id), newest);
    let (lists, reads) = counted.cost();
    println!("lists, reads with 20,000 forged over late backups: {:?}", (lists, reads));
    assert!(reads < 6500 && lists < 200, "{lists} {reads}");
}

#[tokio::test]
async fn thousands_of_versions_of_one_key_cost_a_handful_of_reads() {
    let key = key();
    let (vault, newest) = with_history(&key, 10).await;
    let newest_key = ObjectName::new(cluster_id(), newest).key();
    for _ in 0..5000 {
        vault.overlay(&newest_key, "forged");
    }
    for _ in 0..5000 {
        vault.overlay(&name(now(), 1), "forged");
    }
    let counted = Counted::new(vault);
    let latest = counted.latest(&key).await.unwrap();
    let (lists, reads) = counted.cost();
    assert_eq!(latest.head.manifest.id, newest);
    let said = latest.findings.lines().join("\n");
    assert!(said.contains("further versions of keys that have too many"), "{said}");
    assert!(said.contains("hidden by another version put on top"), "{said}");
    assert!(reads < 40 && lists < 400, "{lists} {reads}");
}

#[tokio::test]
async fn made_up_clusters_do_not_push_the_real_one_out() {
    let key = key();
    let (vault, newest) = with_history(&key, 10).await;
    for i in 0..3000 {
        let forged = format!("{i:025}/20261121T101010Z-00000000.swarmdr");
        vault.overlay_at(&forged, "forged", now());
    }
    let counted = Counted::new(vault);
    let latest = counted.latest(&key).await.unwrap();
    let (lists, reads) = counted.cost();
    println!("lists, reads with 3,000 clusters: {:?}", (lists, reads));
    assert_eq!(latest.head.manifest.id, newest);
    let said = latest.findings.lines();
    assert!(said.iter().any(|line| line.contains("name yours with --cluster")), "{said:?}");
    assert!(reads < 200 && lists < 300, "{lists} {reads}");
}

#[tokio::test]
async fn a_wrong_clock_finds_the_same() {
    let key = key();
    let (vault, newest) = with_history(&key, 1500).await;
    let vaults: [Arc<dyn Vault>; 1] = [vault];
    for clock in [Timestamp::UNIX_EPOCH, minute(-600 * 24 * 60), minute(9000 * 24 * 60), Timestamp::MAX] {
        let latest = find_latest(&vaults, &Filter::default(), &key.public().into(), clock).await.unwrap();
        assert_eq!(latest.head.manifest.id, newest, "{clock}");
    }
}

#[tokio::test]
async fn a_survey_sees_all_of_a_long_history_and_the_hole_in_it() {
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let (vault, _) = with_history(&key, 25).await;
    let survey = async |filter: &Filter| {
        let mut survey = Survey::new(filter, &keys, now());
        let mut seen = 0;
        let mut visit = survey.vault(vault.as_ref()).await;
        while let Some(found) = visit.next().await {
            assert!(found.lock.is_some());
            seen += 1;
        }
        (seen, survey.end().findings)
    };
    assert_eq!(survey(&Filter::default()).await, (25, vec![]));
    vault.remove(&ObjectName::new(cluster_id(), BackupId::new(minute(-10 * 24 * 60), [0xab; 4])).key());
    let (seen, findings) = survey(&Filter::default()).await;
    assert_eq!((seen, findings.len()), (24, 1), "{findings:?}");
    assert!(findings[0].contains("is in no vault, although its lock must hold"), "{findings:?}");
    // A part of the history says nothing about the rest.
    let before = Filter { before: Some(minute(-9 * 24 * 60)), ..Filter::default() };
    assert_eq!(survey(&before).await, (16, vec![]));
}

#[tokio::test]
async fn older_objects_that_may_not_be_read_cost_and_say_no_more_than_other_bad_ones() {
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let memory = Arc::new(vault("v"));
    let newest = archive(CLUSTER, 500, &key);
    store_bytes(memory.as_ref(), newest.name.key(), &newest.bytes, minute(500)).await.unwrap();
    // Put by someone who cannot make archives, with a key of encryption that only they have.
    for older in 0..400 {
        let archive = archive(CLUSTER, older, &key);
        store_bytes(memory.as_ref(), archive.name.key(), &archive.bytes, minute(600 + older)).await.unwrap();
    }
    let (kept, opened) = (newest.name.key(), Arc::new(AtomicU32::new(0)));
    let counter = opened.clone();
    let denied: Arc<dyn Vault> = Arc::new(InjectingVault::new(memory, move |call| match call {
        Call::Open { at, .. } if at.key != kept => {
            counter.fetch_add(1, Ordering::Relaxed);
            let (vault, action, detail) = ("v".into(), "read".into(), "403".into());
            Injected::Before(VaultError::AccessDenied { vault, action, detail })
        }
        _ => Injected::None,
    }));
    let latest = find_latest(&[denied], &Filter::default(), &keys, minute(2000)).await.unwrap();
    assert_eq!(latest.head.manifest.id, newest.name.id());
    let opened = opened.load(Ordering::Relaxed);
    assert!(opened < 200, "{opened} objects were opened");
    assert!(
        latest.findings.kept.is_empty(),
        "older ones than the newest good one are the survey's: {}",
        latest.findings
    );
}

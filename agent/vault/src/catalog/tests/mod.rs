//! Hostile and damaged vaults in memory, with real signed archives.

use std::sync::Arc;

use swarmdr_archive::{TrustedKeys, manifest::Proof};

use super::*;
use crate::{
    Vault,
    testkit::{
        archives::*,
        injector::{Call, Injected, InjectingVault, broken},
    },
};

mod clocks;
mod flood;
mod lives;

/// Time of the searching host, which is right unless a test says otherwise.
fn now() -> Timestamp {
    minute(60)
}

async fn walk(vault: &dyn Vault, keys: &TrustedKeys) -> (Vec<String>, Skipped) {
    let bounds = Bounds { batch: 2, ..Bounds::default() };
    let mut walk = Walk::new(vault, &cluster_id(), &Filter::default(), keys, now()).within(bounds);
    let mut lines = Vec::new();
    while let Some(entry) = walk.next().await.unwrap() {
        lines.push(entry.to_string());
    }
    (lines, walk.skipped().clone())
}

#[tokio::test]
async fn a_walk_goes_from_new_to_old_with_batches_of_any_size() {
    let (key, vault) = (key(), vault("v"));
    let archives: Vec<_> = (0..7).map(|minute| archive(CLUSTER, minute, &key)).collect();
    for archive in [3, 0, 6, 1, 5, 2, 4].map(|i: usize| &archives[i]) {
        put(&vault, archive).await;
    }
    vault.overlay("lost+found", "junk");
    vault.overlay(&format!("{CLUSTER}/README"), "junk");
    let (lines, skipped) = walk(&vault, &key.public().into()).await;
    let expected: Vec<_> = archives.iter().rev().map(|archive| format!("`{}`", archive.name)).collect();
    assert_eq!(lines.len(), 7);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(&expected) && line.ends_with("is good"), "{line}");
    }
    // Objects outside of the cluster are not listed.
    assert_eq!(skipped, Skipped { junk: 1, ..Skipped::default() });
}

#[tokio::test]
async fn the_newest_is_found_under_a_delete_marker_and_a_version_on_top() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let (first, second) = (archive(CLUSTER, 0, &key), archive(CLUSTER, 1, &key));
    put(vault.as_ref(), &first).await;
    put(vault.as_ref(), &second).await;
    vault.overlay(&second.name.key(), "forged");
    vault.hide(&second.name.key());
    let vaults: [Arc<dyn Vault>; 1] = [vault];
    let latest = find_latest(&vaults, &Filter::default(), &key.public().into(), now()).await.unwrap();
    assert_eq!(latest.head.manifest.id, second.name.id());
    assert_eq!(latest.size, second.bytes.len() as u64);
    assert!(latest.findings.to_string().contains("hidden by a delete marker"), "{}", latest.findings);
}

#[tokio::test]
async fn forged_damaged_misplaced_and_short_backups_are_reported_and_skipped() {
    let (ours, theirs) = (key(), key());
    let vault = Arc::new(vault("v"));
    let good = archive(CLUSTER, 0, &ours);
    put(vault.as_ref(), &good).await;
    put(vault.as_ref(), &archive(CLUSTER, 5, &theirs)).await;
    let name = |minute| archive(CLUSTER, minute, &ours).name.key();
    vault.overlay(&name(4), good.bytes.clone());
    vault.overlay(&name(3), "not an archive");
    vault.overlay(&name(2), archive(CLUSTER, 2, &ours).bytes[..archive(CLUSTER, 2, &ours).bytes.len() - 1].to_vec());
    let mut tampered = archive(CLUSTER, 1, &ours).bytes;
    let at = tampered.windows(8).position(|window| window == b"20.10.24").unwrap();
    tampered[at] = b'9';
    vault.overlay(&name(1), tampered);
    vault.overlay(&good.name.key(), good.bytes.clone());

    let vaults: [Arc<dyn Vault>; 1] = [vault];
    let latest = find_latest(&vaults, &Filter::cluster(cluster_id()), &ours.public().into(), now()).await.unwrap();
    assert_eq!(latest.head.manifest.id, good.name.id());
    let lines: Vec<_> = latest.findings.kept.iter().map(ToString::to_string).collect();
    let expected = [
        "not trusted here",
        &format!("is a copy of `{}` under another name", good.name),
        "is damaged: not a swarmdr archive",
        "bytes and should have",
        "is forged or altered: the signature",
        "is covered by another version with the same head",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{line} should contain {expected}");
    }
}

#[tokio::test]
async fn a_backup_that_a_broken_connection_hides_may_be_the_newest() {
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let memory = Arc::new(vault("v"));
    // The clock of the manager that made the newest one was behind: by its name it is older.
    let first = archive(CLUSTER, 5, &key);
    let second = following(Some(&first), CLUSTER, 2, &key);
    for (archive, stored) in [(&first, 5), (&second, 10)] {
        store_bytes(memory.as_ref(), archive.name.key(), &archive.bytes, minute(stored)).await.unwrap();
    }
    let latest = |vault: Arc<dyn Vault>| {
        let keys = keys.clone();
        async move { find_latest(&[vault], &Filter::default(), &keys, now()).await }
    };
    assert_eq!(latest(memory.clone()).await.unwrap().head.manifest.id, second.name.id());
    let hidden = second.name.key();
    let breaks = InjectingVault::new(memory, move |call| match call {
        Call::Open { at, .. } if at.key == hidden => Injected::Before(broken("memory://v", "read")),
        _ => Injected::None,
    });
    let breaks: Arc<dyn Vault> = Arc::new(breaks);
    let error = latest(breaks.clone()).await.unwrap_err();
    assert!(matches!(&error, CatalogError::Unanswered { silent, .. } if silent.len() == 1), "{error}");
    assert!(crate::renew::renew(breaks.as_ref(), None, &keys, now()).await.is_err());
}

#[tokio::test]
async fn an_older_backup_that_cannot_be_read_does_not_hide_the_newest() {
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let memory = Arc::new(vault("v"));
    let first = archive(CLUSTER, 2, &key);
    let second = following(Some(&first), CLUSTER, 5, &key);
    for archive in [&first, &second] {
        put(memory.as_ref(), archive).await;
    }
    let gone = first.name.key();
    let breaks: Arc<dyn Vault> = Arc::new(InjectingVault::new(memory, move |call| match call {
        Call::Open { at, .. } if at.key == gone => Injected::Before(broken("memory://v", "read")),
        _ => Injected::None,
    }));
    let latest = find_latest(&[breaks], &Filter::default(), &keys, now()).await.unwrap();
    assert_eq!(latest.head.manifest.id, second.name.id());
}

#[tokio::test]
async fn an_unproven_backup_is_taken_only_if_there_is_no_other() {
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let (first, second) = (Arc::new(vault("first")), Arc::new(vault("second")));
    let [proven, unproven, newest] = [(0, Proof::Proven), (1, Proof::Unproven), (2, Proof::Unproven)]
        .map(|(minute, proof)| archive_with(CLUSTER, minute, &key, proof));
    put(first.as_ref(), &unproven).await;
    put(first.as_ref(), &newest).await;
    let vaults: [Arc<dyn Vault>; 2] = [first.clone(), second.clone()];
    let find = async |filter: Filter| find_latest(&vaults, &filter, &keys, now()).await.unwrap();

    let latest = find(Filter::default()).await;
    assert_eq!(latest.head.manifest.id, newest.name.id(), "there is no other");
    assert!(latest.findings.is_empty(), "{}", latest.findings);
    put(second.as_ref(), &proven).await;
    let latest = find(Filter::default()).await;
    assert_eq!((latest.vault, latest.head.manifest.id), (1, proven.name.id()));
    let said = latest.findings.to_string();
    let wanted = format!("memory://first: `{}`", newest.name);
    assert!(said.contains(&wanted) && said.contains("did not replay when it was made"), "{said}");
    put(first.as_ref(), &proven).await;
    let latest = find(Filter::default()).await;
    assert_eq!((latest.vault, latest.head.manifest.id), (0, proven.name.id()));
    assert_eq!(latest.findings.kept.len(), 1, "{}", latest.findings);
    let latest = find(Filter { id: Some(unproven.name.id()), ..Filter::default() }).await;
    assert_eq!(latest.head.manifest.id, unproven.name.id(), "taken if it is named");
}

#[tokio::test]
async fn of_two_from_one_second_the_signed_number_says_which_is_newer() {
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let first = tagged(None, 0, 0xff, &key);
    let second = tagged(Some(&first), 0, 0x77, &key);
    let third = tagged(Some(&second), 0, 0x00, &key);
    let (one, two) = (Arc::new(vault("one")), Arc::new(vault("two")));
    for archive in [&first, &second, &third] {
        put(one.as_ref(), archive).await;
    }
    put(two.as_ref(), &second).await;
    for vaults in [vec![one.clone() as Arc<dyn Vault>], vec![two.clone(), one.clone()], vec![one, two]] {
        let latest = find_latest(&vaults, &Filter::default(), &keys, now()).await.unwrap();
        assert_eq!(latest.head.manifest.id, third.name.id());
        assert!(latest.findings.is_empty(), "{}", latest.findings);
        let mut walk = Walk::new(vaults[0].as_ref(), &cluster_id(), &Filter::default(), &keys, now());
        let mut sequences = Vec::new();
        while let Some(entry) = walk.next().await.unwrap() {
            let Verdict::Good(head) = entry.verdict else { panic!("{entry}") };
            sequences.push(head.manifest.sequence);
        }
        assert!(sequences.is_sorted_by(|newer, older| newer > older), "{sequences:?}");
    }
}

#[tokio::test]
async fn a_filter_takes_an_id_or_a_time() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let archives: Vec<_> = (0..3).map(|minute| archive(CLUSTER, minute, &key)).collect();
    for archive in &archives {
        put(vault.as_ref(), archive).await;
    }
    let vaults: [Arc<dyn Vault>; 1] = [vault];
    let keys = TrustedKeys::from(key.public());
    for cluster in [None, Some(cluster_id())] {
        let filter = Filter { id: Some(archives[1].name.id()), cluster: cluster.clone(), ..Filter::default() };
        assert_eq!(find_latest(&vaults, &filter, &keys, now()).await.unwrap().head.manifest.id, archives[1].name.id());
        let filter = Filter { before: Some(archives[1].name.id().created_at()), cluster, ..Filter::default() };
        assert_eq!(find_latest(&vaults, &filter, &keys, now()).await.unwrap().head.manifest.id, archives[0].name.id());
    }
}

#[tokio::test]
async fn two_clusters_need_a_choice_unless_the_second_is_forged() {
    let (ours, theirs) = (key(), key());
    let keys = TrustedKeys::from(ours.public());
    let vault = Arc::new(vault("v"));
    put(vault.as_ref(), &archive(CLUSTER, 0, &ours)).await;
    put(vault.as_ref(), &archive(OTHER, 1, &theirs)).await;
    let vaults: [Arc<dyn Vault>; 1] = [vault.clone()];
    let latest = find_latest(&vaults, &Filter::default(), &keys, now()).await.unwrap();
    assert_eq!(latest.head.manifest.cluster_id.as_str(), CLUSTER);

    put(vault.as_ref(), &archive(OTHER, 2, &ours)).await;
    let error = find_latest(&vaults, &Filter::default(), &keys, now()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the vaults hold backups of 2 clusters: {OTHER}, {CLUSTER}; say which one is meant")
    );
    let latest = find_latest(&vaults, &Filter::cluster(OTHER.parse().unwrap()), &keys, now()).await.unwrap();
    assert_eq!(latest.head.manifest.cluster_id.as_str(), OTHER);
}

#[tokio::test]
async fn while_a_vault_is_silent_the_newest_is_not_known() {
    let key = key();
    let keys = TrustedKeys::from(key.public());
    let (old, new) = (vault("old"), vault("new"));
    put(&old, &archive(CLUSTER, 0, &key)).await;
    put(&new, &archive(CLUSTER, 1, &key)).await;
    let down = InjectingVault::new(Arc::new(new), |call| match call {
        Call::List { .. } => Injected::Before(broken("memory://new", "list")),
        _ => Injected::None,
    });
    let vaults: [Arc<dyn Vault>; 2] = [Arc::new(down), Arc::new(old)];
    let id = |minute| archive(CLUSTER, minute, &key).name.id();
    let by_id = |minute| Filter { id: Some(id(minute)), ..Filter::default() };
    for enough in [Filter { any_vault: true, ..Filter::default() }, by_id(0)] {
        let latest = find_latest(&vaults, &enough, &keys, now()).await.unwrap();
        assert_eq!((latest.vault, latest.head.manifest.id), (1, id(0)));
        assert!(latest.findings.to_string().contains("memory://new: failed to list"), "{}", latest.findings);
    }

    // The silent vault may hold a newer backup, or the only one.
    let before = Filter { before: Some(minute(30)), ..Filter::default() };
    let any = Filter { any_vault: true, ..Filter::default() };
    for (searched, filter, known) in [
        (&vaults[..], Filter::default(), Some(id(0))),
        (&vaults[..], before, Some(id(0))),
        (&vaults[..], by_id(1), None),
        (&vaults[..1], Filter::default(), None),
        (&vaults[..1], any, None),
    ] {
        let error = find_latest(searched, &filter, &keys, now()).await.unwrap_err();
        let CatalogError::Unanswered { silent, other, .. } = &error else { panic!("{error}") };
        assert_eq!((silent.as_slice(), *other), (&["memory://new".to_owned()][..], known), "{filter:?}");
        assert!(error.to_string().starts_with("memory://new: failed to list"), "{error}");
    }
}

//! Tests of which signs count, and of what cannot hide them.

use std::sync::Arc;

use swarmdr_archive::SecretKey;
use swarmdr_vault::{
    VaultSettings,
    testkit::{
        archives::{key, vault},
        injector::{Injected, InjectingVault, broken},
        memory::MemoryVault,
    },
};

use super::*;

/// A sign of a site that was left so many seconds ago, with two minutes between two signs.
pub fn sign(site: &str, age: i64) -> Sign {
    let stored_at = now() - SignedDuration::from_secs(age);
    Sign { vault: "memory://v".to_owned(), stored_at, age, sign: document_of(site, "n1", None) }
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("is a time")
}

fn cluster() -> ClusterId {
    "c".parse().expect("is an id")
}

fn document_of(site: &str, node: &str, claim: Option<&str>) -> SignOfLife {
    SignOfLife {
        version: SignOfLife::VERSION,
        host: "a".to_owned(),
        cluster_id: cluster(),
        node_id: node.parse().expect("is an id"),
        site: site.to_owned(),
        claim_id: claim.map(str::to_owned),
        address: "10.0.0.5:2377".to_owned(),
        at: now(),
        every: 120,
    }
}

fn put(vault: &MemoryVault, key: &SecretKey, document: &SignOfLife, age: i64) {
    let node = SwarmNode { cluster: cluster(), node: document.node_id.clone() };
    put_at(vault, &document::key_of(&node, &document.host), document.seal(key).expect("is small"), age);
}

fn put_at(vault: &MemoryVault, place: &str, content: Vec<u8>, age: i64) {
    vault.overlay_at(place, content, now() - SignedDuration::from_secs(age));
}

fn connected(vault: impl Vault + 'static) -> Connected {
    Connected { settings: VaultSettings::new(vault.address()), vault: Arc::new(vault) }
}

async fn seen(vault: MemoryVault, key: &SecretKey, own: &Own) -> Seen {
    look(&[connected(vault)], &cluster(), &TrustedKeys::from(key.public()), own, now()).await
}

fn sites(seen: &Seen) -> Vec<&str> {
    seen.signs.iter().map(|sign| sign.sign.site.as_str()).collect()
}

#[tokio::test]
async fn a_site_lives_until_its_last_sign_is_old_by_the_vaults_clock() {
    for (age, lives) in [(0, true), (419, true), (420, false), (-60, true)] {
        let (key, vault) = (key(), vault("v"));
        put(&vault, &key, &document_of("fra1", "n1", None), age);
        let seen = seen(vault, &key, &Own::default()).await;
        assert_eq!(seen.fresh_foreign(&FencedAt::new()).is_some(), lives, "{age}");
        assert!(seen.doubts.is_empty(), "{:?}", seen.doubts);
        assert!(seen.is_used, "an old sign shows that signs are left");
    }
}

#[tokio::test]
async fn the_newest_of_each_node_counts_and_the_freshest_is_named() {
    let (key, vault) = (key(), vault("v"));
    put(&vault, &key, &document_of("old", "n1", None), 900);
    put(&vault, &key, &document_of("young", "n2", None), 100);
    put(&vault, &key, &document_of("younger", "n2", None), 50);
    let seen = seen(vault, &key, &Own::default()).await;
    assert_eq!(sites(&seen), ["old", "younger"]);
    assert_eq!(seen.fresh_foreign(&FencedAt::new()).map(|sign| sign.sign.site.as_str()), Some("younger"));
    let fenced = now() - SignedDuration::from_secs(50);
    let after = |fenced| seen.fresh_foreign(&FencedAt::from([("memory://v".to_owned(), fenced)]));
    assert_eq!(after(fenced), None, "what was left before the fence does not count");
    assert_eq!(after(now() + CLOCK_STEP), None);
    let later = now() + CLOCK_STEP + SignedDuration::from_secs(1);
    assert!(after(later).is_some(), "the clock was set back, so whether it came before is not known");
}

/// The restored manager has the node id of the old one.
#[tokio::test]
async fn own_signs_do_not_hide_another_site_and_none_of_them_is_foreign() {
    let (key, vault) = (key(), vault("v"));
    put(&vault, &key, &document_of("old", "n1", None), 100);
    let mine = || SignOfLife { host: "b".to_owned(), ..document_of("new", "n1", Some("claim")) };
    for age in [130, 90, 10] {
        put(&vault, &key, &mine(), age);
    }
    let own = Own { host: Some("b".to_owned()), signed: None };
    let found = seen(vault, &key, &own).await;
    assert_eq!(sites(&found), ["old"]);
    assert!(found.doubts.is_empty(), "{:?}", found.doubts);
}

#[tokio::test]
async fn a_living_site_that_this_host_once_brought_up_is_seen() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
    let id = crate::claims::ClaimId::of(5);
    crate::claims::Record::new(cluster(), 5, id, crate::claims::Stage::Used).write(&config).expect("writes");
    let (key, vault) = (key(), vault("v"));
    put(&vault, &key, &document_of("dub1", "n2", Some(&id.to_string())), 10);
    let found = seen(vault, &key, &Own::of_host(&config)).await;
    assert_eq!(sites(&found), ["dub1"]);
}

/// Two sites that never claimed the cluster are not the same one.
/// The spare host was made from the disk of a manager, with the id of its signs.
#[tokio::test]
async fn the_host_that_this_one_is_a_copy_of_is_another_one() {
    let (key, vault) = (key(), vault("v"));
    let second = SignedDuration::from_secs(1);
    let left = |at| SignOfLife { at, ..document_of("fra1", "n1", None) };
    let copied = now() - SignedDuration::from_secs(100);
    put(&vault, &key, &left(copied), 100);
    let own = || Own { host: Some("a".to_owned()), signed: Some(copied) };
    let none = FencedAt::new();
    let connected = [connected(vault)];
    let seen = look(&connected, &cluster(), &TrustedKeys::from(key.public()), &own(), now()).await;
    assert_eq!(seen.fresh_foreign(&none), None, "it is this host's own, from before or after");
    let seen = {
        let Connected { vault, .. } = &connected[0];
        let packed = left(copied + second).seal(&key).expect("is small");
        let node = SwarmNode { cluster: cluster(), node: "n1".parse().expect("is an id") };
        swarmdr_vault::replace(vault.as_ref(), &document::key_of(&node, "a"), &packed, now()).await.expect("is put");
        look(&connected, &cluster(), &TrustedKeys::from(key.public()), &own(), now()).await
    };
    assert_eq!(seen.fresh_foreign(&none).map(|sign| sign.sign.site.as_str()), Some("fra1"), "the other one lives");
}

#[tokio::test]
async fn a_sign_without_a_claim_is_foreign_to_a_host_without_one() {
    let (key, vault) = (key(), vault("v"));
    put(&vault, &key, &document_of("fra1", "n1", None), 10);
    assert_eq!(sites(&seen(vault, &key, &Own::default()).await), ["fra1"]);
}

#[tokio::test]
async fn what_is_no_sign_is_told_and_does_not_hide_the_one_below() {
    let (trusted, other, vault) = (key(), key(), vault("v"));
    put(&vault, &trusted, &document_of("fra1", "n1", None), 300);
    put(&vault, &other, &document_of("forged", "n1", None), 200);
    put_at(&vault, "life/c/n1-a", b"junk".to_vec(), 100);
    put_at(&vault, "life/c/n1-a", vec![0; RECEIPT_MAX as usize + 1], 90);
    // A sign of another node, moved here.
    put_at(&vault, "life/c/n1-a", document_of("moved", "n2", None).seal(&trusted).expect("is small"), 80);
    vault.hide("life/c/n1-a");
    put_at(&vault, "life/c/not/a node", b"junk".to_vec(), 80);
    let seen = seen(vault, &trusted, &Own::default()).await;
    assert_eq!(sites(&seen), ["fra1"]);
    let [doubt] = seen.doubts.as_slice() else { panic!("{:?}", seen.doubts) };
    assert!(doubt.contains("4 of the newest versions of life/c/n1-a are no sign of life"), "{doubt}");
    assert!(seen.hidden.is_empty(), "the one below is fresh");
}

#[tokio::test]
async fn a_sign_below_a_thousand_versions_of_junk_is_not_found_and_that_is_told() {
    let (key, vault) = (key(), vault("v"));
    put(&vault, &key, &document_of("fra1", "n1", None), 300);
    for _ in 0..2500 {
        put_at(&vault, "life/c/n1-a", b"junk".to_vec(), 200);
    }
    put(&vault, &key, &document_of("fra1", "n2", None), 300);
    let seen = seen(vault, &key, &Own::default()).await;
    assert_eq!(seen.signs.len(), 1, "that of the other node");
    assert!(seen.doubts[0].contains("12 of the newest versions"), "{:?}", seen.doubts);
}

#[tokio::test]
async fn a_thousand_nodes_are_not_all_read_and_that_is_told() {
    let (key, vault) = (key(), vault("v"));
    for node in 0..1000 {
        put_at(&vault, &format!("life/c/n{node:04}-a"), b"junk".to_vec(), 9_000_000);
    }
    let seen = seen(vault, &key, &Own::default()).await;
    assert!(seen.doubts[0].contains("more than 64 nodes"), "{:?}", seen.doubts);
}

#[tokio::test]
async fn a_vault_that_cannot_be_asked_is_a_doubt_and_the_other_one_is_heard() {
    let (key, living) = (key(), vault("v"));
    put(&living, &key, &document_of("fra1", "n1", None), 10);
    let silent = InjectingVault::new(Arc::new(vault("w")), |_| Injected::Before(broken("memory://w", "list")));
    let vaults = [connected(silent), connected(living)];
    let seen = look(&vaults, &cluster(), &TrustedKeys::from(key.public()), &Own::default(), now()).await;
    assert_eq!(sites(&seen), ["fra1"]);
    assert!(seen.doubts.len() == 1 && seen.doubts[0].contains("memory://w"), "{:?}", seen.doubts);
}

#[tokio::test]
async fn a_vault_that_never_answers_is_given_up_in_time() {
    let (key, living) = (key(), vault("v"));
    put(&living, &key, &document_of("fra1", "n1", None), 10);
    let vaults = [connected(InjectingVault::new(Arc::new(vault("w")), |_| Injected::Silence)), connected(living)];
    let (limit, keys) = (Duration::from_millis(200), TrustedKeys::from(key.public()));
    let begun = std::time::Instant::now();
    let seen = look_within(limit, &vaults, &cluster(), &keys, &Own::default(), now()).await;
    assert!(begun.elapsed() < VAULT_LIMIT / 2, "{:?}", begun.elapsed());
    assert_eq!(sites(&seen), ["fra1"]);
    assert!(seen.doubts.len() == 1 && seen.doubts[0].contains("did not answer within 200ms"), "{:?}", seen.doubts);
}

#[tokio::test]
async fn an_ended_key_signs_no_life() {
    let (key, vault) = (key(), vault("v"));
    put(&vault, &key, &document_of("thief", "n1", None), 10);
    let mut keys = TrustedKeys::new();
    keys.insert_until(key.public(), Some(now() - SignedDuration::from_secs(60)));
    let seen = look(&[connected(vault)], &cluster(), &keys, &Own::default(), now()).await;
    assert!(seen.signs.is_empty() && seen.doubts.len() == 1 && seen.hidden == seen.doubts, "{seen:?}");
}

#[test]
fn texts_of_others_do_not_steer_the_terminal() {
    crate::outcome::terminal::tests::assert_tame(|text| {
        let mut sign = sign(text, 1);
        sign.sign.address = text.to_owned();
        sign.vault = text.to_owned();
        sign
    });
}

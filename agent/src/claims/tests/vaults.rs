//! Vaults that are away, full, silent, or take nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn credentials_that_may_not_claim_stop_only_who_asked_for_claims() {
    let host = Host::with(&Identities::generate());
    let vaults = [connected(failing(&Arc::new(locking()), denied), "v")];
    match host.attempt(&vaults, 0, &terms()).await {
        Ok(Outcome::NotMade { why, perhaps: None }) => {
            assert!(why[0].contains("does not have the claim"), "{why:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(Record::read(&host.config, &cluster()), None);
    match host.attempt(&vaults, 0, &Terms { demand: Demand::Always, ..terms() }).await {
        Err((Exit::Failed, text)) => assert!(text.contains("policy-restore.json"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_vault_that_is_away_is_told_and_one_is_enough() {
    let identities = Identities::generate();
    let (a, b) = (Arc::new(locking()), Arc::new(locking()));
    let away = |vault: &Arc<MemoryVault>| failing(vault, |call| Some(broken("a", &format!("{call:?}"))));
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let partly = [connected(away(&a), "a"), connected(Arc::clone(&b) as Arc<dyn Vault>, "b")];
    let made = first.claim(&partly, 0, &terms()).await;
    assert_eq!((made.vaults.as_slice(), made.attention.len()), (&["s3://b".to_owned()][..], 1), "{made:?}");
    // Another host, which reaches both, is stopped by the one that has the claim.
    let both = [connected(Arc::clone(&a) as Arc<dyn Vault>, "a"), connected(Arc::clone(&b) as Arc<dyn Vault>, "b")];
    second.refused(&both, 60, Exit::NotOurTurn).await;
    // With none at all nothing goes on, unless the backup does not come from a vault either.
    let none = [connected(away(&a), "a")];
    assert!(matches!(second.attempt(&none, 60, &terms()).await, Err((Exit::Failed, _))));
    let from_file = Terms { demand: Demand::IfPossible, ..terms() };
    assert!(matches!(second.attempt(&none, 60, &from_file).await, Ok(Outcome::NotMade { .. })));
}

/// A vault that swallows packets must not hold up a promotion.
#[tokio::test]
async fn a_vault_that_never_answers_is_given_up_in_time_and_told() {
    const LIMIT: Duration = Duration::from_millis(200);
    let host = Host::with(&Identities::generate());
    let silent = || {
        let vault = InjectingVault::new(Arc::new(locking()), |_| Injected::Silence);
        connected(Arc::new(vault), "a")
    };
    let hurried = Terms { limit: Some(LIMIT), demand: Demand::IfPossible, ..terms() };
    let begun = std::time::Instant::now();
    match host.attempt(&[silent()], 0, &hurried).await {
        Ok(Outcome::NotMade { why, perhaps: Some(_) }) => {
            assert!(why[0].contains("did not answer within 200ms"), "{why:?}");
        }
        other => panic!("{other:?}"),
    }
    // The other one takes the claim all the same.
    let made = host.claim(&[silent(), connected(Arc::new(locking()), "b")], 0, &hurried).await;
    assert_eq!((made.vaults.as_slice(), made.attention.len()), (&["s3://b".to_owned()][..], 1), "{made:?}");
    assert!(begun.elapsed() < READ_LIMIT / 2, "{:?}", begun.elapsed());
}

/// Two hosts that begin while each reaches another vault: the one that reaches the other's claim later gives way.
#[tokio::test]
async fn a_claim_that_loses_in_the_second_vault_is_given_up_in_the_first() {
    let identities = Identities::generate();
    let (a, b) = (Arc::new(locking()), Arc::new(locking()));
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let rival = Arc::clone(&b);
    let key = Name::Claim(1).key(&cluster());
    let packed = testkit::packed(&testkit::claim(1, 9, None), second.promoter.signer.as_ref().expect("has one"));
    // The rival's claim comes to be in b while the first host is busy with a.
    let busy = InjectingVault::new(Arc::clone(&a) as Arc<dyn Vault>, move |call| {
        if matches!(call, Call::Put { key: put } if *put == key) {
            rival.overlay_at(&key, packed.clone(), second_at(0));
        }
        Injected::None
    });
    let vaults = [connected(Arc::new(busy), "a"), connected(Arc::clone(&b) as Arc<dyn Vault>, "b")];
    first.refused(&vaults, 1, Exit::NotOurTurn).await;
    let (in_a, in_b) = (first.read(a.as_ref(), 60).await, first.read(b.as_ref(), 60).await);
    assert_eq!(judge(&in_a, &Ended::of([&in_a]))[0].status, Status::Released);
    assert_eq!(newest(&judge(&in_b, &Ended::of([&in_a, &in_b]))).expect("holds").claim.claim_id, ClaimId::of(9));
}

#[tokio::test]
async fn a_lost_reply_makes_no_second_claim() {
    let host = Host::with(&Identities::generate());
    let vault = Arc::new(locking());
    let once = std::sync::atomic::AtomicBool::new(true);
    let lossy = InjectingVault::new(Arc::clone(&vault) as Arc<dyn Vault>, move |call| match call {
        Call::Put { .. } if once.swap(false, std::sync::atomic::Ordering::Relaxed) => {
            Injected::After(broken("v", "store"))
        }
        _ => Injected::None,
    });
    let made = host.claim(&[connected(Arc::new(lossy), "v")], 0, &terms()).await;
    let listed = vault.list_versions("", None).await.expect("lists").versions;
    assert_eq!((listed.len(), made.claim.epoch), (1, 1));
    let at = &listed[0].at;
    assert!(vault.head(at).await.expect("is there").lock.is_some(), "it is locked");
}

#[tokio::test]
async fn a_full_vault_stops_only_who_asked_for_claims() {
    let host = Host::with(&Identities::generate());
    let full = |call: &Call| {
        let (vault, action, detail) = ("v".to_owned(), "store".to_owned(), "0 free".to_owned());
        matches!(call, Call::Put { .. }).then_some(VaultError::NoSpace { vault, action, detail })
    };
    let vaults = [connected(failing(&Arc::new(locking()), full), "v")];
    assert!(matches!(host.attempt(&vaults, 0, &terms()).await, Ok(Outcome::NotMade { .. })));
    let asked = Terms { demand: Demand::Always, ..terms() };
    assert!(matches!(host.attempt(&vaults, 0, &asked).await, Err((Exit::Failed, _))));
}

/// A vault that stores the claim and never answers after that, and what happens at that moment.
fn silent_after_the_claim(inner: &Arc<MemoryVault>, meanwhile: impl Fn() + Send + Sync + 'static) -> Arc<dyn Vault> {
    let (is_put, is_silent) = (AtomicBool::new(false), AtomicBool::new(false));
    Arc::new(InjectingVault::new(Arc::clone(inner) as Arc<dyn Vault>, move |call| {
        if is_put.load(Ordering::Relaxed) {
            if !is_silent.swap(true, Ordering::Relaxed) {
                meanwhile();
            }
            return Injected::Silence;
        }
        is_put.store(matches!(call, Call::Put { .. }), Ordering::Relaxed);
        Injected::None
    }))
}

/// Its reply came too late. The swarm carries it, so nobody takes it for that of another site.
#[tokio::test]
async fn a_claim_that_may_be_there_is_told_and_belongs_to_its_site() {
    let identities = Identities::generate();
    let (host, manager) = (Host::with(&identities), Host::with(&identities));
    let vault = Arc::new(locking());
    let slow = [connected(silent_after_the_claim(&vault, || ()), "v")];
    let hurried = |demand| Terms { limit: Some(Duration::from_millis(200)), demand, ..fenced() };
    let Ok(Outcome::NotMade { perhaps: Some(claim), .. }) = host.attempt(&slow, 0, &hurried(Demand::IfPossible)).await
    else {
        panic!("it is not known to be made")
    };
    assert_eq!(holder(&host, vault.as_ref()).await.as_ref(), Some(claim.as_ref()));
    let whole = [connected(Arc::clone(&vault) as Arc<dyn Vault>, "v")];
    let judged = standing_of(&manager, &whole, Some(claim.claim_id), HOUR).await;
    assert!(matches!(judged.standing, standing::Standing::Own { .. }), "{judged:?}");
    // Where nothing goes on without a claim, what ends it is said, and a run in time goes on with it.
    let (other, vault) = (Host::with(&identities), Arc::new(locking()));
    let slow = [connected(silent_after_the_claim(&vault, || ()), "v")];
    match other.attempt(&slow, 0, &hurried(Demand::Always)).await {
        Err((Exit::Failed, text)) => assert!(text.contains("step-down --claim 1"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(other.claim(&[connected(vault, "v")], 60, &terms()).await.is_earlier);
}

#[tokio::test]
async fn a_loser_ends_its_claim_also_for_the_vault_that_did_not_answer() {
    let identities = Identities::generate();
    let (host, rival, old) = (Host::with(&identities), Host::with(&identities), Host::with(&identities));
    let (a, b) = (Arc::new(locking()), Arc::new(locking()));
    let signer = rival.promoter.signer.as_ref().expect("has one");
    let (theirs, key) = (testkit::claim(1, 9, None), Name::Claim(1).key(&cluster()));
    let (packed, other) = (testkit::packed(&theirs, signer), Arc::clone(&b));
    let slow = silent_after_the_claim(&a, move || drop(other.overlay_at(&key, packed.clone(), second_at(0))));
    let hurried = Terms { limit: Some(Duration::from_millis(200)), demand: Demand::Always, ..terms() };
    let in_b = connected(Arc::clone(&b) as Arc<dyn Vault>, "b");
    match host.attempt(&[connected(slow, "a"), in_b.clone()], 1, &hurried).await {
        Err((Exit::NotOurTurn, text)) => assert!(!text.contains("step-down"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!((host.read(a.as_ref(), 60).await.claims.len(), host.read(b.as_ref(), 60).await.releases.len()), (1, 1));
    assert_eq!(Record::read(&host.config, &cluster()), None);
    // The winner is undone too: no claim is left that supersedes the old site.
    let both = [connected(a, "a"), in_b];
    release(&both, signer, &theirs, ReleaseKind::Undone, "undone", second_at(9)).await.expect("ends");
    let judged = standing_of(&old, &both, None, HOUR).await;
    assert_eq!(judged.standing, standing::Standing::Unclaimed);
}

/// The record stays until a vault took the release.
#[tokio::test]
async fn a_loser_whose_release_nobody_takes_is_told_how_to_end_its_claim() {
    let identities = Identities::generate();
    let (host, rival) = (Host::with(&identities), Host::with(&identities));
    let a = Arc::new(locking().ignoring_conditions());
    let packed = testkit::packed(&testkit::claim(1, 9, None), rival.promoter.signer.as_ref().expect("has one"));
    let (key, inner, puts) = (Name::Claim(1).key(&cluster()), Arc::clone(&a), AtomicUsize::new(0));
    let full = failing(&a.clone(), move |call| match call {
        // The rival was there a moment before.
        Call::Put { .. } if puts.fetch_add(1, Ordering::Relaxed) == 0 => {
            inner.overlay_at(&key, packed.clone(), second_at(0));
            None
        }
        Call::Put { key, .. } if key.ends_with(".released") => Some(broken("a", "store")),
        _ => None,
    });
    let text = host.refused(&[connected(full, "a")], 1, Exit::NotOurTurn).await;
    assert!(text.contains("step-down --claim 1"), "{text}");
    let in_a = host.read(a.as_ref(), 60).await;
    assert!(in_a.claims.iter().any(|seen| seen.claim.claim_id != ClaimId::of(9)) && in_a.releases.is_empty());
    assert!(Record::read(&host.config, &cluster()).is_some());
}

//! Vaults that are away, full, silent, or take nothing.

use super::*;

#[tokio::test]
async fn credentials_that_may_not_claim_stop_only_who_asked_for_claims() {
    let host = Host::with(&Identities::generate());
    let vaults = [connected(failing(&Arc::new(locking()), denied), "v")];
    match host.attempt(&vaults, 0, &terms()).await {
        Ok(Outcome::NotMade(why)) => assert!(why[0].contains("does not have the claim"), "{why:?}"),
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
    assert!(matches!(second.attempt(&none, 60, &from_file).await, Ok(Outcome::NotMade(_))));
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
        Ok(Outcome::NotMade(why)) => assert!(why[0].contains("did not answer within 200ms"), "{why:?}"),
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
    assert!(matches!(host.attempt(&vaults, 0, &terms()).await, Ok(Outcome::NotMade(_))));
    let asked = Terms { demand: Demand::Always, ..terms() };
    assert!(matches!(host.attempt(&vaults, 0, &asked).await, Err((Exit::Failed, _))));
}

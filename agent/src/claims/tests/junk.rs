//! Objects among the claims that are none.

use super::*;

#[tokio::test]
async fn who_has_a_managers_keys_makes_no_claim_and_hides_none() {
    let identities = Identities::generate();
    let host = Host::with(&identities);
    let (vault, vaults) = one(locking());
    let made = host.claim(&vaults, 0, &terms()).await;
    let (key_of, thief) = (|epoch| Name::Claim(epoch).key(&cluster()), key());
    // Signed by a manager; under another epoch and another cluster; on top; a marker over it.
    let forged = testkit::packed(&testkit::claim(2, 7, None), &thief);
    vault.overlay_at(&key_of(2), forged.clone(), second_at(5));
    let genuine = testkit::packed(&made.claim, host.promoter.signer.as_ref().expect("has one"));
    vault.overlay_at(&key_of(3), genuine.clone(), second_at(6));
    vault.overlay_at(&key_of(1), "junk", second_at(7));
    vault.overlay_at(&key_of(1), forged, second_at(7));
    vault.overlay_at(&key_of(1), genuine, second_at(8));
    vault.hide(&key_of(1));
    let reading = host.read(vault.as_ref(), 60).await;
    assert_eq!(holder(&host, vault.as_ref()).await, Some(made.claim.clone()));
    assert_eq!(judge(&reading, &Ended::of([&reading]))[0].seen.stored, second_at(0), "the first counts");
    assert_eq!((reading.others, reading.findings().len()), (4, 4), "{:?}", reading.findings());
    let moved = format!("claims/{}/00000001.claim", "a1111111111111111111111111");
    vault.overlay_at(&moved, "junk", second_at(9));
    let another = "a1111111111111111111111111".parse().expect("is an id");
    let elsewhere = read(vault.as_ref(), Query::new(&another, &host.promoter.trusted, second_at(60))).await;
    assert!(elsewhere.expect("reads").claims.is_empty());
    // The epochs under which the junk lies are passed over.
    let next = Host::with(&identities).claim(&vaults, HOUR, &terms()).await;
    assert_eq!(next.claim.epoch, 4);
    assert!(!next.attention.is_empty(), "the junk is told");
}

/// A thief reads the listing as everybody does, and puts junk under the next key right before each put.
#[tokio::test]
async fn junk_under_the_next_key_delays_and_never_gives_two() {
    let identities = Identities::generate();
    let vault = Arc::new(locking());
    let squatter = |times: u32| {
        let (inner, left) = (Arc::clone(&vault), std::sync::atomic::AtomicU32::new(times));
        let vault = InjectingVault::new(Arc::clone(&vault) as Arc<dyn Vault>, move |call| {
            use std::sync::atomic::Ordering::Relaxed;
            if let Call::Put { key } = call
                && left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                inner.overlay(key, "junk");
            }
            Injected::None
        });
        vec![connected(Arc::new(vault), "v")]
    };
    let host = Host::with(&identities);
    let made = host.claim(&squatter(3), 0, &terms()).await;
    assert_eq!(made.claim.epoch, 4);
    let text = Host::with(&identities).refused(&squatter(1000), HOUR, Exit::Refused).await;
    assert!(text.contains("--without-claim"), "{text}");
}

#[tokio::test]
async fn a_flood_of_junk_is_told_and_the_operator_decides() {
    let identities = Identities::generate();
    let host = Host::with(&identities);
    let (vault, vaults) = one(locking());
    let made = host.claim(&vaults, 0, &terms()).await;
    for epoch in 2..1000 {
        vault.overlay_at(&Name::Claim(epoch).key(&cluster()), candidate(), second_at(60));
    }
    let reading = host.read(vault.as_ref(), 100).await;
    assert!(!reading.is_whole);
    assert!(reading.findings().iter().any(|found| found.contains("one may be hidden")), "{:?}", reading.findings());
    assert_eq!(holder(&host, vault.as_ref()).await, Some(made.claim), "what was there before is found");
    let text = Host::with(&identities).refused(&vaults, HOUR, Exit::Refused).await;
    assert!(text.contains("--without-claim") && text.contains("--fenced"), "{text}");
    // The operator vouches for it. The claim is seen below all of the junk, and a run that was killed goes on with it.
    let next = Host::with(&identities);
    let fenced = next.claim(&vaults, HOUR, &fenced()).await;
    assert_eq!(fenced.claim.epoch, minutes(HOUR), "after what may be hidden");
    assert!(fenced.attention.iter().any(|told| told.contains("one may be hidden")), "{:?}", fenced.attention);
    let again = next.claim(&vaults, HOUR + 60, &terms()).await;
    assert!(again.is_earlier && !again.attention.is_empty(), "{again:?}");
    let judged = standing_of(&next, &vaults, None, 2 * HOUR).await;
    assert!(matches!(judged.standing, standing::Standing::Own { .. }), "{judged:?}");
    let judged = standing_of(&host, &vaults, None, 2 * HOUR).await;
    assert!(!judged.is_settled, "what is hidden may be a release");
    // Twenty thousand versions on one key cost sixteen requests.
    let (vault, _) = one(locking());
    for second in 0..20_000 {
        vault.overlay_at(&Name::Claim(1).key(&cluster()), "x".repeat(1 << 16), second_at(second));
    }
    let reading = host.read(vault.as_ref(), 100).await;
    assert!(!reading.is_whole && reading.others == 16_000);
}

/// Junk that could be a claim by its size.
fn candidate() -> Vec<u8> {
    vec![b'x'; 4096]
}

/// Five hundred requests are for those that can be claims.
#[tokio::test]
async fn junk_that_is_too_small_for_a_claim_stops_nobody() {
    let identities = Identities::generate();
    let (vault, vaults) = one(locking());
    for epoch in 1..1000 {
        vault.overlay_at(&Name::Claim(epoch).key(&cluster()), "junk", second_at(0));
    }
    let made = Host::with(&identities).claim(&vaults, 60, &terms()).await;
    assert_eq!((made.claim.epoch, made.attention.is_empty()), (1000, false));
}

/// More than a listing of that many pages shows.
#[tokio::test]
async fn an_own_claim_is_found_below_any_amount_of_junk() {
    let host = Host::with(&Identities::generate());
    let (vault, vaults) = one(locking());
    for second in 0..17_000 {
        vault.overlay_at(&Name::Claim(1).key(&cluster()), candidate(), second_at(second));
    }
    let made = host.claim(&vaults, 20_000, &fenced()).await;
    assert_eq!(made.claim.epoch, minutes(20_000));
    let judged = standing_of(&host, &vaults, None, 20_000 + HOUR).await;
    assert!(matches!(judged.standing, standing::Standing::Own { .. }), "{judged:?}");
}

#[tokio::test]
async fn a_claim_of_a_kind_that_is_not_known_yet_is_told() {
    let host = Host::with(&Identities::generate());
    let (vault, _) = one(locking());
    let later = Claim { version: 2, ..testkit::claim(1, 1, None) };
    let signer: &SecretKey = host.promoter.signer.as_ref().expect("has one");
    let now: Timestamp = second_at(0);
    store_bytes(vault.as_ref(), Name::Claim(1).key(&cluster()), &testkit::packed(&later, signer), now)
        .await
        .expect("is stored");
    let reading = host.read(vault.as_ref(), 1).await;
    assert!(reading.claims.is_empty() && reading.findings()[0].contains("version 2"), "{:?}", reading.findings());
}

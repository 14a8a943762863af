//! Vaults that do not have the same claims, because one was away.

use super::*;

#[tokio::test]
async fn a_vault_that_was_away_says_the_same_as_the_others_when_it_is_back() {
    let identities = Identities::generate();
    let (before, old, new) = (Host::with(&identities), Host::with(&identities), Host::with(&identities));
    let (a, b) = (named("a"), named("b"));
    before.claim(std::slice::from_ref(&a), 0, &terms()).await;
    assert_eq!(old.claim(std::slice::from_ref(&a), HOUR, &terms()).await.claim.epoch, 2);
    // The second vault is added, and the first one is away.
    let made = new.claim(&[away("a"), b.clone()], 2 * HOUR, &terms()).await;
    let epoch = minutes(2 * HOUR);
    assert_eq!(made.claim.epoch, epoch, "it comes after all that is not seen");
    let both = [a.clone(), b.clone()];
    let told = async |host: &Host, vaults: &[Connected], second| word(&standing_of(host, vaults, None, second).await);
    assert_eq!(told(&old, &both, 2 * HOUR + 60).await, format!("superseded {epoch}"));
    let judged = standing_of(&new, &both, None, 2 * HOUR + 60).await;
    assert_eq!((word(&judged), judged.missing.len()), (format!("own {epoch}"), 0), "a fresh claim is not copied");
    // Its backup brings the claim into the vault that lacks it. Either vault alone says the same then.
    let judged = standing_of(&new, &both, None, 3 * HOUR).await;
    assert_eq!(copy(&new, &both, &judged, 3 * HOUR).await, Vec::<String>::new());
    for vaults in [[a.clone(), away("b")], [away("a"), b.clone()]] {
        assert_eq!(told(&new, &vaults, 3 * HOUR + 60).await, format!("own {epoch}"));
        assert_eq!(told(&old, &vaults, 3 * HOUR + 60).await, format!("superseded {epoch}"));
    }
    let judged = standing_of(&new, &both, None, 4 * HOUR).await;
    assert_eq!((judged.missing.len(), judged.own.len()), (0, 2));
}

/// The own claim is in one vault, which is away now, and the other one has only that of the site before.
#[tokio::test]
async fn nobody_is_superseded_by_the_site_that_it_took_over_from() {
    let identities = Identities::generate();
    let (old, new, manager) = (Host::with(&identities), Host::with(&identities), Host::with(&identities));
    let both = [named("a"), named("b")];
    let before = old.claim(&both, 0, &terms()).await;
    let without_b = [both[0].clone(), away("b")];
    let made = new.claim(&without_b, HOUR, &terms()).await;
    let without_a = [away("a"), both[1].clone()];
    let told = async |host: &Host, vaults: &[Connected], label, second| {
        let judged = standing_of(host, vaults, label, second).await;
        Memory::update(&host.config, &cluster(), |memory| memory.learn(&judged));
        (word(&judged), judged.findings.len())
    };
    let (own, unknown) = ((format!("own {}", made.claim.epoch), 0), ("unknown".to_owned(), 1));
    // The host that made it, with and without the label; another manager of its swarm, once it has seen the claim.
    for label in [None, Some(made.id())] {
        assert_eq!(told(&new, &without_a, label, 2 * HOUR).await, unknown);
    }
    assert_eq!(told(&manager, &without_b, Some(made.id()), 2 * HOUR).await, own);
    assert_eq!(told(&manager, &without_a, Some(made.id()), 2 * HOUR).await, unknown);
    assert_eq!(told(&manager, &both, Some(made.id()), 2 * HOUR).await, own);
    // That is the own one's memory and no other's: the stale swarm stays what it is, on whatever host.
    for host in [&old, &new, &manager] {
        let superseded = (format!("superseded {}", made.claim.epoch), 0);
        assert_eq!(told(host, &without_b, Some(before.id()), 2 * HOUR).await, superseded);
    }
    // Somebody ended the claim, or made one after it.
    let signer = new.promoter.signer.as_ref().expect("has one");
    release(&both[..1], signer, &made.claim, ReleaseKind::Undone, "undone", second_at(1)).await.expect("is stored");
    assert_eq!(told(&manager, &both, Some(made.id()), 3 * HOUR).await.0, "superseded 1");
    assert_eq!(told(&manager, &without_a, Some(made.id()), 3 * HOUR).await.0, "superseded 1");
    let next = old.claim(&without_a, 3 * HOUR, &terms()).await.claim.epoch;
    assert_eq!(told(&new, &without_a, Some(made.id()), 4 * HOUR).await.0, format!("superseded {next}"));
}

/// The backup says that its swarm was claimed, and no vault shows that claim.
#[tokio::test]
async fn a_claim_that_only_the_backup_knows_is_passed_over() {
    let identities = Identities::generate();
    let (_, vaults) = one(locking());
    let made = Host::with(&identities).claim(&vaults, 0, &terms()).await;
    let carries = |claim| Terms { carried: Carried::Claim(claim), ..terms() };
    let next = Host::with(&identities).claim(&vaults, HOUR, &carries(made.id())).await;
    assert_eq!(next.claim.epoch, 2);
    let next = Host::with(&identities).claim(&vaults, 2 * HOUR, &carries(ClaimId::of(7))).await;
    assert_eq!(next.claim.epoch, minutes(2 * HOUR));
}

/// Each of them was made without sight of some that came before it.
#[tokio::test]
async fn claims_that_were_made_without_sight_of_each_other_follow_by_time() {
    let identities = Identities::generate();
    let host = || Host::with(&identities);
    let (first, middle, before_last, last) = (host(), host(), host(), host());
    let (a, b) = (named("a"), named("b"));
    let both = [a.clone(), b.clone()];
    first.claim(&both, 0, &terms()).await;
    middle.claim(&[away("a"), b.clone()], HOUR, &terms()).await;
    let seen = before_last.claim(&[away("a"), b.clone()], 2 * HOUR, &terms()).await;
    let carries = Terms { carried: Carried::Claim(seen.id()), ..terms() };
    let newest = last.claim(&[a, away("b")], 50 * HOUR, &carries).await;
    assert!(newest.claim.epoch > seen.claim.epoch);
    assert_eq!(word(&standing_of(&last, &both, None, 51 * HOUR).await), format!("own {}", newest.claim.epoch));
    let told = word(&standing_of(&before_last, &both, None, 51 * HOUR).await);
    assert_eq!(told, format!("superseded {}", newest.claim.epoch));
    // One that sees all goes on from there, and a clock that is behind makes no epoch that is lower than what is seen.
    assert_eq!(host().claim(&both, 52 * HOUR, &terms()).await.claim.epoch, newest.claim.epoch + 1);
    let carries = Terms { carried: Carried::Claim(ClaimId::of(7)), ..fenced() };
    assert_eq!(host().claim(&both, HOUR, &carries).await.claim.epoch, newest.claim.epoch + 1001);
}

#[tokio::test]
async fn a_release_that_reached_one_vault_ends_the_claim_in_all() {
    let identities = Identities::generate();
    let (living, dead) = (Host::with(&identities), Host::with(&identities));
    let both = [named("a"), named("b")];
    let made = dead.claim(&both, 0, &terms()).await;
    let signer = dead.promoter.signer.as_ref().expect("has one");
    release(&both[..1], signer, &made.claim, ReleaseKind::Undone, "undone", second_at(1)).await.expect("is stored");
    let without_a = [away("a"), both[1].clone()];
    assert_eq!(word(&standing_of(&living, &without_a, None, 2).await), "superseded 1");
    let judged = standing_of(&living, &both, None, 3).await;
    assert_eq!(word(&judged), "unclaimed");
    // What was seen once counts, and what is copied counts for everybody.
    Memory::update(&living.config, &cluster(), |memory| memory.learn(&judged));
    assert_eq!(word(&standing_of(&living, &without_a, None, 4).await), "unclaimed");
    let other = Host::with(&identities);
    assert_eq!(word(&standing_of(&other, &without_a, None, 4).await), "superseded 1");
    assert_eq!(copy(&living, &both, &judged, 5).await, Vec::<String>::new());
    assert_eq!(word(&standing_of(&other, &without_a, None, 6).await), "unclaimed");
    assert!(standing_of(&other, &both, None, 7).await.missing.is_empty());
}

#[tokio::test]
async fn what_cannot_be_copied_is_told() {
    let identities = Identities::generate();
    let host = Host::with(&identities);
    let (a, inner) = (named("a"), Arc::new(MemoryVault::new("b", None)));
    host.claim(std::slice::from_ref(&a), 0, &terms()).await;
    let refusing = [a.clone(), connected(failing(&inner, denied), "b")];
    let judged = standing_of(&host, &refusing, None, HOUR).await;
    let told = copy(&host, &refusing, &judged, HOUR).await;
    assert!(told.len() == 1 && told[0].contains("memory://b lacks") && told[0].contains("by hand"), "{told:?}");
    inner.overlay(&Name::Claim(1).key(&cluster()), "junk");
    let both = [a, connected(Arc::clone(&inner) as Arc<dyn Vault>, "b")];
    let judged = standing_of(&host, &both, None, HOUR).await;
    let told = copy(&host, &both, &judged, HOUR).await;
    assert!(told.len() == 1 && !told[0].contains("by hand"), "{told:?}");
    assert_eq!(word(&standing_of(&host, &both, None, HOUR).await), "own 1");
}

/// What a vault lacks of a promoter whose end has come would not count there.
#[tokio::test]
async fn the_claim_of_a_key_that_has_ended_is_not_copied() {
    let mut host = Host::with(&Identities::generate());
    let both = [named("a"), named("b")];
    host.claim(&both[..1], 0, &terms()).await;
    assert_eq!(standing_of(&host, &both, None, HOUR).await.missing.len(), 1);
    let mut trusted = swarmdr_archive::TrustedKeys::new();
    trusted.insert_until(host.promoter.signer.as_ref().expect("has one").public(), Some(second_at(60)));
    host.promoter.trusted = trusted;
    let judged = standing_of(&host, &both, None, HOUR).await;
    assert_eq!((word(&judged).as_str(), judged.missing.len()), ("own 1", 0));
}

#[tokio::test]
async fn a_vault_whose_claims_are_denied_is_told_apart_from_one_that_is_away() {
    let host = Host::with(&Identities::generate());
    let unlisted = failing(&Arc::new(locking()), |call| {
        let (vault, action, detail) = ("v".to_owned(), "list".to_owned(), "403".to_owned());
        matches!(call, Call::List { .. }).then_some(VaultError::AccessDenied { vault, action, detail })
    });
    let judged = standing_of(&host, &[connected(unlisted, "a"), away("b"), named("c")], None, 0).await;
    assert_eq!((judged.unread.len(), judged.denied.len()), (2, 1), "{judged:?}");
    assert!(judged.denied[0].contains("s3://a"), "{judged:?}");
}

/// Programs that replace the labels of a swarm take nothing away; a host that was joined to the swarm of another site is
/// another node of it.
#[tokio::test]
async fn a_swarm_that_lost_its_label_is_not_superseded_by_its_own_claim() {
    let identities = Identities::generate();
    let (maker, manager) = (Host::with(&identities), Host::with(&identities));
    let vaults = [named("a")];
    let made = maker.claim(&vaults, 0, &terms()).await;
    let node = |text: &str| text.parse::<swarmdr_archive::NodeId>().expect("is an id");
    let see = |name: &str, label| {
        Memory::update(&manager.config, &cluster(), |memory| memory.see(&node(name), label, Origin::Unknown));
    };
    let judge = async |name: &str| {
        let here = standing::Here { cluster: cluster(), node: Some(node(name)), label: None, origin: Origin::Unknown };
        let promoter = &manager.promoter;
        word(&standing::of_this_host(&manager.config, &vaults, promoter, &here, second_at(HOUR)).await)
    };
    see("n1", None);
    assert_eq!(judge("n1").await, "superseded 1");
    see("n1", Some(made.id()));
    see("n1", None);
    assert_eq!(judge("n1").await, "own 1");
    assert_eq!(judge("n2").await, "superseded 1");
    see("n2", None);
    assert_eq!(judge("n2").await, "superseded 1");
    assert!(Memory::read(&manager.config, None).is_some_and(|memory| memory.carried.is_empty()));
}

/// A copy is stored later than what it is a copy of, and is no newer claim.
#[tokio::test]
async fn a_copy_does_not_make_an_old_claim_fresh() {
    let identities = Identities::generate();
    let (first, old, other) = (Host::with(&identities), Host::with(&identities), Host::with(&identities));
    let both = [named("a"), named("b")];
    let made = first.claim(&both[..1], 0, &terms()).await;
    let judged = standing_of(&first, &both, None, 100 * HOUR).await;
    assert_eq!((judged.missing.len(), copy(&first, &both, &judged, 100 * HOUR).await), (1, Vec::new()));
    // The old site keeps the time since when it is superseded, and does what waits for that, in either order.
    for vaults in [both.clone(), [both[1].clone(), both[0].clone()]] {
        let judged = standing_of(&old, &vaults, None, 100 * HOUR + 60).await;
        assert!(judged.is_settled);
        assert_eq!(judged.superseded().map(|by| by.since), Some(second_at(0)));
    }
    // Its own host takes it for what it is, and others do not wait.
    let again = first.claim(&both, 100 * HOUR + 60, &terms()).await;
    assert!(!again.is_earlier && again.id() != made.id(), "{again:?}");
    assert_eq!(other.claim(&both, 200 * HOUR, &terms()).await.claim.epoch, 3);
}

#[tokio::test]
async fn the_copy_of_an_old_claim_stops_nobody() {
    let identities = Identities::generate();
    let (first, other) = (Host::with(&identities), Host::with(&identities));
    let both = [named("a"), named("b")];
    first.claim(&both[..1], 0, &terms()).await;
    let judged = standing_of(&first, &both, None, 100 * HOUR).await;
    assert_eq!(copy(&first, &both, &judged, 100 * HOUR).await, Vec::<String>::new());
    assert_eq!(other.claim(&both, 100 * HOUR + 60, &terms()).await.claim.epoch, 2);
}

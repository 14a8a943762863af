//! Hosts that want the same swarm, at once and one after the other.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Time is paused: it passes when nobody has anything else to do, so every put that is on its way arrives while the claims
/// settle, however slow this machine is.
#[tokio::test(start_paused = true)]
async fn of_sixteen_at_once_one_goes_on_whatever_the_server_does_with_the_condition() {
    let identities = Identities::generate();
    for vault in [locking(), locking().ignoring_conditions()] {
        let (vault, vaults) = one(vault);
        let mut hosts: Vec<Host> = (0..16).map(|_| Host::with(&identities)).collect();
        hosts.iter_mut().for_each(|host| host.config.standby.claim_settle = Config::default().standby.claim_settle);
        let terms = terms();
        let attempts = hosts.iter().map(|host| host.attempt(&vaults, 0, &terms));
        let outcomes = futures_util::future::join_all(attempts).await;
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Made(_)))).count();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err((Exit::NotOurTurn, _)))).count();
        assert_eq!((won, lost), (1, 15), "{outcomes:?}");
        let Some(Ok(Outcome::Made(made))) = outcomes.iter().find(|outcome| outcome.is_ok()) else { panic!("none") };
        assert_eq!(holder(&hosts[0], vault.as_ref()).await.as_ref(), Some(&made.claim));
        // Who carries a claim that lost into another vault, where it would be alone, revives nothing.
        let reading = hosts[0].read(vault.as_ref(), 60).await;
        let ended = Ended::of([&reading]);
        for lost in reading.claims.iter().filter(|seen| seen.claim != made.claim) {
            let alone = testkit::reading("w", vec![lost.clone()]);
            assert_eq!(judge(&alone, &ended)[0].status, Status::Released);
        }
    }
}

#[tokio::test]
async fn a_fresh_claim_stops_others_and_an_old_one_does_not() {
    let identities = Identities::generate();
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let (_, vaults) = one(locking());
    let made = first.claim(&vaults, 0, &terms()).await;
    assert_eq!((made.claim.epoch, &made.claim.previous, &made.superseded), (1, &None, &None));
    let text = second.refused(&vaults, 14 * 60, Exit::NotOurTurn).await;
    assert!(text.contains("here") && text.contains("epoch 1") && text.contains("--fenced"), "{text}");
    let next = second.claim(&vaults, HOUR, &terms()).await;
    assert_eq!((next.claim.epoch, next.superseded.map(|before| before.claim_id)), (2, Some(made.id())));
    // And the operator who vouches for it does not wait.
    assert_eq!(first.claim(&vaults, HOUR + 1, &fenced()).await.claim.epoch, 3);
}

/// Its own claim of a minute ago is what a killed run left; one of an hour ago may be that of another life.
#[tokio::test]
async fn a_run_that_was_killed_goes_on_with_its_own_claim() {
    let identities = Identities::generate();
    let host = Host::with(&identities);
    let (vault, vaults) = one(locking());
    let made = host.claim(&vaults, 0, &terms()).await;
    let again = host.claim(&vaults, 60, &terms()).await;
    assert!(again.is_earlier && again.claim == made.claim && again.superseded.is_none());
    assert_eq!(vault.list_versions("", None).await.expect("lists").versions.len(), 1);
    let later = host.claim(&vaults, HOUR, &terms()).await;
    assert_eq!((later.claim.epoch, later.is_earlier), (2, false));
    // A record of a claim that lost means nothing.
    let other = Host::with(&identities);
    other.claim(&vaults, HOUR + 60, &fenced()).await;
    host.refused(&vaults, HOUR + 61, Exit::NotOurTurn).await;
}

/// One had passed the junk over when the other still got the free key before it: they are at different epochs.
#[tokio::test]
async fn rivals_at_different_epochs_are_rivals() {
    let first = || testkit::seen(testkit::claim(1, 1, None), 0);
    let early = testkit::seen(testkit::claim(2, 2, Some(&first())), 5);
    let late = testkit::seen(testkit::claim(4, 3, Some(&first())), 6);
    let after = testkit::seen(testkit::claim(5, 4, Some(&early)), 9);
    let status = |claims: Vec<Seen>| {
        let reading = testkit::reading("v", claims);
        judge(&reading, &Ended::of([&reading])).into_iter().map(|entry| entry.status).collect::<Vec<_>>()
    };
    let void = |by| Status::Void { by: ClaimId::of(by) };
    assert_eq!(status(vec![first(), early.clone(), late.clone()]), [Status::Holds, Status::Holds, void(2)]);
    assert_eq!(status(vec![first(), late.clone()]), [Status::Holds, Status::Holds]);
    assert_eq!(status(vec![first(), early, late, after]), [Status::Holds, Status::Holds, void(2), Status::Holds]);
    // One that came long after the first was made without sight of it: it is the newer one.
    let minutes = |minutes: i64| minutes * 60;
    let blind = |second| testkit::seen(testkit::claim(1002, 3, Some(&first())), second);
    let early = || testkit::seen(testkit::claim(2, 2, Some(&first())), 5);
    assert_eq!(status(vec![first(), early(), blind(minutes(15))]), [Status::Holds, Status::Holds, void(2)]);
    assert_eq!(status(vec![first(), early(), blind(minutes(15) + 5)]), [Status::Holds; 3]);
    // At one epoch, at the same instant: the lowest id.
    let twins = [7, 6].map(|id| testkit::seen(testkit::claim(1, id, None), 0)).to_vec();
    assert_eq!(status(twins), [Status::Holds, void(6)]);
}

/// In a directory the owner of a host sets the times of its files.
#[tokio::test]
async fn a_claim_from_the_future_is_as_fresh_as_can_be() {
    let identities = Identities::generate();
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let (_, vaults) = one(locking());
    first.claim(&vaults, 1000 * HOUR, &terms()).await;
    second.refused(&vaults, 0, Exit::NotOurTurn).await;
    assert_eq!(second.claim(&vaults, 0, &fenced()).await.claim.epoch, 2);
}

#[tokio::test]
async fn a_promoter_whose_end_has_come_claims_nothing_more() {
    let identities = Identities::generate();
    let host = Host::with(&identities);
    let (vault, vaults) = one(locking());
    host.claim(&vaults, 0, &terms()).await;
    host.claim(&vaults, HOUR, &terms()).await;
    let mut trusted = swarmdr_archive::TrustedKeys::new();
    trusted.insert_until(host.promoter.signer.as_ref().expect("has one").public(), Some(second_at(60)));
    let reading = read(vault.as_ref(), Query::new(&cluster(), &trusted, second_at(2 * HOUR))).await.expect("reads");
    assert_eq!(reading.claims.iter().map(|seen| seen.claim.epoch).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_killed_run_does_not_go_on_beside_a_rival_that_it_sees() {
    let identities = Identities::generate();
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let (a, b) = (connected(Arc::new(locking()), "a"), connected(Arc::new(locking()), "b"));
    first.claim(&[a.clone(), away("b")], 0, &terms()).await;
    second.claim(&[away("a"), b.clone()], 30, &terms()).await;
    first.refused(&[a, b], 60, Exit::NotOurTurn).await;
}

/// A condition on one key is no word on a rival under another one, so the whole time to settle passes.
#[tokio::test]
async fn who_may_have_rivals_under_other_keys_waits_until_they_are_listed() {
    const SETTLE: Duration = Duration::from_secs(2);
    let identities = Identities::generate();
    let waited = async |vaults: Vec<Connected>, terms: Terms| {
        let mut host = Host::with(&identities);
        host.config.standby.claim_settle = Seconds::new(2);
        let begun = std::time::Instant::now();
        host.claim(&vaults, 0, &terms).await;
        begun.elapsed()
    };
    let alone = || one(locking()).1;
    let two = [alone(), vec![connected(Arc::new(locking()), "w")]].concat();
    let carries = Terms { carried: Carried::Claim(ClaimId::of(7)), ..terms() };
    let (vault, junk) = one(locking());
    vault.overlay_at(&Name::Claim(3).key(&cluster()), "junk", second_at(0));
    let (short, two, away, carries, junk) = tokio::join!(
        waited(alone(), terms()),
        waited(two, terms()),
        waited([alone(), vec![away("w")]].concat(), terms()),
        waited(alone(), carries),
        waited(junk, terms()),
    );
    assert!(short < SETTLE, "there is one vault, and all is seen in it: {short:?}");
    assert!(two >= SETTLE && away >= SETTLE, "one of two vaults may be away for a rival: {two:?}, {away:?}");
    assert!(carries >= SETTLE, "what the backup carries is in no vault: {carries:?}");
    assert!(junk >= SETTLE, "a rival may have looked before the junk was there: {junk:?}");
}

/// They do not follow the same claim, so the rule for those that do says nothing.
#[tokio::test]
async fn a_fresh_claim_that_the_first_look_missed_wins_whatever_it_follows() {
    let identities = Identities::generate();
    let host = || Host::with(&identities);
    let (a, b) = (Arc::new(locking()), Arc::new(locking()));
    let of = |vault: &Arc<MemoryVault>, name| connected(Arc::clone(vault) as Arc<dyn Vault>, name);
    let (in_a, in_b) = (of(&a, "a"), of(&b, "b"));
    host().claim(&[in_a.clone(), in_b.clone()], 0, &terms()).await;
    let read_only = connected(failing(&a, denied), "a");
    host().claim(&[read_only.clone(), in_b.clone()], HOUR, &terms()).await;
    let first = host().claim(&[read_only, in_b.clone()], 3 * HOUR, &terms()).await;
    // The other one's first look into b fails.
    let flaky = || {
        let once = AtomicBool::new(true);
        let fails = move |call: &Call| matches!(call, Call::List { .. }) && once.swap(false, Ordering::Relaxed);
        connected(failing(&b, move |call| fails(call).then(|| broken("b", "list"))), "b")
    };
    let second = host();
    let text = second.refused(&[in_a.clone(), flaky()], 3 * HOUR + 60, Exit::NotOurTurn).await;
    assert!(text.contains(&format!("epoch {}", first.claim.epoch)), "{text}");
    // What it had put is given up in both.
    let judged = standing_of(&host(), &[in_a.clone(), in_b.clone()], Some(first.id()), 4 * HOUR).await;
    assert!(matches!(&judged.standing, standing::Standing::Own { claim } if *claim == first.claim), "{judged:?}");
    // The operator vouches for it.
    host().claim(&[in_a, flaky()], 3 * HOUR + 120, &fenced()).await;
}

/// The run was killed before it looked again.
#[tokio::test]
async fn a_killed_run_does_not_go_on_if_it_had_overlooked_a_rival() {
    let identities = Identities::generate();
    let (first, killed) = (Host::with(&identities), Host::with(&identities));
    let (vault, vaults) = one(locking());
    let before = Host::with(&identities).claim(&vaults, 0, &terms()).await;
    first.claim(&vaults, HOUR, &terms()).await;
    let own = testkit::claim(minutes(HOUR), 9, None);
    let packed = testkit::packed(&own, killed.promoter.signer.as_ref().expect("has one"));
    vault.overlay_at(&Name::Claim(own.epoch).key(&cluster()), packed, second_at(HOUR + 1));
    Record::new(cluster(), own.epoch, own.claim_id, Stage::Won).write(&killed.config).expect("writes");
    let text = killed.refused(&vaults, HOUR + 60, Exit::NotOurTurn).await;
    assert!(text.contains("epoch 2"), "{before:?} {text}");
    assert!(matches!(killed.attempt(&vaults, HOUR + 60, &fenced()).await, Ok(Outcome::Made(made)) if made.is_earlier));
}

/// The killed run's claim comes first by its place: it would supersede the site that works.
#[tokio::test]
async fn a_killed_run_that_another_site_overtook_ends_its_claim_unless_a_swarm_may_carry_it() {
    let identities = Identities::generate();
    for stage in [Stage::Begun, Stage::Won, Stage::Used, Stage::Undone] {
        let (killed, works) = (Host::with(&identities), Host::with(&identities));
        let (a, b) = (connected(Arc::new(locking()), "a"), connected(Arc::new(locking()), "b"));
        let both = [a.clone(), b.clone()];
        let left = killed.win(&[a.clone(), away("b")], 0, &terms()).await;
        let record = Record::read(&killed.config, &cluster()).expect("is noted");
        assert_eq!(record.stage, Stage::Won, "nothing is placed yet");
        Record::advance(&killed.config, left.id(), stage).expect("writes");
        let made = works.claim(&[away("a"), b.clone()], 20, &terms()).await;
        killed.refused(&both, 40, Exit::NotOurTurn).await;
        let judged = standing_of(&works, &both, Some(made.id()), HOUR).await;
        let expected = if stage == Stage::Used { "superseded" } else { "own" };
        assert_eq!(word(&judged), format!("{expected} {}", made.claim.epoch), "{stage:?}");
        assert_eq!(Record::read(&killed.config, &cluster()).is_some(), stage == Stage::Used, "{stage:?}");
    }
}

/// A vault that booted with a wrong clock is set right while a host restores.
#[tokio::test]
async fn a_vault_whose_clock_is_set_forward_makes_no_claim_old() {
    let identities = Identities::generate();
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let vault = Arc::new(locking().with_clock_from(second_at(0)));
    let signer = first.promoter.signer.as_ref().expect("has one");
    let claim = Claim { at: second_at(5 * HOUR), ..testkit::claim(1, 1, None) };
    // The vault had got it by a clock that was five hours behind.
    vault.overlay_at(&Name::Claim(1).key(&cluster()), testkit::packed(&claim, signer), second_at(-5 * HOUR));
    let vaults = [connected(Arc::clone(&vault) as Arc<dyn Vault>, "v")];
    second.refused(&vaults, 5 * HOUR + 60, Exit::NotOurTurn).await;
    assert!(!standing_of(&second, &vaults, None, 5 * HOUR + 60).await.is_settled);
    // The hosts' clocks only make others wait, and not for long.
    assert!(standing_of(&second, &vaults, None, 5 * HOUR + 900).await.is_settled);
    assert_eq!(second.claim(&vaults, 5 * HOUR + 900, &terms()).await.claim.epoch, 2);
    assert!(standing_of(&second, &vaults, None, 4 * HOUR).await.superseded().is_none());
}

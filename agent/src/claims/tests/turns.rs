//! Hosts that each lose to another one, or to a claim that was given up: one goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A vault with a clock of its own, which fails the first question of each host that asks for its claims, or none.
fn ticking(name: &str, from: i64) -> Arc<MemoryVault> {
    let policy = LockPolicy { mode: LockMode::Compliance, days: 30 };
    Arc::new(MemoryVault::new(name, Some(policy)).with_clock_from(second_at(from)))
}

fn whole(vault: &Arc<MemoryVault>, name: &str) -> Connected {
    connected(Arc::clone(vault) as Arc<dyn Vault>, name)
}

/// The vault as a host sees it whose first look fails.
fn flaky(vault: &Arc<MemoryVault>, name: &'static str) -> Connected {
    let once = AtomicBool::new(true);
    let fails = move |call: &Call| matches!(call, Call::List { .. }) && once.swap(false, Ordering::Relaxed);
    connected(failing(vault, move |call| fails(call).then(|| broken(name, "list"))), name)
}

fn patient(identities: &Identities) -> Host {
    let mut host = Host::with(identities);
    host.config.standby.claim_settle = Config::default().standby.claim_settle;
    host
}

/// Each is the first in one vault. The clocks of the vaults differ, and a third host reaches only one of them.
#[tokio::test(start_paused = true)]
async fn of_hosts_that_lose_to_each_other_one_goes_on() {
    let identities = Identities::generate();
    for (clocks, starts) in [([0, 0], [0, 0]), ([0, 40], [0, 60]), ([40, 0], [0, 60]), ([40, 0], [60, 0])] {
        let (a, b) = (ticking("a", clocks[0]), ticking("b", clocks[1]));
        let both = [whole(&a, "a"), whole(&b, "b")];
        let old = Host::with(&identities);
        let before = testkit::claim(1, 1, None);
        let packed = testkit::packed(&before, old.promoter.signer.as_ref().expect("has one"));
        for vault in [&a, &b] {
            vault.overlay_at(&Name::Claim(1).key(&cluster()), packed.clone(), second_at(-2 * HOUR));
        }
        let (x, y, z) = (patient(&identities), patient(&identities), patient(&identities));
        let (of_x, of_y) = ([whole(&a, "a"), flaky(&b, "b")], [whole(&b, "b"), flaky(&a, "a")]);
        let of_z = [away("a"), flaky(&b, "b")];
        let terms = terms();
        let (x, y, z) = tokio::join!(
            x.attempt(&of_x, starts[0], &terms),
            y.attempt(&of_y, starts[1], &terms),
            z.attempt(&of_z, 61, &terms)
        );
        let outcomes = [x, y, z];
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Made(_)))).count();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err((Exit::NotOurTurn, _)))).count();
        assert_eq!((won, lost), (1, 2), "{clocks:?} {starts:?}: {outcomes:?}");
        let Some(Ok(Outcome::Made(made))) = outcomes.iter().find(|outcome| outcome.is_ok()) else { panic!("none") };
        // Each vault alone says so, whatever the others had put there.
        for vaults in [both.clone(), [both[1].clone(), both[0].clone()]] {
            for seen in [&vaults[..], &vaults[..1]] {
                let judged = standing_of(&old, seen, Some(before.claim_id), 120).await;
                let holds_there = seen.iter().all(|vault| made.vaults.contains(&vault.settings.url));
                if holds_there {
                    assert_eq!(judged.superseded().map(|by| by.claim), Some(made.claim.clone()), "{outcomes:?}");
                }
            }
        }
    }
}

/// It waits for nobody who does not give way: a host that went on is not joined by a second one.
#[tokio::test(start_paused = true)]
async fn who_is_first_does_not_go_on_beside_one_that_went_on() {
    let identities = Identities::generate();
    let (first, late) = (patient(&identities), patient(&identities));
    // By the clock of a, which is behind, the late one is the first of all.
    let (a, b) = (ticking("a", 0), ticking("b", 600));
    let made = first.claim(&[away("a"), whole(&b, "b")], 0, &terms()).await;
    let text = match late.attempt(&[whole(&a, "a"), flaky(&b, "b")], 60, &terms()).await {
        Err((Exit::NotOurTurn, text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(text.contains("another site has this swarm"), "{text}");
    let both = [whole(&a, "a"), whole(&b, "b")];
    let judged = standing_of(&first, &both, Some(made.id()), 120).await;
    assert_eq!(word(&judged), format!("own {}", made.claim.epoch));
}

/// What is put under the next key right before this host does, and what its site says of it at once.
fn undone_before_the_put(vault: &Arc<MemoryVault>, rival: &Host, epoch: u32, before: &Claim) -> Connected {
    let signer = rival.promoter.signer.clone().expect("has one");
    let theirs = Claim { previous: None, ..testkit::claim(epoch, 9, None) };
    let theirs = Claim { cluster_id: before.cluster_id.clone(), ..theirs };
    let (inner, once) = (Arc::clone(vault), AtomicBool::new(true));
    let busy = InjectingVault::new(Arc::clone(vault) as Arc<dyn Vault>, move |call| {
        if matches!(call, Call::Put { .. }) && once.swap(false, Ordering::Relaxed) {
            inner.overlay_at(&Name::Claim(epoch).key(&cluster()), testkit::packed(&theirs, &signer), second_at(HOUR));
            let release = Release {
                version: 1,
                epoch,
                cluster_id: cluster(),
                claim_id: theirs.claim_id,
                kind: ReleaseKind::Undone,
                site: theirs.site.clone(),
                at: second_at(HOUR),
                reason: "undone".to_owned(),
            };
            let document = serde_json::to_vec_pretty(&release).expect("serialises");
            let packed = swarmdr_archive::receipt::seal(&signer, &document, "a release", 0).expect("is small");
            let name = Name::Release { epoch, claim: theirs.claim_id, tail: None };
            inner.overlay_at(&name.key(&cluster()), packed, second_at(HOUR));
        }
        Injected::None
    });
    connected(Arc::new(busy), "v")
}

#[tokio::test]
async fn a_claim_that_was_undone_beats_none_that_came_after_it() {
    let identities = Identities::generate();
    for vault in [locking(), locking().ignoring_conditions()] {
        let (host, rival) = (Host::with(&identities), Host::with(&identities));
        let vault = Arc::new(vault);
        let before = rival.claim(&[whole(&vault, "v")], 0, &terms()).await;
        let busy = undone_before_the_put(&vault, &rival, 2, &before.claim);
        let made = host.claim(&[busy], HOUR + 1, &terms()).await;
        assert_eq!((made.claim.epoch, made.is_earlier), (3, false));
        assert_eq!(holder(&host, vault.as_ref()).await.as_ref(), Some(&made.claim));
        // What it had put under the key before is ended, so nobody can bring it back.
        let reading = host.read(vault.as_ref(), HOUR + 60).await;
        let ended = Ended::of([&reading]);
        for void in reading.claims.iter().filter(|seen| seen.claim.epoch == 2) {
            let alone = testkit::reading("w", vec![void.clone()]);
            assert_eq!(judge(&alone, &ended)[0].status, Status::Released);
        }
    }
}

/// It holds in the first vault already.
#[tokio::test]
async fn a_claim_that_was_undone_in_the_second_vault_leaves_no_vault_without_the_claim() {
    let identities = Identities::generate();
    for vault in [locking(), locking().ignoring_conditions()] {
        let (host, rival) = (Host::with(&identities), Host::with(&identities));
        let (first, second) = (named("a"), Arc::new(vault));
        let before = rival.claim(&[first.clone(), whole(&second, "v")], 0, &terms()).await;
        let busy = undone_before_the_put(&second, &rival, 2, &before.claim);
        let made = host.claim(&[first, busy], HOUR + 1, &terms()).await;
        assert_eq!((made.claim.epoch, made.vaults.len()), (3, 2), "{made:?}");
    }
}

/// A run that was killed does not go on with a claim that one of its vaults takes for void.
#[tokio::test]
async fn a_killed_run_whose_claim_is_void_in_one_vault_makes_another_one() {
    let identities = Identities::generate();
    let (host, rival) = (Host::with(&identities), Host::with(&identities));
    let (a, b) = (Arc::new(locking()), Arc::new(locking()));
    let both = [whole(&a, "a"), whole(&b, "b")];
    let (own, theirs) = (testkit::claim(1, 7, None), testkit::claim(1, 9, None));
    let key = Name::Claim(1).key(&cluster());
    let packed = |host: &Host, claim| testkit::packed(claim, host.promoter.signer.as_ref().expect("has one"));
    a.overlay_at(&key, packed(&host, &own), second_at(1));
    b.overlay_at(&key, packed(&rival, &theirs), second_at(0));
    b.overlay_at(&key, packed(&host, &own), second_at(1));
    let signer = rival.promoter.signer.as_ref().expect("has one");
    release(&both, signer, &theirs, ReleaseKind::Undone, "undone", second_at(2)).await.expect("ends");
    Record::new(cluster(), 1, own.claim_id, Stage::Won).write(&host.config).expect("writes");
    let made = host.claim(&both, 60, &terms()).await;
    assert_eq!((made.claim.epoch, made.is_earlier, made.vaults.len()), (2, false, 2));
}

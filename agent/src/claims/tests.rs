//! The promises of claims, against vaults that anyone may write to.

use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::{Identities, SecretKey};
use swarmdr_vault::{
    LockMode, LockPolicy, Vault, VaultError, VaultSettings,
    settings::unit_length::Seconds,
    store_bytes,
    testkit::{
        archives::key,
        injector::{Call, Injected, InjectingVault, broken},
        memory::MemoryVault,
    },
};

use super::{
    testkit::{cluster, second_at},
    *,
};
use crate::{
    config::Config,
    keys::promoter::Promoter,
    outcome::{exit::Exit, failure::Rendered},
    vaults::Connected,
};

/// A host that restores: its state directory, and the keys that all its rivals have too.
struct Host {
    _dir: tempfile::TempDir,
    config: Config,
    promoter: Promoter,
}

impl Host {
    fn with(identities: &Identities) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        config.standby.claim_settle = Seconds::new(0);
        let promoter = Promoter::find(&config, identities).expect("finds");
        Self { _dir: dir, config, promoter }
    }

    async fn attempt(&self, vaults: &[Connected], second: i64, terms: &Terms) -> Result<Outcome, (Exit, String)> {
        let draft = Draft {
            cluster_id: cluster(),
            site: "here".to_owned(),
            addresses: Vec::new(),
            promoted_from: testkit::claim(1, 0, None).promoted_from,
            verb: Verb::Restore,
            reason: None,
            fence: Vec::new(),
            formed: false,
        };
        let made = make(&self.config, vaults, &self.promoter, &draft, terms, second_at(second)).await;
        made.map_err(|error| (Rendered::of(&error).exit, Rendered::of(&error).to_string()))
    }

    /// Makes a claim that is expected to hold.
    async fn claim(&self, vaults: &[Connected], second: i64, terms: &Terms) -> Made {
        match self.attempt(vaults, second, terms).await {
            Ok(Outcome::Made(made)) => *made,
            other => panic!("no claim: {other:?}"),
        }
    }

    /// Makes a claim that is expected to be refused with this exit code, and returns why.
    async fn refused(&self, vaults: &[Connected], second: i64, exit: Exit) -> String {
        match self.attempt(vaults, second, &terms()).await {
            Err((code, text)) if code == exit => text,
            other => panic!("not refused with {exit:?}: {other:?}"),
        }
    }

    async fn read(&self, vault: &dyn Vault, second: i64) -> Reading {
        read(vault, &cluster(), &self.promoter.trusted, second_at(second)).await.expect("reads")
    }
}

fn terms() -> Terms {
    Terms { fenced: false, living: Vec::new(), demand: Demand::UnlessUnknown, limit: None }
}

fn fenced() -> Terms {
    Terms { fenced: true, ..terms() }
}

fn locking() -> MemoryVault {
    MemoryVault::new("v", Some(LockPolicy { mode: LockMode::Compliance, days: 30 }))
}

fn connected(vault: Arc<dyn Vault>, name: &str) -> Connected {
    Connected { settings: VaultSettings::new(format!("s3://{name}")), vault }
}

fn one(vault: MemoryVault) -> (Arc<MemoryVault>, Vec<Connected>) {
    let vault = Arc::new(vault);
    (Arc::clone(&vault), vec![connected(vault, "v")])
}

async fn holder(host: &Host, vault: &dyn Vault) -> Option<Claim> {
    let reading = host.read(vault, 10_000).await;
    newest(&judge(&reading, [&reading])).map(|seen| seen.claim.clone())
}

const HOUR: i64 = 3600;

#[tokio::test]
async fn of_sixteen_at_once_one_goes_on_whatever_the_server_does_with_the_condition() {
    let identities = Identities::generate();
    for vault in [locking(), locking().ignoring_conditions()] {
        let (vault, vaults) = one(vault);
        let hosts: Vec<Host> = (0..16).map(|_| Host::with(&identities)).collect();
        let terms = terms();
        let attempts = hosts.iter().map(|host| host.attempt(&vaults, 0, &terms));
        let outcomes = futures_util::future::join_all(attempts).await;
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Made(_)))).count();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err((Exit::NotOurTurn, _)))).count();
        assert_eq!((won, lost), (1, 15), "{outcomes:?}");
        let Some(Ok(Outcome::Made(made))) = outcomes.iter().find(|outcome| outcome.is_ok()) else { panic!("none") };
        assert_eq!(holder(&hosts[0], vault.as_ref()).await.as_ref(), Some(&made.claim));
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
    let alive = Terms { living: vec![made.id()], ..terms() };
    assert!(matches!(second.attempt(&vaults, HOUR, &alive).await, Err((Exit::NotOurTurn, _))));
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

#[tokio::test]
async fn a_claim_that_was_given_up_stops_nobody_and_another_keeps_its_word() {
    let identities = Identities::generate();
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let (vault, vaults) = one(locking());
    let made = first.claim(&vaults, 0, &terms()).await;
    let signer = first.promoter.signer.as_ref().expect("has one");
    assert!(
        release(&vaults, signer, &made.claim, ReleaseKind::Undone, "undone", second_at(1))
            .await
            .expect("is stored")
            .is_empty()
    );
    release(&vaults, signer, &made.claim, ReleaseKind::Undone, "undone", second_at(1)).await.expect("again is no harm");
    assert_eq!(holder(&first, vault.as_ref()).await, None);
    let next = second.claim(&vaults, 2, &terms()).await;
    assert_eq!((next.claim.epoch, next.superseded), (2, None));
    assert!(next.claim.previous.is_some(), "it follows the one that was given up");
}

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
    assert_eq!(judge(&reading, [&reading])[0].seen.stored, second_at(0), "the first counts");
    assert_eq!((reading.others, reading.findings().len()), (4, 4), "{:?}", reading.findings());
    let moved = format!("claims/{}/00000001.claim", "a1111111111111111111111111");
    vault.overlay_at(&moved, "junk", second_at(9));
    let elsewhere = read(
        vault.as_ref(),
        &"a1111111111111111111111111".parse().expect("is an id"),
        &host.promoter.trusted,
        second_at(60),
    )
    .await;
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

/// One had passed the junk over when the other still got the free key before it: they are at different epochs.
#[tokio::test]
async fn rivals_at_different_epochs_are_rivals() {
    let first = || testkit::seen(testkit::claim(1, 1, None), 0);
    let early = testkit::seen(testkit::claim(2, 2, Some(&first())), 5);
    let late = testkit::seen(testkit::claim(4, 3, Some(&first())), 6);
    let after = testkit::seen(testkit::claim(5, 4, Some(&early)), 9);
    let status = |claims: Vec<Seen>| {
        let reading = testkit::reading("v", claims);
        judge(&reading, [&reading]).into_iter().map(|entry| entry.status).collect::<Vec<_>>()
    };
    let void = |by| Status::Void { by: ClaimId::of(by) };
    assert_eq!(status(vec![first(), early.clone(), late.clone()]), [Status::Holds, Status::Holds, void(2)]);
    assert_eq!(status(vec![first(), late.clone()]), [Status::Holds, Status::Holds]);
    assert_eq!(status(vec![first(), early, late, after]), [Status::Holds, Status::Holds, void(2), Status::Holds]);
    // At one epoch, at the same instant: the lowest id.
    let twins = [7, 6].map(|id| testkit::seen(testkit::claim(1, id, None), 0)).to_vec();
    assert_eq!(status(twins), [Status::Holds, void(6)]);
}

#[tokio::test]
async fn a_flood_of_junk_is_told_and_the_operator_decides() {
    let identities = Identities::generate();
    let host = Host::with(&identities);
    let (vault, vaults) = one(locking());
    let made = host.claim(&vaults, 0, &terms()).await;
    for epoch in 2..1000 {
        vault.overlay_at(&Name::Claim(epoch).key(&cluster()), "junk", second_at(60));
    }
    let reading = host.read(vault.as_ref(), 100).await;
    assert!(!reading.is_whole);
    assert!(reading.findings().iter().any(|found| found.contains("one may be hidden")), "{:?}", reading.findings());
    assert_eq!(holder(&host, vault.as_ref()).await, Some(made.claim), "what was there before is found");
    let text = Host::with(&identities).refused(&vaults, HOUR, Exit::Refused).await;
    assert!(text.contains("--without-claim"), "{text}");
    // Twenty thousand versions on one key cost sixteen requests.
    let (vault, _) = one(locking());
    for second in 0..20_000 {
        vault.overlay_at(&Name::Claim(1).key(&cluster()), "x".repeat(1 << 16), second_at(second));
    }
    let reading = host.read(vault.as_ref(), 100).await;
    assert!(!reading.is_whole && reading.others == 16_000);
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
    let reading = read(vault.as_ref(), &cluster(), &trusted, second_at(2 * HOUR)).await.expect("reads");
    assert_eq!(reading.claims.iter().map(|seen| seen.claim.epoch).collect::<Vec<_>>(), [1]);
}

fn failing(
    inner: &Arc<MemoryVault>,
    fails: impl Fn(&Call) -> Option<VaultError> + Send + Sync + 'static,
) -> Arc<dyn Vault> {
    Arc::new(InjectingVault::new(Arc::clone(inner) as Arc<dyn Vault>, move |call| match fails(call) {
        Some(error) => Injected::Before(error),
        None => Injected::None,
    }))
}

fn denied(call: &Call) -> Option<VaultError> {
    let (vault, action, detail) = ("v".to_owned(), "store".to_owned(), "403".to_owned());
    matches!(call, Call::Put { .. }).then_some(VaultError::AccessDenied { vault, action, detail })
}

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
    assert_eq!(judge(&in_a, [&in_a])[0].status, Status::Released);
    assert_eq!(newest(&judge(&in_b, [&in_a, &in_b])).expect("holds").claim.claim_id, ClaimId::of(9));
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

fn away(name: &'static str) -> Connected {
    let vault = InjectingVault::new(Arc::new(locking()), move |_| Injected::Before(broken(name, "any")));
    connected(Arc::new(vault), name)
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

#[tokio::test]
async fn junk_under_the_name_of_a_release_does_not_keep_the_claim() {
    let host = Host::with(&Identities::generate());
    let (vault, vaults) = one(locking());
    let made = host.claim(&vaults, 1, &terms()).await;
    let name = Name::Release { epoch: 1, claim: made.id(), tail: None };
    vault.overlay_at(&name.key(&cluster()), "junk", second_at(0));
    let signer = host.promoter.signer.as_ref().expect("has one");
    release(&vaults, signer, &made.claim, ReleaseKind::Undone, "undone", second_at(2)).await.expect("is stored");
    assert_eq!(holder(&host, vault.as_ref()).await, None);
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

/// The way back: the site that steps down stops nobody, and the one before it stays superseded.
#[tokio::test]
async fn a_site_that_stepped_down_leaves_the_one_before_superseded() {
    let identities = Identities::generate();
    let (old, new, next) = (Host::with(&identities), Host::with(&identities), Host::with(&identities));
    let (_, vaults) = one(locking());
    let made = new.claim(&vaults, 0, &terms()).await;
    let signer = new.promoter.signer.as_ref().expect("has one");
    release(&vaults, signer, &made.claim, ReleaseKind::SteppedDown, "back", second_at(1)).await.expect("is stored");
    let judge = async |host: &Host, second| {
        let at = second_at(second);
        standing::of_this_host(&host.config, &vaults, &host.promoter, &cluster(), None, at).await
    };
    assert!(judge(&old, 2).await.superseded().is_some(), "its state is older");
    assert!(judge(&new, 2).await.superseded().is_none(), "it goes on until another one is promoted");
    assert_eq!(next.claim(&vaults, 3, &terms()).await.claim.epoch, 2);
    assert!(judge(&new, 4).await.superseded().is_some());
}

//! Whose a swarm is, where hosts remember other ones, and where claims have the same epoch.

use swarmdr_archive::NodeId;

use super::*;
use standing::{Here, Standing};

async fn judged(host: &Host, vaults: &[Connected], here: &Here, second: i64) -> Judged {
    standing::of_this_host(&host.config, vaults, &host.promoter, here, second_at(second)).await
}

/// The stale swarm carries its old claim, or none, and says so on whatever host.
#[tokio::test]
async fn a_host_that_was_joined_to_a_stale_swarm_does_not_call_it_its_own() {
    let identities = Identities::generate();
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let vaults = [named("a")];
    let old = first.claim(&vaults, 0, &terms()).await;
    let new = second.claim(&vaults, HOUR, &terms()).await;
    let node: NodeId = "joined".parse().expect("is an id");
    let of = |label, origin| Here { cluster: cluster(), node: Some(node.clone()), label, origin };
    let stale = of(Some(old.id()), Origin::Unknown);
    for host in [&first, &second] {
        assert_eq!(word(&judged(host, &vaults, &stale, 3 * HOUR).await), "superseded 2");
    }
    // The first site never had a claim, and this host had restored the swarm elsewhere.
    let unlabelled = of(None, Origin::Elsewhere(new.id()));
    assert_eq!(word(&judged(&second, &vaults, &unlabelled, 3 * HOUR).await), "superseded 2");
    // Two sites have the same node id: what this one carried is not all its own.
    for label in [old.id(), new.id(), old.id()] {
        Memory::update(&first.config, &cluster(), |memory| memory.see(&node, Some(label), Origin::Unknown));
    }
    assert_eq!(word(&judged(&first, &vaults, &stale, 3 * HOUR).await), "superseded 2");
}

/// A promotion that was cut: its state has the label of the backup, and that of its own claim comes late.
#[tokio::test]
async fn a_swarm_that_still_carries_the_claim_of_its_backup_belongs_to_who_restored_it() {
    let identities = Identities::generate();
    let (first, second) = (Host::with(&identities), Host::with(&identities));
    let vaults = [named("a")];
    let old = first.claim(&vaults, 0, &terms()).await;
    let new = second.claim(&vaults, HOUR, &terms()).await;
    let node: NodeId = "n1".parse().expect("is an id");
    let label = Some(old.id());
    let here = Here { cluster: cluster(), node: Some(node.clone()), label, origin: Origin::Restored(new.id()) };
    assert_eq!(word(&judged(&second, &vaults, &here, 3 * HOUR).await), "own 2");
    // And while its engine does not answer.
    Memory::update(&second.config, &cluster(), |memory| memory.see(&node, label, here.origin));
    let remembered = Here::from(Memory::read(&second.config, None).expect("is there"));
    assert_eq!(word(&judged(&second, &vaults, &remembered, 3 * HOUR).await), "own 2");
}

/// Each reached one vault, within a minute. Everybody who reads both finds the same site, and so does who makes the next one.
#[tokio::test]
async fn of_two_blind_claims_of_one_minute_every_reader_finds_the_same_first_one() {
    let identities = Identities::generate();
    let host = || Host::with(&identities);
    for (in_a, in_b) in [(0, 30), (30, 0), (5, 5)] {
        let (old, x, y) = (host(), host(), host());
        let both = [named("a"), named("b")];
        let before = old.claim(&both, -2 * HOUR, &terms()).await;
        let [a, b] = both.clone();
        let of_x = x.claim(&[a.clone(), away("b")], in_a, &terms()).await;
        let of_y = y.claim(&[away("a"), b.clone()], in_b, &terms()).await;
        let epoch = minutes(0);
        assert_eq!((of_x.claim.epoch, of_y.claim.epoch), (epoch, epoch));
        let x_is_first = (in_a, of_x.id()) < (in_b, of_y.id());
        let (first, made, second, lost) = if x_is_first { (&x, &of_x, &y, &of_y) } else { (&y, &of_y, &x, &of_x) };
        for vaults in [both.clone(), [b.clone(), a.clone()]] {
            let own = standing_of(first, &vaults, Some(made.id()), HOUR).await;
            assert_eq!((word(&own), own.findings.len()), (format!("own {epoch}"), 1), "it is told: {:?}", own.findings);
            for (host, label) in [(second, Some(lost.id())), (&old, Some(before.id())), (&host(), None)] {
                let told = standing_of(host, &vaults, label, HOUR).await;
                assert_eq!(told.superseded().map(|by| by.claim), Some(made.claim.clone()));
            }
            let readings = read_all(&vaults, Query::new(&cluster(), &x.promoter.trusted, second_at(HOUR))).await;
            let read: Vec<&Reading> = readings.iter().flatten().collect();
            assert_eq!(held::followed(&read).map(|seen| seen.claim.claim_id), Some(made.id()));
            assert_eq!(foremost(&read, owners(&readings)).map(|(_, seen)| seen.claim.claim_id), Some(made.id()));
        }
    }
}

/// The vault that shows an own claim to be the first of two is away: that supersedes nobody.
#[tokio::test]
async fn a_site_that_was_first_stays_so_while_the_vault_that_shows_it_is_away() {
    let identities = Identities::generate();
    let (x, y) = (Host::with(&identities), Host::with(&identities));
    let both = [named("a"), named("b")];
    let made = x.claim(&[both[0].clone(), away("b")], 0, &terms()).await;
    y.claim(&[away("a"), both[1].clone()], 30, &terms()).await;
    let label = Some(made.id());
    let judged = standing_of(&x, &both, label, HOUR).await;
    assert!(matches!(&judged.standing, Standing::Own { claim } if *claim == made.claim), "{judged:?}");
    Memory::update(&x.config, &cluster(), |memory| memory.learn(&judged));
    let without_a = [away("a"), both[1].clone()];
    assert_eq!(standing_of(&x, &without_a, label, HOUR).await.standing, Standing::Unknown);
    // The key is taken there, which is told.
    assert_eq!(copy(&x, &both, &judged, HOUR).await.len(), 1);
    assert_eq!(standing_of(&x, &without_a, label, HOUR).await.standing, Standing::Unknown);
    // Once it is ended, the other one counts.
    let signer = x.promoter.signer.as_ref().expect("has one");
    release(&both, signer, &made.claim, ReleaseKind::Undone, "dead", second_at(HOUR)).await.expect("ends");
    assert!(standing_of(&x, &without_a, label, 2 * HOUR).await.superseded().is_some());
}

//! Claims that a killed run left before it had placed anything by them.

use super::*;
use crate::claims::left;

/// A host whose run was killed at this stage, and the vault that has its claim.
async fn killed(stage: Stage) -> (Host, Made, Vec<Connected>) {
    let host = Host::with(&Identities::generate());
    let (_, vaults) = one(locking());
    let made = host.win(&vaults, 0, &terms()).await;
    Record::advance(&host.config, made.id(), stage).expect("writes");
    (host, made, vaults)
}

async fn end(host: &Host, vaults: &[Connected], promoter: &Promoter) -> Option<String> {
    let record = left::find(&host.config).expect("is left");
    left::end(&host.config, vaults, promoter, &record, second_at(60)).await
}

#[tokio::test]
async fn a_claim_behind_which_nobody_stands_is_ended_and_the_site_that_works_is_not_superseded() {
    for stage in [Stage::Begun, Stage::Won, Stage::Undone] {
        let (host, _, vaults) = killed(stage).await;
        assert_eq!(
            word(&standing_of(&host, &vaults, None, 30).await),
            "superseded 1",
            "{stage:?}: no swarm carries it"
        );
        assert_eq!(end(&host, &vaults, &host.promoter).await, None, "{stage:?}");
        assert_eq!(word(&standing_of(&host, &vaults, None, 90).await), "unclaimed", "{stage:?}");
        assert_eq!(left::find(&host.config), None, "{stage:?}");
    }
    let (host, _, vaults) = killed(Stage::Used).await;
    assert_eq!(left::find(&host.config), None, "a swarm may carry it");
    assert_eq!(word(&standing_of(&host, &vaults, None, 30).await), "own 1");
}

#[tokio::test]
async fn what_cannot_be_ended_is_told_with_what_ends_it_and_ended_by_a_later_run() {
    let (host, made, vaults) = killed(Stage::Won).await;
    let watching = Promoter { signer: None, ..host.promoter.clone() };
    let nobody = Promoter { trusted: Default::default(), ..watching.clone() };
    for (vaults, promoter, why) in [
        (vec![away("v")], &host.promoter, "cannot be read"),
        (vaults.clone(), &watching, "no promoter's key"),
        (vaults.clone(), &nobody, "no promoter is known"),
    ] {
        let told = end(&host, &vaults, promoter).await.expect("is told");
        let line = format!("`swarmdr-agent step-down --claim 1 --cluster {}`", cluster());
        assert!(told.contains(&line) && told.contains(why), "{told}");
        let record = left::find(&host.config).expect("stays noted");
        assert!(record.is_owed() && record.claim_id == made.id());
        let shown = left::describe(&vaults, promoter, &record, second_at(60)).await.expect("is shown");
        assert!(shown.contains(&line), "{shown}");
    }
    assert_eq!(end(&host, &vaults, &host.promoter).await, None);
    assert_eq!(word(&standing_of(&host, &vaults, None, 90).await), "unclaimed");
}

#[tokio::test]
async fn a_claim_that_no_vault_has_is_forgotten_unless_what_lies_there_may_be_it() {
    let host = Host::with(&Identities::generate());
    let note = || {
        let record = Record::new(cluster(), 1, ClaimId::of(7), Stage::Begun);
        record.write(&host.config).expect("writes");
        record
    };
    let (vault, vaults) = one(locking());
    let record = note();
    assert_eq!(left::describe(&vaults, &host.promoter, &record, second_at(60)).await, None);
    assert_eq!(end(&host, &vaults, &host.promoter).await, None);
    assert_eq!(left::find(&host.config), None);
    // It may be signed by a key that counts elsewhere.
    vault.overlay_at(
        &Name::Claim(1).key(&cluster()),
        testkit::packed(&testkit::claim(1, 7, None), &key()),
        second_at(0),
    );
    note();
    let told = end(&host, &vaults, &host.promoter).await.expect("is told");
    assert!(told.contains("do not count here"), "{told}");
    // Somebody ended it.
    let (host, made, vaults) = killed(Stage::Won).await;
    let signer = host.promoter.signer.as_ref().expect("has one");
    release(&vaults, signer, &made.claim, ReleaseKind::Undone, "by hand", second_at(1)).await.expect("is stored");
    let record = left::find(&host.config).expect("is noted");
    assert_eq!(left::describe(&vaults, &host.promoter, &record, second_at(60)).await, None);
}

/// A run that goes on after a while makes a claim of its own. If that is undone, the earlier one must not hold.
#[tokio::test]
async fn a_claim_that_is_too_old_to_go_on_with_is_ended_before_another_one_is_made() {
    for (stage, after) in [(Stage::Won, "unclaimed"), (Stage::Used, "superseded 1")] {
        let (host, earlier, vaults) = killed(stage).await;
        let made = host.win(&vaults, HOUR, &terms()).await;
        assert_eq!((made.claim.epoch, made.is_earlier, made.id() == earlier.id()), (2, false, false));
        assert_eq!(end(&host, &vaults, &host.promoter).await, None, "it is undone");
        assert_eq!(word(&standing_of(&host, &vaults, None, 2 * HOUR).await), after, "{stage:?}");
    }
}

/// The claim that a swarm on this host carries stays as it is noted when a run goes on with it.
#[tokio::test]
async fn a_claim_that_is_in_use_is_not_taken_for_a_left_one_by_a_run_that_goes_on_with_it() {
    for (stage, expected) in [(Stage::Begun, Stage::Won), (Stage::Used, Stage::Used)] {
        let (host, earlier, vaults) = killed(stage).await;
        let made = host.win(&vaults, 60, &terms()).await;
        assert!(made.is_earlier && made.id() == earlier.id());
        assert_eq!(Record::of_host(&host.config).map(|record| record.stage), Some(expected));
    }
}

//! Claims that are given up.

use super::*;

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

/// The way back: the site that steps down stops nobody, and the one before it stays superseded.
#[tokio::test]
async fn a_site_that_stepped_down_leaves_the_one_before_superseded() {
    let identities = Identities::generate();
    let (old, new, next) = (Host::with(&identities), Host::with(&identities), Host::with(&identities));
    let (_, vaults) = one(locking());
    let made = new.claim(&vaults, 0, &terms()).await;
    let signer = new.promoter.signer.as_ref().expect("has one");
    release(&vaults, signer, &made.claim, ReleaseKind::SteppedDown, "back", second_at(1)).await.expect("is stored");
    let judge = async |host: &Host, second| standing_of(host, &vaults, None, second).await;
    assert!(judge(&old, 2).await.superseded().is_some(), "its state is older");
    assert!(judge(&new, 2).await.superseded().is_none(), "it goes on until another one is promoted");
    assert_eq!(next.claim(&vaults, 3, &terms()).await.claim.epoch, 2);
    assert!(judge(&new, 4).await.superseded().is_some());
}

/// A thief of a promoter's key claims the swarm with the highest epoch. That ends with the release of his claim.
#[tokio::test]
async fn the_highest_epoch_is_no_end_once_its_claim_is_ended() {
    let identities = Identities::generate();
    let (owner, thief, next) = (Host::with(&identities), Host::with(&identities), Host::with(&identities));
    let (vault, vaults) = one(locking());
    owner.claim(&vaults, 0, &terms()).await;
    let signer = thief.promoter.signer.as_ref().expect("has one");
    let forged = testkit::claim(name::MOST, 9, None);
    vault.overlay_at(&Name::Claim(name::MOST).key(&cluster()), testkit::packed(&forged, signer), second_at(HOUR));
    let told = next.refused(&vaults, 2 * HOUR, Exit::Refused).await;
    assert!(told.contains(&format!("step-down --claim {}", name::MOST)), "{told}");
    release(&vaults, signer, &forged, ReleaseKind::Undone, "forged", second_at(3 * HOUR)).await.expect("is stored");
    assert_eq!(next.claim(&vaults, 4 * HOUR, &terms()).await.claim.epoch, 2);
    assert_eq!(word(&standing_of(&next, &vaults, None, 5 * HOUR).await), "own 2");
    assert_eq!(word(&standing_of(&owner, &vaults, None, 5 * HOUR).await), "superseded 2");
}

//! Which point is taken, whatever others put into the vault.

use super::*;
use crate::{
    outcome::failure::Rendered,
    points::list::{PointList, list_in},
};

async fn listed(host: &Host, vaults: &[Connected], at: i64) -> PointList {
    list_in(&host.run(at), vaults, &Default::default(), &host.keys()).await.expect("is listed")
}

#[tokio::test]
async fn the_latest_complete_one_is_taken_below_newer_ones_that_lack_something() {
    let host = Host::with("[[stream]]\nname = \"shop-db\"\ncommand = [\"true\"]\nmax_age = \"1h\"\n");
    let (vault, vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    let none = host.choose(&vaults, Which::LatestComplete, 1).await.expect_err("there is none");
    assert_eq!(Rendered::of(&none).exit, crate::outcome::exit::Exit::NothingUsable);
    host.make(&vaults, 2).await;
    let none = format!("{:#}", host.choose(&vaults, Which::LatestComplete, 3).await.expect_err("is not complete"));
    assert!(none.contains("no complete recovery point"), "{none}");
    put_stream(vault.as_ref(), "shop-db", 5, &host.key).await;
    let complete = host.make(&vaults, 20).await.point.expect("is stored");
    assert!(complete.complete);
    for at in [100, 200, 300] {
        assert!(!host.make(&vaults, at).await.point.expect("is stored").complete);
    }
    let chosen = host.choose(&vaults, Which::LatestComplete, 301).await.expect("is there");
    assert_eq!(chosen.signed.point.id.to_string(), complete.id);
    assert!(chosen.findings[0].contains("is newer, but it is not complete"), "{:?}", chosen.findings);
    let latest = host.choose(&vaults, Which::Latest, 301).await.expect("is there");
    assert_eq!((latest.signed.point.sequence, latest.findings.len()), (5, 0), "{:?}", latest.findings);
    let by_id = Which::Id(complete.id.parse().expect("is an id"));
    let chosen = host.choose(&vaults, by_id, 301).await.expect("is there");
    assert_eq!((chosen.signed.point.sequence, chosen.findings.len()), (2, 0), "{:?}", chosen.findings);
}

#[tokio::test]
async fn what_others_put_among_the_points_is_told_and_changes_no_choice() {
    let (host, thief) = (Host::with(SHOP), archives::key());
    let (vault, vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    host.make(&vaults, 5).await;
    let genuine = host.choose(&vaults, Which::Latest, 6).await.expect("is there").signed;
    let key = genuine.point.key().to_string();
    let bytes = packed(&genuine.point, &host.key);
    // Forged and newer; a copy under a later name, and under another cluster; dated in the future, by a trusted key.
    let forged = invented(minute(10), 1);
    vault.overlay_at(&forged.key().to_string(), packed(&forged, &thief), minute(10));
    let later = point::PointKey { id: BackupId::new(minute(12), [2; 4]), ..genuine.point.key() };
    vault.overlay_at(&later.to_string(), bytes.clone(), minute(12));
    let elsewhere = point::PointKey { cluster: archives::OTHER.parse::<ClusterId>().expect("is an id"), ..later };
    vault.overlay_at(&elsewhere.to_string(), bytes.clone(), minute(12));
    let future = invented(minute(100_000), 3);
    vault.overlay_at(&future.key().to_string(), packed(&future, &host.key), minute(13));
    // A name that is none, a size that is none, and a document of another version.
    vault.overlay_at(&format!("points/{}/x.point", archives::CLUSTER), "junk", minute(14));
    let large = invented(minute(15), 4);
    vault.overlay_at(&large.key().to_string(), vec![b'x'; 100_000], minute(15));
    // On top of the genuine one, and over it a delete marker.
    vault.overlay_at(&key, "junk", minute(20));
    vault.overlay_at(&key, packed(&forged, &thief), minute(21));
    vault.hide(&key);
    let chosen = host.choose(&vaults, Which::Latest, 30).await.expect("is there");
    assert_eq!(chosen.signed, genuine);
    for told in ["not trusted", "is a copy of", "hidden by a delete marker"] {
        assert!(chosen.findings.iter().any(|finding| finding.contains(told)), "{told}: {:?}", chosen.findings);
    }
    let listed = listed(&host, &vaults, 30).await;
    assert_eq!((listed.points.len(), listed.exit() as u8), (1, 6), "{listed:?}");
    for told in ["is dated after", "is damaged", "not recovery points: 1"] {
        assert!(listed.findings.iter().any(|finding| finding.contains(told)), "{told}: {:?}", listed.findings);
    }
    // The next one follows the genuine one, and nothing else.
    host.make(&vaults, 40).await;
    let next = host.latest(&vaults, 41).await;
    assert_eq!((next.previous, next.sequence), (Some(genuine.digest), 2));
}

#[tokio::test]
async fn a_flood_hides_no_point() {
    let (host, thief) = (Host::with(SHOP), archives::key());
    let (vault, vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    host.make(&vaults, 5).await;
    let forged = packed(&invented(minute(0), 1), &thief);
    for number in 0..6000 {
        let id = BackupId::new(minute(6) + SignedDuration::from_secs(number), [1; 4]);
        let place = point::PointKey { cluster: cluster_id(), id };
        vault.overlay_at(&place.to_string(), forged.clone(), minute(3 * 24 * 60));
    }
    let chosen = host.choose(&vaults, Which::Latest, 4 * 24 * 60).await.expect("is found");
    assert_eq!(chosen.signed.point.made_at, minute(5));
    assert!(!chosen.findings.is_empty());
    let made = host.make(&vaults, 4 * 24 * 60).await;
    assert!(made.point.is_some());
    assert_eq!(host.latest(&vaults, 4 * 24 * 60 + 1).await.sequence, 2);
}

#[tokio::test]
async fn a_vault_that_may_have_a_newer_one_is_not_passed_over() {
    let host = Host::with(SHOP);
    let (vault, mut vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    let made = host.make(&vaults, 5).await.point.expect("is stored");
    vaults.push(away("a"));
    let error = host.choose(&vaults, Which::Latest, 6).await.expect_err("it is not known");
    assert!(Rendered::of(&error).to_string().contains("--any-vault"), "{error:#}");
    let by_id = host.choose(&vaults, Which::Id(made.id.parse().expect("is an id")), 6).await;
    assert_eq!(by_id.expect("is there").signed.point.sequence, 1);
    let listed = listed(&host, &vaults, 6).await;
    assert_eq!((listed.points.len(), listed.silent.len()), (1, 1), "{listed:?}");
}

//! What a point names, what it lacks, and who hears of it.

use super::*;
use crate::points::{Recovery, list::list_in};

#[tokio::test]
async fn a_point_names_the_newest_of_each_kind_and_is_complete() {
    let host = Host::with(SHOP);
    let (vault, vaults) = one();
    put_stream(vault.as_ref(), "shop-db", -1500, &host.key).await;
    let db = put_stream(vault.as_ref(), "shop-db", -45, &host.key).await;
    let orders = put_stream(vault.as_ref(), "orders", -40, &host.key).await;
    // It has not ended at the time of the point.
    put_stream(vault.as_ref(), "orders", 2, &host.key).await;
    let state = backup(vault.as_ref(), 0, &host.key).await;
    let note = host.snapshot(&vaults, "uploads", "3f9a1c07", 5).await;
    assert!(note.complete && note.missing.is_empty(), "{note:?}");
    assert_eq!((note.seconds_apart, note.kept.len()), (Some(50 * 60), 1));
    let point = host.latest(&vaults, 6).await;
    assert_eq!(names(&point), [("orders", orders), ("shop-db", db)]);
    assert_eq!(point.state.as_ref().map(|state| state.backup), Some(state));
    assert_eq!((point.external[0].id.as_str(), point.sequence, point.previous), ("3f9a1c07", 1, None));
    let listed = list_in(&host.run(6), &vaults, &Default::default(), &host.keys()).await.expect("is listed");
    let row = &listed.points[0];
    assert_eq!((row.complete, row.lock.is_some(), listed.findings.len()), (true, true, 0), "{listed:?}");
    assert!(listed.to_string().contains("50 min apart"), "{listed}");
}

#[tokio::test]
async fn a_part_that_is_late_or_missing_is_the_reason_and_what_is_carried_over_is_too() {
    let host = Host::with(SHOP);
    let (vault, vaults) = one();
    let first = host.make(&vaults, 0).await.point.expect("is stored");
    let missing = ["the backup of the state is missing", "stream orders is missing", "stream shop-db is missing"];
    assert_eq!(first.missing[..3], missing.map(str::to_owned));
    backup(vault.as_ref(), 0, &host.key).await;
    put_stream(vault.as_ref(), "shop-db", 0, &host.key).await;
    put_stream(vault.as_ref(), "orders", 0, &host.key).await;
    assert!(host.snapshot(&vaults, "uploads", "a", 10).await.complete);
    let day = 26 * 60;
    assert!(host.make(&vaults, day).await.point.expect("is stored").complete);
    let late = host.make(&vaults, day + 20).await.point.expect("is stored");
    assert_eq!(late.missing, ["stream shop-db is older than 26h", "external uploads is older than 26h"]);
    let point = host.latest(&vaults, day + 30).await;
    assert_eq!((point.sequence, point.external[0].as_of), (4, minute(10)), "carried over");
}

#[tokio::test]
async fn the_last_check_of_the_images_is_in_it_and_is_carried_over() {
    let host = Host::with(&format!("[images]\ncheck = \"daily\"\n{SHOP}"));
    let (vault, vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    for name in ["shop-db", "orders"] {
        put_stream(vault.as_ref(), name, 0, &host.key).await;
    }
    let unchecked = host.snapshot(&vaults, "uploads", "a", 10).await;
    assert_eq!(unchecked.missing, ["the check of the images is missing"]);
    let checked = |at, missing| point::ImagesPart { checked_at: minute(at), images: 12, missing, unknown: 0 };
    let make_with = async |images, at| {
        let occasion = Occasion { images, ..Occasion::default() };
        let made = make(&host.run(at), &vaults, &cluster_id(), occasion, minute(at)).await.expect("is made");
        made.point.expect("is stored").missing
    };
    assert_eq!(make_with(Some(checked(12, 1)), 12).await, ["the check of the images found some of them missing"]);
    assert_eq!(make_with(Some(checked(13, 0)), 13).await, [""; 0]);
    // A worker, or a manager that makes no backups, knows of no check, or of an older one.
    assert_eq!(make_with(None, 14).await, [""; 0]);
    assert_eq!(make_with(Some(checked(11, 5)), 15).await, [""; 0]);
    assert_eq!(host.latest(&vaults, 16).await.images, Some(checked(13, 0)));
    let listed = list_in(&host.run(16), &vaults, &Default::default(), &host.keys()).await.expect("is listed");
    assert!(listed.to_string().contains("1 external, images"), "{listed}");
}

#[tokio::test]
async fn a_stream_that_the_configuration_no_longer_names_stays_and_is_not_missed() {
    let host = Host::with(SHOP);
    let (vault, vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    for name in ["shop-db", "orders"] {
        put_stream(vault.as_ref(), name, 0, &host.key).await;
    }
    host.snapshot(&vaults, "uploads", "a", 10).await;
    let host = host.edited("[[stream]]\nname = \"orders\"\ncommand = [\"true\"]\n");
    let later = host.make(&vaults, 60 * 24 * 60).await.point.expect("is stored");
    assert!(later.complete, "{later:?}");
    let point = host.latest(&vaults, 60 * 24 * 60 + 1).await;
    assert_eq!(point.streams.len(), 2, "it is still in the vault");
    assert!(point.external.is_empty(), "this host made it, and has its tool no more");
}

#[tokio::test]
async fn nobody_without_data_gets_points_and_it_costs_two_listings() {
    let host = Host::with("");
    let inner = Arc::new(vault("v"));
    backup(inner.as_ref(), 0, &host.key).await;
    let (counting, calls) = growth::counting(&inner);
    let made = host.make(&[connected(counting, "v")], 5).await;
    assert!(made.point.is_none() && made.attention.is_empty(), "{made:?}");
    let calls = calls.lock().expect("nobody panicked").clone();
    assert!(calls.iter().all(|call| matches!(call, Call::List { .. })), "{calls:?}");
    assert_eq!(calls.len(), 2);
}

#[tokio::test]
async fn what_is_forged_or_replayed_is_in_no_point() {
    let (host, thief) = (Host::with(SHOP), archives::key());
    let (vault, vaults) = one();
    let (db, genuine) = stream("shop-db", -30, &host.key);
    store_bytes(vault.as_ref(), db.to_string(), &genuine, minute(-25)).await.expect("is stored");
    let state = backup(vault.as_ref(), 0, &host.key).await;
    // By another key, and later; the genuine one under a later id, and under another name.
    let (place, forged) = stream("shop-db", -10, &thief);
    vault.overlay_at(&place.to_string(), forged, minute(-5));
    let later = StreamKey { id: BackupId::new(minute(-8), [9; 4]), ..db.clone() };
    vault.overlay_at(&later.to_string(), genuine.clone(), minute(-8));
    let renamed = StreamKey { name: "orders".parse().expect("is a name"), ..db.clone() };
    vault.overlay_at(&renamed.to_string(), genuine, minute(-8));
    // Laid on top, and hidden.
    vault.overlay_at(&db.to_string(), "junk", minute(-3));
    vault.hide(&db.to_string());
    let forged = archives::archive(archives::CLUSTER, 3, &thief);
    vault.overlay_at(&forged.name.key(), forged.bytes, minute(3));
    let note = host.make(&vaults, 5).await.point.expect("is stored");
    let point = host.latest(&vaults, 6).await;
    assert_eq!((names(&point), point.state.as_ref().map(|it| it.backup)), (vec![("shop-db", db.id)], Some(state)));
    assert_eq!(note.missing, ["stream orders is missing", "external uploads is missing"]);
}

#[tokio::test]
async fn two_hosts_at_once_lose_nothing_and_raise_no_alarm() {
    let host = Host::with(SHOP);
    let (vault, vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    host.snapshot(&vaults, "uploads", "old", 1).await;
    let base = host.choose(&vaults, Which::Latest, 2).await.expect("is there").signed;
    // Both have read the same point before.
    for (at, name, id) in [(10, "uploads", "new"), (11, "mail", "m1")] {
        let external = |name: &str, id: &str, at| point::ExternalPart {
            name: name.parse().expect("is a name"),
            id: id.to_owned(),
            as_of: minute(at),
            host: "w7".to_owned(),
        };
        let mut parts = vec![external(name, id, at)];
        parts.extend((name != "uploads").then(|| external("uploads", "old", 1)));
        let point = Point { sequence: 2, previous: Some(base.digest), external: parts, ..invented(minute(at), 7) };
        let bytes = packed(&point, &host.key);
        store_bytes(vault.as_ref(), point.key().to_string(), &bytes, minute(at)).await.expect("is stored");
    }
    host.make(&vaults, 20).await;
    let point = host.latest(&vaults, 21).await;
    let ids: Vec<(&str, &str)> = point.external.iter().map(|it| (it.name.as_str(), it.id.as_str())).collect();
    assert_eq!(ids, [("mail", "m1"), ("uploads", "new")]);
    let listed = list_in(&host.run(21), &vaults, &Default::default(), &host.keys()).await.expect("is listed");
    assert_eq!((listed.points.len(), listed.findings.len()), (4, 0), "{:?}", listed.findings);
}

#[tokio::test]
async fn a_vault_that_is_away_or_takes_nothing_is_told_and_the_others_have_it() {
    let host = Host::with(SHOP);
    let (vault, mut vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    let other = Arc::new(archives::vault("d"));
    vaults.extend([away("a"), denying(&other, "d")]);
    let Made { point, attention } = host.make(&vaults, 5).await;
    assert_eq!(point.expect("is stored").kept, ["s3://v"]);
    assert_eq!(attention.len(), 2, "{attention:?}");
    assert!(attention[0].contains("s3://a gets no recovery point"), "{attention:?}");
    assert!(attention[1].contains("s3://d does not have the recovery point"), "{attention:?}");
    // Nobody asks a vault that did not take what the point is about.
    let took = Some(BTreeSet::from(["s3://v".to_owned()]));
    let occasion = Occasion { took, ..Occasion::default() };
    let made = make(&host.run(6), &vaults, &cluster_id(), occasion, minute(6)).await.expect("is made");
    assert!(made.point.is_some() && made.attention.is_empty(), "{made:?}");
    let none = host.make(&vaults[1..], 7).await;
    assert!(none.point.is_none() && !none.attention.is_empty(), "{none:?}");
}

/// A hundred names fit; each beyond costs the point its completeness, and the operator is told.
#[tokio::test]
async fn more_streams_than_a_document_holds_are_told_and_the_configured_ones_come_first() {
    let host = Host::with("[[stream]]\nname = \"a-first\"\ncommand = [\"true\"]\n");
    let (vault, vaults) = one();
    backup(vault.as_ref(), 0, &host.key).await;
    put_stream(vault.as_ref(), "a-first", -100, &host.key).await;
    for number in 0..150 {
        put_stream(vault.as_ref(), &format!("stream-{number:03}"), -90, &host.key).await;
    }
    let Made { point, attention } = host.make(&vaults, 5).await;
    let note = point.expect("is stored");
    assert!(!note.complete && attention.len() == 1 && attention[0].contains("has no room for"), "{attention:?}");
    let point = host.latest(&vaults, 6).await;
    assert_eq!(point.streams.len() as u64 + point.left_out, 151);
    assert!((80..150).contains(&point.streams.len()), "{}", point.streams.len());
    assert_eq!(point.streams[0].name.as_str(), "a-first", "though it is the oldest");
    let in_memory: Vec<Arc<dyn Vault>> = vec![Arc::clone(&vault) as Arc<dyn Vault>];
    let plan = Recovery::plan_in(&in_memory, &host.run(6), &point, &host.keys(), &Default::default()).await;
    assert!(plan.attention[0].contains("have no room"), "{:?}", plan.attention);
}

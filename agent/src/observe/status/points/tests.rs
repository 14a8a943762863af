//! Tests of what is said of recovery points.

use swarmdr_archive::Digest;
use swarmdr_vault::{
    LockMode,
    testkit::archives::{cluster_id, minute, points, vault},
};

use super::*;
use crate::{
    observe::status::{
        Status,
        tests::{fine, time, with_stream},
    },
    outcome::exit::Exit,
};

fn seen(made: &str, missing: &[&str]) -> PointSeen {
    let (id, made_at) = (BackupId::new(time(made), [1; 4]), time(made));
    let digest = Digest::of(id.to_string().as_bytes());
    PointSeen {
        id,
        made_at,
        hostname: "m1".to_owned(),
        complete: missing.is_empty(),
        missing: missing.iter().map(|text| (*text).to_owned()).collect(),
        seconds_apart: Some(2700),
        lock: Some(Lock { mode: LockMode::Compliance, until: time("2026-12-21T03:30:00Z") }),
        place: Place { id, sequence: 1, previous: None, digest, ended: made_at, stored: made_at, specs: None },
    }
}

/// A point that lacks a stream, seven hours after one that was complete.
pub(crate) fn incomplete() -> PointStatus {
    PointStatus {
        configured: true,
        newest: Some(seen("2026-11-21T10:30:00Z", &["stream db is older than 26h"])),
        newest_complete: Some(seen("2026-11-21T03:30:00Z", &[])),
    }
}

fn said(points: PointStatus) -> (Vec<String>, Exit, String) {
    let mut status = Status { points: Some(points), ..fine() };
    status.judge();
    (status.reasons.iter().map(|reason| reason.text.clone()).collect(), status.exit(), status.to_string())
}

#[test]
fn a_point_that_is_not_complete_is_a_warning_with_its_reasons_and_the_age_of_the_last_complete_one() {
    let (reasons, exit, text) = said(incomplete());
    assert_eq!((reasons.len(), exit), (1, Exit::Attention), "{reasons:?}");
    let expected = "the newest recovery point 20261121T103000Z-01010101 is not complete: stream db is older than 26h; \
                    the newest complete one, 20261121T033000Z-01010101, is from 2026-11-21T03:30:00Z";
    assert_eq!(reasons[0], expected);
    let line = "  point    20261121T103000Z-01010101 from m1, 90 min ago: NOT complete: stream db is older than 26h; \
                complete: 20261121T033000Z-01010101, 8 h ago";
    assert!(text.lines().any(|it| it == line), "{text}");
    let (reasons, ..) = said(PointStatus { newest_complete: None, ..incomplete() });
    assert!(reasons[0].ends_with("no earlier one is complete"), "{reasons:?}");
    let complete = incomplete().newest_complete;
    let fine = PointStatus { newest: complete.clone(), ..incomplete() };
    assert_eq!(said(fine.clone()).1, Exit::Done);
    let ended = complete.map(|it| PointSeen {
        lock: Some(Lock { mode: LockMode::Compliance, until: time("2026-11-21T11:00:00Z") }),
        ..it
    });
    let (reasons, ..) = said(PointStatus { newest_complete: ended, ..fine });
    assert!(reasons[0].contains("has ended: it can be deleted"), "{reasons:?}");
}

#[test]
fn who_has_no_data_and_a_worker_are_not_bothered() {
    assert_eq!(said(PointStatus { configured: false, ..incomplete() }).1, Exit::Done);
    let mut worker = Status { points: Some(incomplete()), streams_only: true, ..fine() };
    worker.judge();
    assert_eq!(worker.exit(), Exit::Done);
    let none = || PointStatus { newest: None, newest_complete: None, ..incomplete() };
    assert_eq!(said(none()).1, Exit::Done, "nothing was ever stored");
    let mut status = with_stream(fine());
    status.points = Some(none());
    status.judge();
    let told = |text: &str| status.reasons.iter().any(|reason| reason.text.contains(text));
    assert!(told("no recovery point that verifies is in any vault"));
}

#[tokio::test]
async fn a_vault_shows_its_newest_point_and_the_complete_one_below() {
    use swarmdr_archive::point::{Gap, Part, Why};
    let (key, vault) = (swarmdr_vault::testkit::archives::key(), vault("v"));
    let gap = Gap { part: Part::State, name: None, why: Why::Missing, max_age: None };
    for (at, is_complete) in [(0, false), (1, true), (2, false), (3, false)] {
        let point = Point {
            sequence: u64::try_from(at).expect("is not negative") + 1,
            gaps: if is_complete { Vec::new() } else { vec![gap.clone()] },
            ..points::invented(minute(at), 1)
        };
        points::put(&vault, &point, &key).await;
    }
    let mut seen = InVault::default();
    let keys = TrustedKeys::from(key.public());
    seen.look(&vault, &Filter::cluster(cluster_id()), &keys, minute(9)).await.expect("answers");
    let made = |seen: &[PointSeen]| seen.iter().map(|it| (it.made_at, it.complete)).collect::<Vec<_>>();
    assert_eq!((made(&seen.newest), made(&seen.complete)), (vec![(minute(3), false)], vec![(minute(1), true)]));
    assert!(seen.newest[0].lock.is_some() && seen.findings.is_empty(), "{:?}", seen.findings);
}

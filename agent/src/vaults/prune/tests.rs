//! Tests of which backups stay, which are removed, and which never are.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use swarmdr_archive::{
    BackupId, Digest, TrustedKeys,
    point::{Gap, Part, Point, StatePart, Why},
};
use swarmdr_vault::{
    Lock, LockMode, VaultSettings, VersionRef,
    catalog::Place,
    testkit::{
        archives::{self, CLUSTER, archive, key, put, vault},
        injector::without_locks_to_read,
    },
};

use super::{
    held::Held,
    points::{self, Staying},
    *,
};
use crate::outcome::exit::Exit;

fn held(id: &str) -> Held {
    let id: BackupId = format!("{id}-00000001").parse().expect("is an id");
    stored(id, id.created_at())
}

fn stored(id: BackupId, stored: Timestamp) -> Held {
    let place = Place {
        id,
        sequence: 1,
        previous: None,
        digest: Digest::of(id.to_string().as_bytes()),
        ended: id.created_at(),
        stored,
        specs: None,
    };
    Held {
        place,
        at: VersionRef::new(format!("c/{id}.swarmdr"), "v"),
        size: 1,
        proven: true,
        lock: None,
        in_point: false,
    }
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().expect("is a time")
}

fn removed(decisions: &[PruneDecision]) -> Vec<String> {
    decisions
        .iter()
        .filter(|decision| decision.act == Act::Remove)
        .map(|decision| decision.id.to_string()[..15].to_owned())
        .collect()
}

#[test]
fn each_rule_keeps_the_newest_of_its_periods() {
    let all: Vec<Held> = [
        "20261121T033000Z",
        "20261120T153000Z",
        "20261120T033000Z",
        "20261116T033000Z",
        "20261115T033000Z",
        "20261031T033000Z",
        "20261030T033000Z",
        "20251231T033000Z",
    ]
    .map(held)
    .to_vec();
    let policy =
        |keep_last, keep_daily, keep_weekly, keep_monthly| Policy { keep_last, keep_daily, keep_weekly, keep_monthly };
    for (policy, kept) in [
        (policy(1, 0, 0, 0), &[0][..]),
        (policy(3, 0, 0, 0), &[0, 1, 2]),
        (policy(0, 3, 0, 0), &[0, 1, 3]),
        // The 16th is a Monday.
        (policy(0, 0, 2, 0), &[0, 4]),
        (policy(0, 0, 0, 3), &[0, 5, 7]),
        (policy(2, 3, 2, 9), &[0, 1, 3, 4, 5, 7]),
        (policy(99, 0, 0, 0), &[0, 1, 2, 3, 4, 5, 6, 7]),
    ] {
        let decisions = plan(&all, &policy, now());
        let expected: Vec<BackupId> = kept.iter().map(|n| all[*n].place.id).collect();
        let found: Vec<BackupId> =
            decisions.iter().filter(|decision| decision.act == Act::Keep).map(|decision| decision.id).collect();
        assert_eq!(found, expected, "{policy:?}");
    }
}

#[test]
fn the_newest_and_the_newest_proven_stay_whatever_the_policy() {
    let mut all = ["20261121T033000Z", "20261120T033000Z", "20261119T033000Z", "20261118T033000Z"].map(held);
    all[0].proven = false;
    all[1].proven = false;
    let decisions = plan(&all, &Policy { keep_last: 1, ..Policy::default() }, now());
    assert_eq!(removed(&decisions), ["20261120T033000", "20261118T033000"]);
    assert_eq!(decisions[2].because, ["newest proven"]);
}

#[test]
fn a_lock_that_has_not_ended_holds() {
    let mut all = ["20261121T033000Z", "20261120T033000Z", "20261119T033000Z"].map(held);
    let lock = |until: &str| Some(Lock { mode: LockMode::Compliance, until: until.parse().expect("is a time") });
    all[1].lock = lock("2026-11-21T12:00:01Z");
    all[2].lock = lock("2026-11-21T12:00:00Z");
    let decisions = plan(&all, &Policy { keep_last: 1, ..Policy::default() }, now());
    assert_eq!((decisions[1].act, decisions[2].act), (Act::Locked, Act::Remove));
    assert_eq!(decisions[1].because, ["locked until 2026-11-21T12:00:01Z"]);
}

#[test]
fn an_empty_policy_is_refused() {
    let error = Policy::default().require_some().expect_err("would remove everything");
    assert_eq!(crate::outcome::failure::Rendered::of(&error).exit, Exit::Usage);
    Policy { keep_monthly: 1, ..Policy::default() }.require_some().expect("keeps something");
}

/// For each past day there is a forged backup for an hour after the genuine one, all stored on one later day.
#[test]
fn late_backups_displace_no_others() {
    let genuine: Vec<Held> = (1..=9).rev().map(|day| held(&format!("2026111{day}T033000Z"))).collect();
    let late = |day: u32, hour: u32| {
        let id = format!("2026111{day}T{hour:02}3000Z-00000002").parse().expect("is an id");
        stored(id, "2026-11-20T12:00:00Z".parse().expect("is a time"))
    };
    let mut all = genuine.clone();
    all.extend((1..=9).flat_map(|day| [late(day, 4), late(day, 5), late(day, 6)]));
    for policy in [
        Policy { keep_daily: 7, ..Policy::default() },
        Policy { keep_last: 3, ..Policy::default() },
        Policy { keep_weekly: 2, keep_monthly: 1, ..Policy::default() },
    ] {
        let kept = |decisions: Vec<PruneDecision>| -> Vec<BackupId> {
            decisions
                .iter()
                .filter(|decision| decision.act == Act::Keep && !decision.late)
                .map(|decision| decision.id)
                .collect()
        };
        assert_eq!(kept(plan(&all, &policy, now())), kept(plan(&genuine, &policy, now())), "{policy:?}");
        // In a bucket that was copied all backups are late, and the same ones stay.
        let copied: Vec<Held> = genuine.iter().map(|it| stored(it.place.id, now())).collect();
        let decisions = plan(&copied, &policy, now());
        let left: Vec<BackupId> =
            decisions.iter().filter(|decision| decision.act == Act::Keep).map(|decision| decision.id).collect();
        assert_eq!(left, kept(plan(&genuine, &policy, now())), "{policy:?}");
    }
    all.sort_by_key(|it| std::cmp::Reverse(it.place.id));
    let decisions = plan(&all, &Policy { keep_daily: 2, ..Policy::default() }, now());
    let late: Vec<_> = decisions.iter().filter(|decision| decision.late && decision.act == Act::Keep).collect();
    assert_eq!(late.len(), 2, "they are bounded as well: {late:?}");
}

/// The clock of a directory is that of its host. A backup with a time in the future displaces no other.
#[test]
fn a_backup_from_the_future_displaces_no_others() {
    let mut all = [0, 1, 2].map(|day| held(&format!("2026112{}T033000Z", 1 - day.min(1)))).to_vec();
    all.dedup_by_key(|it| it.place.id);
    let future =
        stored("20271121T033000Z-00000009".parse().expect("is an id"), now() + SignedDuration::from_hours(9000));
    all.insert(0, future);
    let decisions = plan(&all, &Policy { keep_last: 2, ..Policy::default() }, now());
    assert!(decisions.iter().all(|decision| decision.act == Act::Keep), "{decisions:?}");
}

proptest! {
    #[test]
    fn never_removes_the_newest_proven_nor_more_than_the_policy_says(
        seconds in prop::collection::btree_set(1_700_000_000_i64..1_795_000_000, 1..60),
        proven in prop::collection::vec(any::<bool>(), 60),
        counts in (0_u32..5, 0_u32..5, 0_u32..5, 0_u32..5),
    ) {
        let all: Vec<Held> = seconds.iter().rev().zip(&proven).map(|(second, proven)| {
            let id = BackupId::new(Timestamp::from_second(*second).expect("is a time"), [1; 4]);
            Held { proven: *proven, ..stored(id, id.created_at()) }
        }).collect();
        let policy = Policy { keep_last: counts.0, keep_daily: counts.1, keep_weekly: counts.2, keep_monthly: counts.3 };
        let decisions = plan(&all, &policy, now());
        let kept = |held: &Held| decisions.iter().any(|decision| decision.id == held.place.id && decision.act == Act::Keep);
        prop_assert!(kept(&all[0]));
        prop_assert!(all.iter().find(|held| held.proven).is_none_or(kept));
        let number = decisions.iter().filter(|decision| decision.act == Act::Keep).count() as u32;
        prop_assert!(number <= counts.0 + counts.1 + counts.2 + counts.3 + 2);
        prop_assert!(number >= counts.0.min(all.len() as u32));
        // Applied again to what it left, it removes nothing more.
        let left: Vec<Held> = all.iter().filter(|held| kept(held)).cloned().collect();
        prop_assert!(removed(&plan(&left, &policy, now())).is_empty());
    }
}

#[test]
fn texts_of_others_do_not_steer_the_terminal() {
    crate::outcome::terminal::tests::assert_tame(|text| {
        let own = || text.to_owned();
        let plan = VaultPlan {
            vault: own(),
            cluster: "c".parse().expect("is an id"),
            backups: Vec::new(),
            lifecycle: None,
            acts: false,
        };
        let policy = Policy::default();
        PruneReport {
            result: "done",
            dry_run: true,
            policy,
            plans: vec![plan],
            streams: Vec::new(),
            points: Vec::new(),
            removed_streams: 0,
            removed_points: 0,
            signs_of_life: vec![LifePlan::of(&own(), 1)],
            removed: 0,
            attention: vec![own()],
        }
    });
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_ends_the_plan() {
    let (key, vault) = (key(), std::sync::Arc::new(vault("v")));
    put(vault.as_ref(), &archive(CLUSTER, 0, &key)).await;
    let vault = std::sync::Arc::new(without_locks_to_read(vault));
    let connected = Connected { settings: VaultSettings::new("s3://bucket"), vault };
    let keys = TrustedKeys::from(key.public());
    let error = list::<ClusterId>(&connected, &(), None, &keys, &Shutdown::default(), now())
        .await
        .expect_err("it is not known");
    assert!(error.to_string().contains("failed to read a lock, so nothing is planned"), "{error:#}");
}

/// A point of this day at noon, about the backup of a day; complete or not.
fn point(day: u32, of_state: u32, is_complete: bool) -> (Held, Point) {
    let at: Timestamp = format!("2026-11-{day:02}T12:00:00Z").parse().expect("is a time");
    let state = held(&format!("202611{of_state:02}T033000Z"));
    let gap = Gap { part: Part::State, name: None, why: Why::Missing, max_age: None };
    let point = Point {
        cluster_id: "c".parse().expect("is an id"),
        state: Some(StatePart {
            backup: state.place.id,
            manifest_digest: state.place.digest,
            created_at: state.place.id.created_at(),
        }),
        gaps: if is_complete { Vec::new() } else { vec![gap] },
        ..archives::points::invented(at, 3)
    };
    (Held { proven: false, ..stored(point.id, at) }, point)
}

/// The backups of these days, newest first, as the policy of three decides.
fn backups(days: &[u32], pinned: &[u32]) -> Vec<PruneDecision> {
    let held = |day: &u32| Held { in_point: pinned.contains(day), ..held(&format!("202611{day:02}T033000Z")) };
    let all: Vec<Held> = days.iter().map(held).collect();
    plan(&all, &Policy { keep_last: 3, ..Policy::default() }, now())
}

fn staying(decisions: &[PruneDecision]) -> Staying {
    let mut staying = Staying::default();
    staying.add(decisions);
    staying
}

fn gone(points: &[(Held, Point)], staying: &Staying, days: u32) -> Vec<String> {
    removed(&points::plan(points, staying, days, now())).iter().map(|id| id[6..8].to_owned()).collect()
}

#[test]
fn a_point_goes_with_the_last_of_what_it_names() {
    let points = [point(21, 20, true), point(19, 19, true), point(18, 18, true), point(17, 17, true)];
    assert_eq!(gone(&points, &staying(&backups(&[20, 19, 18, 17], &[])), 1), ["17"]);
    // One that names nothing but the newest backup goes by its age, since that backup stays for ever.
    let points = [point(21, 10, true), point(20, 10, true), point(15, 10, true), point(14, 9, true)];
    let kept = staying(&backups(&[10, 9], &[]));
    assert_eq!(gone(&points, &kept, 5), ["15"]);
    assert_eq!(gone(&points, &kept, 7), [""; 0]);
}

#[test]
fn the_newest_point_and_the_newest_complete_one_stay_with_what_they_name() {
    let points = [point(21, 20, false), point(20, 19, false), point(15, 9, true), point(14, 8, true)];
    let pinned = points::in_newest_complete(&points, now());
    let named = held("20261109T033000Z").place.digest;
    assert_eq!(pinned, [named].into());
    let decisions = backups(&[20, 19, 18, 10, 9, 8], &[9]);
    assert_eq!(removed(&decisions), ["20261110T033000", "20261108T033000"]);
    assert_eq!(decisions[4].because, ["in the newest complete recovery point"]);
    let all_gone = points::plan(&points, &Staying::default(), 0, now());
    assert_eq!(removed(&all_gone), ["20261120T120000", "20261114T120000"]);
    assert_eq!(
        (&all_gone[0].because[..], &all_gone[2].because[..]),
        (&["newest".to_owned()][..], &["newest complete".to_owned()][..])
    );
    // One whose time the clock of the vault does not confirm displaces none.
    let mut late = point(21, 20, true);
    late.0.place.stored = now() + SignedDuration::from_hours(24);
    let points = [late, point(20, 19, true), point(15, 9, true)];
    assert_eq!(removed(&points::plan(&points, &Staying::default(), 0, now())), ["20261115T120000"]);
}

#[test]
fn a_locked_point_stays_until_its_lock_ends() {
    let mut points = [point(21, 20, true), point(14, 9, true)];
    points[1].0.lock = Some(Lock { mode: LockMode::Compliance, until: now() + SignedDuration::from_hours(1) });
    let decisions = points::plan(&points, &Staying::default(), 0, now());
    assert_eq!((decisions[1].act, removed(&decisions)), (Act::Locked, Vec::new()));
}

//! What is kept and what goes, and what never goes.

use proptest::prelude::*;

use super::*;
use crate::vault::LockMode;

fn held(id: &str) -> Held {
    let id: BackupId = format!("{id}-00000001").parse().expect("is an id");
    Held { id, at: VersionRef::new(format!("c/{id}.swarmdr"), "v"), size: 1, proven: true, lock: None }
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().expect("is a time")
}

fn removed(fates: &[Fate]) -> Vec<String> {
    fates.iter().filter(|fate| fate.act == Act::Remove).map(|fate| fate.id.to_string()[..15].to_owned()).collect()
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
        let fates = plan(&all, &policy, now());
        let expected: Vec<BackupId> = kept.iter().map(|n| all[*n].id).collect();
        let found: Vec<BackupId> = fates.iter().filter(|fate| fate.act == Act::Keep).map(|fate| fate.id).collect();
        assert_eq!(found, expected, "{policy:?}");
    }
}

#[test]
fn the_newest_and_the_newest_proven_stay_whatever_the_policy() {
    let mut all = ["20261121T033000Z", "20261120T033000Z", "20261119T033000Z", "20261118T033000Z"].map(held);
    all[0].proven = false;
    all[1].proven = false;
    let fates = plan(&all, &Policy { keep_last: 1, ..Policy::default() }, now());
    assert_eq!(removed(&fates), ["20261120T033000", "20261118T033000"]);
    assert_eq!(fates[2].because, ["newest proven"]);
}

#[test]
fn a_lock_that_has_not_ended_holds() {
    let mut all = ["20261121T033000Z", "20261120T033000Z", "20261119T033000Z"].map(held);
    let lock = |until: &str| Some(Lock { mode: LockMode::Compliance, until: until.parse().expect("is a time") });
    all[1].lock = lock("2026-11-21T12:00:01Z");
    all[2].lock = lock("2026-11-21T12:00:00Z");
    let fates = plan(&all, &Policy { keep_last: 1, ..Policy::default() }, now());
    assert_eq!((fates[1].act, fates[2].act), (Act::Locked, Act::Remove));
    assert_eq!(fates[1].because, ["locked until 2026-11-21T12:00:01Z"]);
}

#[test]
fn an_empty_policy_is_refused() {
    let error = Policy::default().require_some().expect_err("would remove everything");
    assert_eq!(crate::fault::Rendered::of(&error).exit, Exit::Usage);
    Policy { keep_monthly: 1, ..Policy::default() }.require_some().expect("keeps something");
}

proptest! {
    #[test]
    fn never_removes_the_newest_proven_nor_more_than_the_policy_says(
        seconds in prop::collection::btree_set(1_700_000_000_i64..1_800_000_000, 1..60),
        proven in prop::collection::vec(any::<bool>(), 60),
        counts in (0_u32..5, 0_u32..5, 0_u32..5, 0_u32..5),
    ) {
        let all: Vec<Held> = seconds.iter().rev().zip(&proven).map(|(second, proven)| {
            let id = BackupId::new(Timestamp::from_second(*second).expect("is a time"), [1; 4]);
            Held { id, at: VersionRef::new("k", "v"), size: 1, proven: *proven, lock: None }
        }).collect();
        let policy = Policy { keep_last: counts.0, keep_daily: counts.1, keep_weekly: counts.2, keep_monthly: counts.3 };
        let fates = plan(&all, &policy, now());
        let kept = |held: &Held| fates.iter().any(|fate| fate.id == held.id && fate.act == Act::Keep);
        prop_assert!(kept(&all[0]));
        prop_assert!(all.iter().find(|held| held.proven).is_none_or(kept));
        let number = fates.iter().filter(|fate| fate.act == Act::Keep).count() as u32;
        prop_assert!(number <= counts.0 + counts.1 + counts.2 + counts.3 + 2);
        prop_assert!(number >= counts.0.min(all.len() as u32));
        // Applied again to what it left, it removes nothing more.
        let left: Vec<Held> = all.iter().filter(|held| kept(held)).cloned().collect();
        prop_assert!(removed(&plan(&left, &policy, now())).is_empty());
    }
}

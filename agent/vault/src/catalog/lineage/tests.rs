//! Lineages as managers make them, and lineages after an attack.

use proptest::prelude::*;
use swarmdr_archive::{BackupId, ClusterId};

use super::*;

const DAY: i64 = 24 * 60;
const LOCK_DAYS: i64 = 30;

fn at(minute: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn digest(of: u64) -> Digest {
    Digest::of(&of.to_be_bytes())
}

/// A simulation of managers that share vaults by the rules of the backup flow, with outages, late deliveries and
/// pruning.
#[derive(Debug, Default)]
struct World {
    members: Vec<Member>,
    /// Waiting deliveries by manager: index of the backup, and index of the vault.
    spools: [Vec<(usize, usize)>; 3],
    made: u64,
    minute: i64,
}

#[derive(Debug, Clone)]
struct Run {
    manager: usize,
    /// Minutes since the run before.
    pause: i64,
    /// Minutes by which this manager's clock is wrong.
    skew: i64,
    /// Whether each vault answers.
    up: [bool; 2],
    prune: bool,
}

impl World {
    fn newest_of(&self, up: [bool; 2]) -> Option<&Member> {
        let visible = |member: &&Member| member.copies.iter().any(|copy| up[copy.vault.parse::<usize>().unwrap()]);
        self.members.iter().filter(visible).max_by_key(|member| member.id)
    }

    fn store(&mut self, member: usize, vault: usize) {
        let stored = at(self.minute);
        let locked_until = Some(stored + SignedDuration::from_hours(24 * LOCK_DAYS));
        self.members[member].copies.push(StoredCopy { vault: vault.to_string(), stored, locked_until });
    }

    fn play(&mut self, run: &Run) {
        self.minute += run.pause;
        if run.up == [false, false] {
            return;
        }
        let serial = self.made;
        self.made += 1;
        let tag = (serial as u32).to_be_bytes();
        let previous = self.newest_of(run.up);
        let member = Member {
            id: BackupId::new(at(self.minute + run.skew), tag),
            sequence: previous.map_or(1, |previous| previous.sequence + 1),
            previous: previous.map(|previous| previous.digest),
            digest: digest(serial),
            ended: at(self.minute + run.skew),
            trusted: true,
            copies: Vec::new(),
        };
        self.members.push(member);
        self.minute += 3;
        let new = self.members.len() - 1;
        let mut spool = std::mem::take(&mut self.spools[run.manager]);
        spool.extend([(new, 0), (new, 1)]);
        for (member, vault) in spool {
            if run.up[vault] {
                self.store(member, vault);
            } else {
                self.spools[run.manager].push((member, vault));
            }
        }
        if run.prune {
            self.prune();
        }
    }

    /// Removes two of three backups that are not locked any more, but never the newest.
    fn prune(&mut self) {
        let (now, newest) = (at(self.minute), self.members.iter().map(|member| member.id).max());
        for (i, member) in self.members.iter_mut().enumerate() {
            if Some(member.id) != newest && i % 3 != 0 {
                member.copies.retain(|copy| copy.locked_until.is_some_and(|until| until > now));
            }
        }
    }

    fn check(&self) -> Assessment {
        let mut lineage = Lineage::default();
        self.members.iter().filter(|member| !member.copies.is_empty()).for_each(|member| lineage.add(member.clone()));
        lineage.check(&Scope { now: at(self.minute), complete_from: Some(Timestamp::UNIX_EPOCH) })
    }
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let pause = prop_oneof![0..20_i64, 60..120_i64, DAY - 5..DAY + 5, 2 * DAY..9 * DAY];
    let up = prop_oneof![
        6 => Just([true, true]), 1 => Just([true, false]), 1 => Just([false, true]), 1 => Just([false, false])
    ];
    let run = (0..3_usize, pause, -5..=5_i64, up, any::<bool>());
    let run = run.prop_map(|(manager, pause, skew, up, prune)| Run { manager, pause, skew, up, prune });
    prop::collection::vec(run, 1..60)
}

fn straight(count: u64, pause: i64) -> World {
    let mut world = World::default();
    for i in 0..count {
        world.play(&Run { manager: (i % 3) as usize, pause, skew: 0, up: [true, true], prune: false });
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Several managers in turn and at the same time, late spools, a vault that is behind, and pruning raise no alarm.
    #[test]
    fn normal_life_raises_no_alarm(runs in runs()) {
        let mut world = World::default();
        for run in &runs {
            world.play(run);
            let verdict = world.check();
            prop_assert_eq!(verdict.breaks, []);
        }
    }

    /// A backup that was removed from all vaults while it was locked is reported, if another one follows it.
    #[test]
    fn a_removed_backup_is_missed(count in 4..40_u64, pause in 70..2 * DAY, which in any::<prop::sample::Index>()) {
        let mut world = straight(count, pause.min(LOCK_DAYS * DAY / count as i64));
        // Not the newest, which no backup follows, and not the first, because no backup before it bounds its time.
        let removed = 1 + which.index(count as usize - 2);
        world.members[removed].copies.clear();
        let child = world.members[removed + 1].id;
        let breaks = world.check().breaks;
        prop_assert_eq!(breaks.len(), 1, "{:?}", &breaks);
        let found = matches!(&breaks[0], Break::Missing { child: it, sequence, .. }
            if *it == child && *sequence == removed as u64 + 1);
        prop_assert!(found, "{:?}", &breaks);
    }

    /// A vault was put back to an earlier state and written to, while another vault still has the lost backups.
    #[test]
    fn a_vault_put_back_shows_once_another_still_has_the_rest(count in 5..20_u64, lost in 1..3_usize) {
        let mut world = straight(count, DAY);
        let rest = world.members.split_off(world.members.len() - lost);
        world.play(&Run { manager: 0, pause: DAY, skew: 0, up: [true, true], prune: false });
        let newer = world.members.last().unwrap().id;
        world.members.extend(rest);
        let breaks = world.check().breaks;
        prop_assert!(breaks.iter().any(|it| matches!(it, Break::Unseen { newer: it, .. } if *it == newer)), "{:?}", breaks);
    }
}

#[test]
fn a_gap_that_pruning_may_have_left_is_counted_and_no_alarm() {
    let mut world = straight(10, 10 * DAY);
    world.members[3].copies.clear();
    assert_eq!(world.check(), Assessment { breaks: vec![], absent: 1 });
    // Nor is a gap an alarm in a vault without locks.
    let mut world = straight(10, DAY);
    world.members[3].copies.clear();
    world.members.iter_mut().flat_map(|member| &mut member.copies).for_each(|copy| copy.locked_until = None);
    assert_eq!(world.check(), Assessment { breaks: vec![], absent: 1 });
}

#[test]
fn nothing_is_missing_from_a_vault_that_could_not_be_read() {
    let mut world = straight(10, DAY);
    world.members[3].copies.clear();
    let mut lineage = Lineage::default();
    world.members.iter().filter(|member| !member.copies.is_empty()).for_each(|member| lineage.add(member.clone()));
    let now = at(world.minute);
    assert_eq!(lineage.check(&Scope { now, complete_from: None }).breaks, []);
    // Nor is a backup missing from before the part that was read.
    assert_eq!(lineage.check(&Scope { now, complete_from: Some(at(9 * DAY)) }).breaks, []);
    assert_eq!(lineage.check(&Scope { now, complete_from: Some(at(DAY)) }).breaks.len(), 1);
}

#[test]
fn a_wrong_number_and_a_clock_that_was_behind_are_reported() {
    let mut world = straight(5, DAY);
    world.members[3].sequence = 9;
    let breaks = world.check().breaks;
    let ids: Vec<_> = world.members.iter().map(|member| member.id).collect();
    assert_eq!(
        breaks,
        [
            Break::Misnumbered { child: ids[3], sequence: 9, expected: 4 },
            Break::Misnumbered { child: ids[4], sequence: 5, expected: 10 }
        ]
    );
    let mut world = straight(5, DAY);
    world.play(&Run { manager: 0, pause: DAY, skew: -3 * DAY, up: [true, true], prune: false });
    let (child, parent) = (world.members[5].id, world.members[4].id);
    assert_eq!(world.check().breaks, [Break::ClockBehind { child, parent }]);
}

#[test]
fn managers_that_do_not_trust_each_other_are_reported() {
    let mut world = straight(4, DAY);
    // The fifth backup counts from one, as from a manager that trusts none of the other keys.
    world.play(&Run { manager: 0, pause: DAY, skew: 0, up: [true, true], prune: false });
    let last = world.members.last_mut().unwrap();
    (last.previous, last.sequence) = (None, 1);
    let (newer, older) = (last.id, world.members[3].id);
    assert_eq!(world.check().breaks, [Break::Unseen { newer, older, vault: "0".into() }]);
    let told = Broken { series: "c".parse::<ClusterId>().unwrap(), at: world.check().breaks.remove(0) }.to_string();
    assert!(told.starts_with("backup 2026") && told.contains("its manager could not see that one"), "{told}");
    assert!(told.contains("trusted_keys"), "{told}");
}

#[test]
fn a_missing_backup_counts_as_taken_away_only_while_something_must_hold_it() {
    let remembered = |locked_until: Option<i64>| Remembered {
        cluster: "c".parse().unwrap(),
        id: straight(5, DAY).members[4].id,
        sequence: 5,
        locked_until: locked_until.map(at),
        digest: None,
    };
    let now = at(40 * DAY);
    for (locked_until, newest, gone) in [
        (Some(41 * DAY), Some(9), Gone::TakenAway),
        (Some(41 * DAY), Some(4), Gone::TakenAway),
        (Some(39 * DAY), Some(9), Gone::Pruned),
        (Some(39 * DAY), Some(4), Gone::Unlocked),
        (Some(39 * DAY), None, Gone::Unlocked),
        // Without a lock: a directory, or a record of an earlier version.
        (None, Some(9), Gone::Pruned),
        (None, Some(4), Gone::TakenAway),
        (None, None, Gone::TakenAway),
    ] {
        assert_eq!(remembered(locked_until).gone(newest, now), gone, "{locked_until:?} {newest:?}");
    }
}

#[test]
fn a_wrong_clock_is_no_alarm_for_later_backups() {
    for (skew, reported) in [(-3 * DAY, true), (300 * DAY, false)] {
        let mut world = straight(5, DAY);
        world.play(&Run { manager: 0, pause: DAY, skew, up: [true, true], prune: false });
        let wrong = world.members.len() - 1;
        for manager in 0..3 {
            world.play(&Run { manager, pause: DAY, skew: 0, up: [true, true], prune: false });
            // Backups are followed as by the agent: late ones, but not impossible ones.
            let parent = if skew > 0 && manager == 0 { wrong - 1 } else { world.members.len() - 2 };
            let parent = world.members[parent].clone();
            let last = world.members.last_mut().unwrap();
            (last.previous, last.sequence) = (Some(parent.digest), parent.sequence + 1);
        }
        let (child, parent) = (world.members[wrong].id, world.members[wrong - 1].id);
        let expected = if reported { vec![Break::ClockBehind { child, parent }] } else { Vec::new() };
        assert_eq!(world.check().breaks, expected, "{skew}");
    }
}

//! Histories as managers make them, and histories that somebody has been at.

use proptest::prelude::*;
use swarmdr_archive::BackupId;

use super::*;

const DAY: i64 = 24 * 60;
const LOCK_DAYS: i64 = 30;

fn at(minute: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn digest(of: u64) -> Digest {
    Digest::of(&of.to_be_bytes())
}

/// Managers that share vaults, with outages, late deliveries and pruning, played by the rules of the backup flow.
#[derive(Debug, Default)]
struct World {
    links: Vec<Link>,
    /// Per manager, what some vault has not got yet: index of the backup, and the vault.
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
    /// Which vaults answer.
    up: [bool; 2],
    prune: bool,
}

impl World {
    fn newest_of(&self, up: [bool; 2]) -> Option<&Link> {
        let visible = |link: &&Link| link.copies.iter().any(|copy| up[copy.vault.parse::<usize>().unwrap()]);
        self.links.iter().filter(visible).max_by_key(|link| link.id)
    }

    fn store(&mut self, link: usize, vault: usize) {
        let stored = at(self.minute);
        let locked_until = Some(stored + SignedDuration::from_hours(24 * LOCK_DAYS));
        self.links[link].copies.push(Copy { vault: vault.to_string(), stored, locked_until });
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
        let link = Link {
            id: BackupId::new(at(self.minute + run.skew), tag),
            sequence: previous.map_or(1, |previous| previous.sequence + 1),
            previous: previous.map(|previous| previous.digest),
            digest: digest(serial),
            believed: true,
            copies: Vec::new(),
        };
        self.links.push(link);
        self.minute += 3;
        let new = self.links.len() - 1;
        let mut spool = std::mem::take(&mut self.spools[run.manager]);
        spool.extend([(new, 0), (new, 1)]);
        for (link, vault) in spool {
            if run.up[vault] {
                self.store(link, vault);
            } else {
                self.spools[run.manager].push((link, vault));
            }
        }
        if run.prune {
            self.prune();
        }
    }

    /// Removes what is not locked any more, but never the newest; every other one, as thinning does.
    fn prune(&mut self) {
        let (now, newest) = (at(self.minute), self.links.iter().map(|link| link.id).max());
        for (i, link) in self.links.iter_mut().enumerate() {
            if Some(link.id) != newest && i % 3 != 0 {
                link.copies.retain(|copy| copy.locked_until.is_some_and(|until| until > now));
            }
        }
    }

    fn check(&self) -> Verdict {
        let mut history = History::default();
        self.links.iter().filter(|link| !link.copies.is_empty()).for_each(|link| history.add(link.clone()));
        history.check(&View { now: at(self.minute), complete_from: Some(Timestamp::UNIX_EPOCH) })
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

    /// Several managers in turn and at once, late spools, one vault behind, pruned history: no alarm.
    #[test]
    fn normal_life_raises_no_alarm(runs in runs()) {
        let mut world = World::default();
        for run in &runs {
            world.play(run);
            let verdict = world.check();
            prop_assert_eq!(verdict.breaks, []);
        }
    }

    /// Whatever was removed from all vaults while it was locked is missed, if another backup follows it.
    #[test]
    fn a_removed_backup_is_missed(count in 4..40_u64, pause in 70..2 * DAY, which in any::<prop::sample::Index>()) {
        let mut world = straight(count, pause.min(LOCK_DAYS * DAY / count as i64));
        // Not the newest, which none follows, and not the first two: before them nothing bounds the time.
        let removed = 1 + which.index(count as usize - 2);
        world.links[removed].copies.clear();
        let child = world.links[removed + 1].id;
        let breaks = world.check().breaks;
        prop_assert_eq!(breaks.len(), 1, "{:?}", &breaks);
        let found = matches!(&breaks[0], Break::Missing { child: it, sequence, .. }
            if *it == child && *sequence == removed as u64 + 1);
        prop_assert!(found, "{:?}", &breaks);
    }

    /// A vault that was put back to an earlier state and written on, while another still has what was lost.
    #[test]
    fn a_vault_put_back_shows_once_another_still_has_the_rest(count in 5..20_u64, lost in 1..3_usize) {
        let mut world = straight(count, DAY);
        let rest = world.links.split_off(world.links.len() - lost);
        world.play(&Run { manager: 0, pause: DAY, skew: 0, up: [true, true], prune: false });
        let newer = world.links.last().unwrap().id;
        world.links.extend(rest);
        let breaks = world.check().breaks;
        prop_assert!(breaks.iter().any(|it| matches!(it, Break::Unseen { newer: it, .. } if *it == newer)), "{:?}", breaks);
    }
}

#[test]
fn a_gap_that_may_be_pruned_is_counted_and_no_alarm() {
    let mut world = straight(10, 10 * DAY);
    world.links[3].copies.clear();
    assert_eq!(world.check(), Verdict { breaks: vec![], absent: 1 });
    // Nor is one in a vault without locks.
    let mut world = straight(10, DAY);
    world.links[3].copies.clear();
    world.links.iter_mut().flat_map(|link| &mut link.copies).for_each(|copy| copy.locked_until = None);
    assert_eq!(world.check(), Verdict { breaks: vec![], absent: 1 });
}

#[test]
fn nothing_is_missing_from_a_vault_that_could_not_be_read() {
    let mut world = straight(10, DAY);
    world.links[3].copies.clear();
    let mut history = History::default();
    world.links.iter().filter(|link| !link.copies.is_empty()).for_each(|link| history.add(link.clone()));
    let now = at(world.minute);
    assert_eq!(history.check(&View { now, complete_from: None }).breaks, []);
    // Nor is what lies before the part that was read.
    assert_eq!(history.check(&View { now, complete_from: Some(at(9 * DAY)) }).breaks, []);
    assert_eq!(history.check(&View { now, complete_from: Some(at(DAY)) }).breaks.len(), 1);
}

#[test]
fn a_wrong_number_and_a_clock_that_was_behind_are_told() {
    let mut world = straight(5, DAY);
    world.links[3].sequence = 9;
    let breaks = world.check().breaks;
    let ids: Vec<_> = world.links.iter().map(|link| link.id).collect();
    assert_eq!(
        breaks,
        [
            Break::Misnumbered { child: ids[3], sequence: 9, expected: 4 },
            Break::Misnumbered { child: ids[4], sequence: 5, expected: 10 }
        ]
    );
    let mut world = straight(5, DAY);
    world.play(&Run { manager: 0, pause: DAY, skew: -3 * DAY, up: [true, true], prune: false });
    let (child, parent) = (world.links[5].id, world.links[4].id);
    assert_eq!(world.check().breaks, [Break::ClockBehind { child, parent }]);
}

#[test]
fn managers_that_do_not_trust_each_other_are_told_so() {
    let mut world = straight(4, DAY);
    // The fifth counts from one, as a manager does that believes none of the others.
    world.play(&Run { manager: 0, pause: DAY, skew: 0, up: [true, true], prune: false });
    let last = world.links.last_mut().unwrap();
    (last.previous, last.sequence) = (None, 1);
    let (newer, older) = (last.id, world.links[3].id);
    assert_eq!(world.check().breaks, [Break::Unseen { newer, older, vault: "0".into() }]);
    assert!(world.check().breaks[0].to_string().contains("trusted_keys"));
}

#[test]
fn what_is_gone_was_taken_away_only_while_something_must_hold_it() {
    let remembered = |locked_until: Option<i64>| Remembered {
        cluster: "c".into(),
        id: straight(5, DAY).links[4].id,
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
        // A directory, or a note of an earlier version.
        (None, Some(9), Gone::Pruned),
        (None, Some(4), Gone::TakenAway),
        (None, None, Gone::TakenAway),
    ] {
        assert_eq!(remembered(locked_until).gone(newest, now), gone, "{locked_until:?} {newest:?}");
    }
}

#[test]
fn a_wrong_clock_is_no_alarm_for_those_that_come_after_it() {
    for (skew, told) in [(-3 * DAY, true), (300 * DAY, false)] {
        let mut world = straight(5, DAY);
        world.play(&Run { manager: 0, pause: DAY, skew, up: [true, true], prune: false });
        let wrong = world.links.len() - 1;
        for manager in 0..3 {
            world.play(&Run { manager, pause: DAY, skew: 0, up: [true, true], prune: false });
            // They follow as the agent does: one that is impossible is passed over, one that is late is not.
            let parent = if skew > 0 && manager == 0 { wrong - 1 } else { world.links.len() - 2 };
            let parent = world.links[parent].clone();
            let last = world.links.last_mut().unwrap();
            (last.previous, last.sequence) = (Some(parent.digest), parent.sequence + 1);
        }
        let (child, parent) = (world.links[wrong].id, world.links[wrong - 1].id);
        let expected = if told { vec![Break::ClockBehind { child, parent }] } else { Vec::new() };
        assert_eq!(world.check().breaks, expected, "{skew}");
    }
}

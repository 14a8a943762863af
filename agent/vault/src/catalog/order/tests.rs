//! The order of backups with wrong clocks, late spools, and forgeries.

use proptest::prelude::*;

use super::*;

const DAY: i64 = 24 * 60;

fn at(minute: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

/// Makes a backup that follows another one, or none. Times are in minutes.
fn place(previous: Option<&Place>, made: i64, stored: i64) -> Place {
    let id = BackupId::new(at(made), [7; 4]);
    let mut named = id.to_string().into_bytes();
    named.extend(previous.iter().flat_map(|previous| *previous.digest.as_bytes()));
    Place {
        id,
        sequence: previous.map_or(1, |previous| previous.sequence + 1),
        previous: previous.map(|previous| previous.digest),
        digest: Digest::of(&named),
        ended: at(made),
        stored: at(stored),
        specs: None,
    }
}

/// Makes a backup for each day, each following the previous one.
fn line(days: i64) -> Vec<Place> {
    let mut line: Vec<Place> = Vec::new();
    for day in 0..days {
        line.push(place(line.last(), day * DAY, day * DAY + 2));
    }
    line
}

fn newest_of(places: &[Place], now: i64) -> usize {
    newest(places, |_| true, at(now)).unwrap()
}

#[test]
fn the_clock_of_the_vault_bounds_what_a_name_may_claim() {
    for (made, stored, timing) in [
        (0, 0, Timing::Prompt),
        (0, 60, Timing::Prompt),
        (0, 61, Timing::Late),
        (15, 0, Timing::Prompt),
        (16, 0, Timing::Impossible),
        (300 * DAY, 0, Timing::Impossible),
    ] {
        assert_eq!(Timing::of(at(made), at(stored)), timing, "{made} {stored}");
    }
}

#[test]
fn a_backup_that_another_follows_is_not_the_newest_whatever_the_clocks_say() {
    // In a directory, the time of the file is as wrong as the name. The last case has a vault with its own clock.
    for (made, stored) in [(400 * DAY, 400 * DAY), (-2 * DAY, -2 * DAY), (3 * DAY, 5 * DAY)] {
        let mut all = line(5);
        all.push(place(all.last(), made, stored));
        assert_eq!(newest_of(&all, 5 * DAY), 5, "itself, {made}");
        all.push(place(all.last(), 6 * DAY, 6 * DAY));
        assert_eq!(newest_of(&all, 6 * DAY), 6, "what follows, {made}");
        // With a gap in the lineage, the numbers decide.
        let next = place(Some(&place(all.last(), 7 * DAY, 7 * DAY)), 8 * DAY, 8 * DAY);
        assert_eq!(newest_of(&[all[5].clone(), next], 8 * DAY), 1, "a gap, {made}");
    }
}

#[test]
fn a_late_backup_from_a_spool_is_not_the_newest() {
    let mut all = line(5);
    // Made by another manager at about the time of the fourth backup, and stored last.
    let spooled = place(Some(&all[2]), 3 * DAY + 5, 4 * DAY + 300);
    all.push(spooled);
    assert_eq!(newest_of(&all, 5 * DAY), 4);
}

#[test]
fn a_count_that_began_again_does_not_lose_to_the_old_one() {
    // A new bucket, or a manager that does not trust the previous key.
    let mut all = line(50);
    let again = place(None, 60 * DAY, 60 * DAY);
    all.extend([place(Some(&again), 61 * DAY, 61 * DAY), again]);
    assert_eq!(newest_of(&all, 62 * DAY), 50);
}

#[test]
fn the_highest_number_there_is_poisons_nothing() {
    let mut all = line(3);
    let mut poison = place(all.last(), 3 * DAY, 3 * DAY);
    poison.sequence = u64::MAX;
    let mut next = place(None, 4 * DAY, 4 * DAY);
    (next.previous, next.sequence) = (Some(poison.digest), u64::MAX);
    let mut after = place(None, 5 * DAY, 5 * DAY);
    (after.previous, after.sequence) = (Some(next.digest), u64::MAX);
    all.extend([poison.clone(), next, after.clone()]);
    assert_eq!(newest_of(&all, 6 * DAY), 5);
    assert_eq!(newest_of(&[poison, after], 6 * DAY), 1, "without what is between them");
}

#[test]
fn a_history_is_ranked_by_time_and_none_before_what_it_follows() {
    let mut all = line(4);
    let behind = place(all.last(), 2 * DAY + 5, 4 * DAY);
    let next = place(Some(&behind), 5 * DAY, 5 * DAY);
    let spooled = place(Some(&all[1]), 2 * DAY + 1, 6 * DAY);
    all.extend([behind, next, spooled]);
    assert_eq!(ranked(&all), [5, 4, 3, 6, 2, 1, 0]);
}

#[derive(Debug, Clone)]
struct Run {
    pause: i64,
    /// Minutes by which the manager's clock is wrong.
    skew: i64,
    /// Whether the time of storing is set by the same wrong clock, as in a directory.
    fooled: bool,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let skew = prop_oneof![6 => Just(0), 1 => -2 * DAY..-70, 1 => 70..400 * DAY];
    let run = (60..3 * DAY, skew, any::<bool>()).prop_map(|(pause, skew, fooled)| Run { pause, skew, fooled });
    prop::collection::vec(run, 1..40)
}

proptest! {
    /// With one manager whose clock is wrong now and then, the last backup that was made is the newest, and all are in
    /// the order in which they were made.
    #[test]
    fn the_last_that_was_made_is_the_newest(runs in runs()) {
        let (mut all, mut now): (Vec<Place>, i64) = (Vec::new(), 0);
        for run in &runs {
            now += run.pause;
            let stored = if run.fooled { now + run.skew } else { now };
            let made = place(all.last(), now + run.skew, stored);
            // Impossible by the clock of the vault: it does not count, and no backup follows it.
            if made.timing() != Timing::Impossible && !all.iter().any(|it| it.digest == made.digest) {
                all.push(made);
            }
            if let Some(last) = all.len().checked_sub(1) {
                prop_assert_eq!(newest_of(&all, now), last);
            }
        }
        let expected: Vec<usize> = (0..all.len()).rev().collect();
        prop_assert_eq!(ranked(&all), expected);
    }

    /// Whatever attackers sign after a break-in, the choice among backups from before it stays the same.
    #[test]
    fn what_was_stored_later_is_not_chosen_before_it(
        days in 1..20_i64,
        forgeries in prop::collection::vec((-400 * DAY..400 * DAY, any::<u64>(), 0..30 * DAY), 0..40),
    ) {
        let genuine = line(days);
        let break_in = days * DAY;
        let mut all = genuine.clone();
        for (made, sequence, after) in forgeries {
            let mut forged = place(genuine.last(), break_in + made, break_in + after);
            forged.sequence = sequence;
            all.push(forged);
        }
        let admitted = |index: usize| all[index].made().max(all[index].stored) < at(break_in);
        let chosen = newest(&all, admitted, at(break_in + 40 * DAY));
        prop_assert_eq!(chosen, Some(genuine.len() - 1));
    }
}

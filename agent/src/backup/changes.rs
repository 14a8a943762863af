//! Decides when a change of the swarm is backed up: once it has been quiet for a while, or has gone on for too long.

use std::time::{Duration, Instant};

use swarmdr_archive::Digest;

use crate::{config::on_change::OnChange, outcome::exit::Exit};

/// Longest pause after runs that failed.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// The changes that are in no backup, as this host sees them.
#[derive(Debug)]
pub struct Changes {
    settings: OnChange,
    unsaved: Option<Unsaved>,
    /// No backup is tried before.
    not_before: Option<Instant>,
    /// Runs one after the other that failed, or whose backup does not hold what is set.
    failures: u32,
    /// What was to be in the backup that a run has just made.
    made: Option<Digest>,
}

#[derive(Debug, Clone, Copy)]
struct Unsaved {
    specs: Digest,
    /// When the first of these changes was seen.
    first: Instant,
    /// When the last one was.
    last: Instant,
}

/// What to do after a look at the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until this time or an event.
    LookAt(Instant),
    BackUp,
}

impl Changes {
    pub fn new(settings: OnChange) -> Self {
        Self { settings, unsaved: None, not_before: None, failures: 0, made: None }
    }

    /// Takes what is set in the swarm at this moment, and whether a backup holds it.
    ///
    /// The swarm is looked at again after [`OnChange::at_most_every`] also if nothing tells of a change.
    pub fn look(&mut self, specs: Digest, is_saved: bool, now: Instant) -> Next {
        let made = self.made.take();
        if is_saved {
            (self.unsaved, self.failures) = (None, 0);
            return Next::LookAt(now + self.distance());
        }
        match made {
            // The copy lagged behind, or cannot be relied on: the next one at once would be no better.
            Some(made) if made == specs => self.failed(now),
            Some(_) => self.failures = 0,
            None => {}
        }
        let known = self.unsaved.filter(|unsaved| unsaved.specs == specs);
        let unsaved = known.unwrap_or(Unsaved { specs, first: self.unsaved.map_or(now, |old| old.first), last: now });
        self.unsaved = Some(unsaved);
        let quiet = unsaved.last + self.settings.after.duration();
        let due = quiet.min(unsaved.first + self.distance());
        let due = self.not_before.map_or(due, |not_before| due.max(not_before));
        if due <= now { Next::BackUp } else { Next::LookAt(due.min(now + self.distance())) }
    }

    /// Takes the end of a run that was to make the backup. `None`: it was killed.
    pub fn ended(&mut self, exit: Option<i32>, now: Instant) {
        let is = |known: Exit| exit == Some(known as i32);
        if is(Exit::Done) || is(Exit::Attention) {
            // Whether the backup holds the change is seen by the next look.
            self.made = self.unsaved.map(|unsaved| unsaved.specs);
            self.not_before = Some(now + self.distance());
        } else if is(Exit::NotOurTurn) {
            self.failures = 0;
            self.not_before = Some(now + self.distance());
        } else {
            self.failed(now);
        }
    }

    fn failed(&mut self, now: Instant) {
        self.failures += 1;
        let pause = self.distance().saturating_mul(1 << self.failures.min(10));
        self.not_before = Some(now + pause.min(LONGEST_PAUSE.max(self.distance())));
    }

    fn distance(&self) -> Duration {
        self.settings.at_most_every.duration()
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_vault::settings::unit_length::Seconds;

    use super::*;

    struct Watched {
        changes: Changes,
        start: Instant,
    }

    impl Watched {
        fn new() -> Self {
            let settings = OnChange { after: Seconds::new(5), at_most_every: Seconds::new(30), lock_days: None };
            Self { changes: Changes::new(settings), start: Instant::now() }
        }

        /// Looks at a second; returns that of the next look, or `None` for a backup.
        fn look(&mut self, specs: u64, is_saved: bool, second: u64) -> Option<u64> {
            let now = self.start + Duration::from_secs(second);
            match self.changes.look(Digest::of(&specs.to_be_bytes()), is_saved, now) {
                Next::LookAt(at) => Some(at.duration_since(self.start).as_secs()),
                Next::BackUp => None,
            }
        }

        fn ended(&mut self, exit: Option<i32>, second: u64) {
            self.changes.ended(exit, self.start + Duration::from_secs(second));
        }
    }

    #[test]
    fn a_change_is_backed_up_once_it_is_quiet() {
        let mut watched = Watched::new();
        assert_eq!(watched.look(1, true, 0), Some(30));
        assert_eq!(watched.look(2, false, 10), Some(15));
        assert_eq!(watched.look(3, false, 13), Some(18));
        assert_eq!(watched.look(3, false, 15), Some(18));
        assert_eq!(watched.look(3, false, 18), None);
        watched.ended(Some(0), 19);
        assert_eq!(watched.look(3, true, 19), Some(49));
        // Never more often than allowed.
        assert_eq!(watched.look(4, false, 20), Some(49));
        assert_eq!(watched.look(4, false, 49), None);
    }

    #[test]
    fn changes_without_a_pause_are_backed_up_too() {
        let mut watched = Watched::new();
        let first = (0..60).find(|second| watched.look(*second, false, *second).is_none());
        assert_eq!(first, Some(30));
    }

    #[test]
    fn what_was_not_backed_up_stays_due() {
        let mut watched = Watched::new();
        assert_eq!(watched.look(1, false, 0), Some(5));
        assert_eq!(watched.look(1, false, 5), None);
        // Another manager makes it.
        watched.ended(Some(3), 6);
        assert_eq!(watched.look(1, false, 6), Some(36));
        assert_eq!(watched.look(1, false, 36), None);
        // It fails, again and again: later each time, and at most a quarter of an hour.
        for (second, next) in [(100, 160), (200, 320), (400, 640), (1000, 1480), (2000, 2900), (4000, 4900)] {
            watched.ended(if second == 200 { None } else { Some(1) }, second);
            let until = watched.changes.not_before.expect("is set").duration_since(watched.start).as_secs();
            assert_eq!(until, next, "{second}");
        }
        // It is looked at meanwhile: somebody else may have made it.
        assert_eq!(watched.look(1, false, 4000), Some(4030));
        watched.ended(Some(6), 5000);
        assert_eq!(watched.look(2, false, 5000), Some(5030));
    }

    #[test]
    fn a_backup_that_does_not_hold_the_change_is_followed_by_others_less_and_less_often() {
        let mut watched = Watched::new();
        assert_eq!(watched.look(1, false, 0), Some(5));
        let mut second = 5;
        for pause in [60, 120, 240, 480, 900, 900] {
            assert_eq!(watched.look(1, false, second), None, "{second}");
            watched.ended(Some(6), second);
            watched.look(1, false, second);
            let until = watched.changes.not_before.expect("is set").duration_since(watched.start).as_secs();
            assert_eq!(until - second, pause);
            second = until;
        }
        // One that holds it ends that.
        assert_eq!(watched.look(1, false, second), None);
        watched.ended(Some(0), second);
        assert_eq!(watched.look(1, true, second), Some(second + 30));
        assert_eq!(watched.look(2, false, second + 30), Some(second + 35));
    }
}

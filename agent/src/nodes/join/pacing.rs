//! The time that a join may take, and its pauses.

use std::time::{Duration, Instant};

use super::refusal::Heard;
use crate::{host::random, nodes::standing::Standing};

/// Pauses between two attempts: doubled each time, and shortened by chance so that hosts which boot together do not all
/// come at once.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Pauses between two looks at an engine that is about to change its answer. Programs may be run for each look.
const FIRST_POLL: Duration = Duration::from_millis(500);
const LONGEST_POLL: Duration = Duration::from_secs(5);

/// Time in which an engine that has just started finds its swarm, whatever the operator's time is.
const SETTLING: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Pacing {
    begun: Instant,
    wait: Duration,
    backoff: Backoff,
    polls: Backoff,
    last: Option<Standing>,
    pending_since: Option<Instant>,
    refused_since: Option<Instant>,
    told: String,
}

/// Growing pauses.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Returns a pause between half of the next one and all of it, as `chance` says, and doubles the next one.
    fn pause(&mut self, chance: u8) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        whole / 2 + whole / 2 * u32::from(chance) / u32::from(u8::MAX)
    }
}

impl Pacing {
    pub fn new(wait: Duration) -> Self {
        Self {
            begun: Instant::now(),
            wait,
            backoff: Backoff { next: FIRST_PAUSE, longest: LONGEST_PAUSE },
            polls: Backoff { next: FIRST_POLL, longest: LONGEST_POLL },
            last: None,
            pending_since: None,
            refused_since: None,
            told: String::new(),
        }
    }

    pub fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// The time that is left for further attempts.
    pub fn left(&self) -> Duration {
        self.wait.saturating_sub(self.took())
    }

    /// Notes where the host stands, and returns for how long the engine has been trying to join.
    pub fn pending_for(&mut self, standing: Standing) -> Duration {
        if self.last.replace(standing) != Some(standing) {
            self.polls.next = FIRST_POLL;
        }
        if standing != Standing::Joining {
            self.pending_since = None;
            return Duration::ZERO;
        }
        self.pending_since.get_or_insert_with(Instant::now).elapsed()
    }

    /// Notes whether the managers refuse this node, and returns for how long they have done so at every look at which one
    /// answered.
    pub fn refused_for(&mut self, heard: Heard) -> Duration {
        match heard {
            Heard::Refused(_) => self.refused_since.get_or_insert_with(Instant::now).elapsed(),
            Heard::Unanswered => self.refused_since.map(|since| since.elapsed()).unwrap_or_default(),
            Heard::NoRefusal => {
                self.refused_since = None;
                Duration::ZERO
            }
        }
    }

    /// Pauses before the next attempt; returns false at once when the time is over.
    pub async fn pause(&mut self, why: &str) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        let pause = self.backoff.pause(chance()).min(left);
        self.tell(left, why);
        tokio::time::sleep(pause).await;
        true
    }

    /// Pauses before the next look at an answer that is about to change.
    pub async fn poll(&mut self, why: &str) -> bool {
        let left = self.wait.max(SETTLING).saturating_sub(self.took());
        if left.is_zero() {
            return false;
        }
        self.tell(left, why);
        tokio::time::sleep(self.polls.pause(chance()).min(left)).await;
        true
    }

    /// Logs a reason once, until there is another.
    fn tell(&mut self, left: Duration, why: &str) {
        if self.told != why {
            tracing::info!("waiting up to {:.0} s: {why}", left.as_secs_f64().ceil());
            why.clone_into(&mut self.told);
        }
    }
}

fn chance() -> u8 {
    random::tag().unwrap_or_default()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::join::refusal::Refusal;

    #[test]
    fn pauses_grow_to_a_minute_and_differ_between_hosts() {
        let pauses = |chance| {
            let mut backoff = Backoff { next: FIRST_PAUSE, longest: LONGEST_PAUSE };
            std::iter::repeat_with(move || backoff.pause(chance).as_millis()).take(8).collect::<Vec<_>>()
        };
        assert_eq!(pauses(255), [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        assert_eq!(pauses(0), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert!(pauses(100)[7] > 30000 && pauses(100)[7] < 60000);
    }

    #[tokio::test]
    async fn without_time_nothing_is_tried_again() {
        let mut pacing = Pacing::new(Duration::ZERO);
        assert!(!pacing.pause("there is no token").await);
        let mut pacing = Pacing::new(Duration::from_millis(20));
        assert!(pacing.pause("there is no token").await, "the pause is not longer than the time");
        assert!(!pacing.pause("there is no token").await);
    }

    #[test]
    fn the_time_of_an_attempt_begins_anew_after_each() {
        let mut pacing = Pacing::new(Duration::ZERO);
        assert_eq!(pacing.pending_for(Standing::Free), Duration::ZERO);
        pacing.pending_for(Standing::Joining);
        pacing.polls.pause(255);
        assert!(pacing.pending_since.is_some() && pacing.polls.next > FIRST_POLL);
        pacing.pending_for(Standing::Failed);
        assert!(pacing.pending_since.is_none() && pacing.polls.next == FIRST_POLL);
    }

    #[tokio::test]
    async fn a_refusal_that_ends_counts_no_more() {
        let mut pacing = Pacing::new(Duration::ZERO);
        let refused = Heard::Refused(Refusal::Unknown);
        assert_eq!(pacing.refused_for(Heard::Unanswered), Duration::ZERO);
        pacing.refused_for(refused);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(pacing.refused_for(Heard::Unanswered) >= Duration::from_millis(5), "a dead manager ends no refusal");
        assert!(pacing.refused_for(refused) >= Duration::from_millis(5));
        assert_eq!(pacing.refused_for(Heard::NoRefusal), Duration::ZERO);
        assert!(pacing.refused_for(refused) < Duration::from_millis(5));
    }
}

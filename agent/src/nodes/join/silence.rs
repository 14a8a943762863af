//! For how long the managers of a swarm have been silent, as far as this run has asked them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::contact::Contact;

/// Longest time between two questions for which an answer counts: a host that was suspended, or a program that took
/// minutes, has seen nothing meanwhile.
const GAP: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub struct Silence {
    of: Vec<SocketAddr>,
    /// Moments of the first and of the last question that nobody answered.
    asked: Option<(Instant, Instant)>,
}

impl Silence {
    /// Notes that none of them answered, and returns for how long that has been so.
    pub fn note(&mut self, of: &[SocketAddr], now: Instant) -> Duration {
        let first = match self.asked {
            Some((first, last)) if self.of == of && now.duration_since(last) <= GAP => first,
            _ => now,
        };
        self.of = of.to_vec();
        self.asked = Some((first, now));
        now.duration_since(first)
    }

    /// Notes what a look has seen. While nobody was asked, nothing is known either way. `masks_too`: whether what takes
    /// connections and is no manager counts as silent.
    pub fn see(&mut self, contact: &Contact, masks_too: bool, known: &[SocketAddr], now: Instant) {
        match contact {
            Contact::Silent { .. } => {
                self.note(known, now);
            }
            Contact::Masked { .. } if masks_too => {
                self.note(known, now);
            }
            Contact::Reached(_) | Contact::KnownElsewhere(_) | Contact::Masked { .. } | Contact::Unasked(_) => {
                self.end();
            }
            Contact::NotAsked => {}
        }
    }

    /// Notes that one answered, or could not be asked.
    pub fn end(&mut self) {
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_that_was_watched_counts() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let [a, b]: [SocketAddr; 2] = [([10, 0, 0, 1], 2377).into(), ([10, 0, 0, 2], 2377).into()];
        let mut silence = Silence::default();
        assert_eq!(silence.note(&[a], begin), Duration::ZERO);
        assert_eq!(silence.note(&[a], begin + 100 * second), 100 * second);
        assert_eq!(silence.note(&[a], begin + 200 * second), 200 * second);
        // Nobody asked for too long.
        assert_eq!(silence.note(&[a], begin + 400 * second), Duration::ZERO);
        assert_eq!(silence.note(&[a], begin + 410 * second), 10 * second);
        // There is another one now.
        assert_eq!(silence.note(&[a, b], begin + 420 * second), Duration::ZERO);
        silence.end();
        assert_eq!(silence.note(&[a, b], begin + 430 * second), Duration::ZERO, "one had answered");
    }

    /// The new manager of a swarm that moved may come after minutes, when the old ones have been silent for long.
    #[test]
    fn silence_counts_while_this_host_waits_for_something_else() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let known: [SocketAddr; 1] = [([10, 0, 0, 1], 2377).into()];
        let silent = Contact::Silent { elsewhere: None };
        let masked = Contact::Masked { told: "a balancer".to_owned(), elsewhere: None };
        for (between, masks_too, expected) in [
            (Contact::NotAsked, false, 100),
            (silent.clone(), false, 100),
            (masked.clone(), true, 100),
            (masked, false, 0),
            (Contact::Reached(known[0]), true, 0),
            (Contact::KnownElsewhere(known[0]), true, 0),
            (Contact::Unasked("no route".to_owned()), true, 0),
        ] {
            let mut silence = Silence::default();
            silence.see(&silent, masks_too, &known, begun);
            silence.see(&between, masks_too, &known, begun + 50 * second);
            assert_eq!(silence.note(&known, begun + 100 * second), expected * second, "{between:?}");
        }
    }
}

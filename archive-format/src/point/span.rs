//! How far apart in time the parts of a point are.

use std::fmt;

use jiff::Timestamp;

/// The times of the oldest and the newest part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Time of the oldest part.
    pub from: Timestamp,
    /// Time of the newest part.
    pub to: Timestamp,
}

impl Span {
    /// Returns the span of these times; `None` if there are none.
    pub fn of(times: impl Iterator<Item = Timestamp> + Clone) -> Option<Self> {
        Some(Self { from: times.clone().min()?, to: times.max()? })
    }

    /// Returns the number of seconds between the two.
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.to.duration_since(self.from).as_secs()).unwrap_or(0)
    }
}

/// Writes `from … to …, 45 min apart`, or the one time if both are the same to the second.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, seconds) = (self.seconds() / 60, self.seconds() % 60);
        if self.seconds() == 0 {
            return write!(f, "from {:.0}", self.from);
        }
        write!(f, "from {:.0} to {:.0}, ", self.from, self.to)?;
        match (minutes / 60, minutes % 60) {
            (0, 0) => write!(f, "{seconds} s apart"),
            (0, minutes) => write!(f, "{minutes} min apart"),
            (hours, 0) => write!(f, "{hours} h apart"),
            (hours, minutes) => write!(f, "{hours} h {minutes} min apart"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_span_is_told_in_the_unit_that_fits() {
        let from = "2026-11-21T02:15:00Z".parse::<Timestamp>().unwrap();
        for (seconds, said) in [(59, "59 s"), (60, "1 min"), (2759, "45 min"), (3600, "1 h"), (93_780, "26 h 3 min")] {
            let span = Span::of([from + SignedDuration::from_secs(seconds), from].into_iter()).unwrap();
            assert!(span.to_string().ends_with(&format!(", {said} apart")), "{span}");
        }
        assert_eq!(Span::of([from].into_iter()).unwrap().to_string(), "from 2026-11-21T02:15:00Z");
        assert_eq!(Span::of([].into_iter()), None);
    }
}

//! What keeps a point from being complete.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stream_archive::StreamName;

/// Something that a point should have and does not, or not in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Kind of the part.
    pub part: Part,
    /// Name of the stream or of the external tool; `None` for the state and the images.
    pub name: Option<StreamName>,
    /// What is wrong with it.
    pub why: Why,
    /// Seconds that the part may be old, if it is too old.
    pub max_age: Option<u64>,
}

/// Kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The backup of the swarm's state.
    State,
    /// A stream.
    Stream,
    /// A snapshot of another tool.
    External,
    /// The check of the images that services need.
    Images,
}

/// What is wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// There is none that verifies.
    Missing,
    /// The newest one is older than it may be.
    Late,
    /// It is dated after the point, so its age says nothing.
    Future,
    /// It is there, and says that something is not.
    Lacking,
}

/// Writes the part and what is wrong with it: `stream shop-db is older than 26h`.
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.part, &self.name) {
            (Part::State, _) => f.write_str("the backup of the state")?,
            (Part::Stream, name) => write!(f, "stream {}", name.as_ref().map_or("", StreamName::as_str))?,
            (Part::External, name) => write!(f, "external {}", name.as_ref().map_or("", StreamName::as_str))?,
            (Part::Images, _) => f.write_str("the check of the images")?,
        }
        match (self.why, self.max_age) {
            (Why::Missing, _) => f.write_str(" is missing"),
            (Why::Late, Some(seconds)) => write!(f, " is older than {}", Length(seconds)),
            (Why::Late, None) => f.write_str(" is too old"),
            (Why::Future, _) => f.write_str(" is dated after the point"),
            (Why::Lacking, _) => f.write_str(" found some of them missing"),
        }
    }
}

/// A length of time in the largest unit that divides it, as people write it in a configuration.
struct Length(u64);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds > 0 && seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
            seconds if seconds > 0 && seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_in_the_units_of_the_configuration() {
        let gap = |part, name: Option<&str>, why, max_age| {
            Gap { part, name: name.map(|name| name.parse().unwrap()), why, max_age }.to_string()
        };
        for (seconds, said) in [(26 * 3600, "26h"), (90 * 60, "90m"), (61, "61s"), (0, "0s")] {
            let told = gap(Part::Stream, Some("shop-db"), Why::Late, Some(seconds));
            assert_eq!(told, format!("stream shop-db is older than {said}"));
        }
        assert_eq!(gap(Part::State, None, Why::Missing, None), "the backup of the state is missing");
        assert_eq!(gap(Part::External, Some("up"), Why::Future, None), "external up is dated after the point");
        assert_eq!(gap(Part::External, Some("up"), Why::Late, None), "external up is too old");
        assert_eq!(gap(Part::Images, None, Why::Lacking, None), "the check of the images found some of them missing");
    }
}

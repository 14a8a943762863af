//! Counts of the objects that a walk does not return as entries.

use std::fmt;

use jiff::Timestamp;

use super::series::Words;

/// Counts of objects that are no archives, that are copies of one, or that were not examined because there are too
/// many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Number of versions under keys that are not the name of an archive, as far as they were listed.
    pub junk: u64,
    /// Number of further versions of a good archive with the same signed head.
    pub copies: u64,
    /// Number of versions that were not examined: of a key with very many, only the few oldest and newest are.
    pub passed_over: u64,
    /// The first few windows of time with so many objects that an archive in them may have been missed.
    pub given_up: Vec<(Timestamp, Timestamp)>,
}

impl Skipped {
    pub fn is_empty(&self) -> bool {
        *self == Skipped::default()
    }

    /// Adds the counts of another walk.
    pub fn extend(&mut self, other: &Skipped) {
        self.junk += other.junk;
        self.copies += other.copies;
        self.passed_over += other.passed_over;
        self.given_up.extend(&other.given_up);
    }

    /// Writes the counts that are not zero, in the words for what was searched.
    pub fn told(&self, words: Words) -> impl fmt::Display {
        fmt::from_fn(move |f| self.write(words, f))
    }

    fn write(&self, words: Words, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Words { one, many, .. } = words;
        let mut parts = Vec::new();
        if self.junk > 0 {
            parts.push(format!("objects that are not {many}: {}", self.junk));
        }
        for (count, what) in [
            (self.copies, "further copies of good ones"),
            (self.passed_over, "further versions of keys that have too many"),
        ] {
            if count > 0 {
                parts.push(format!("{what}: {count}"));
            }
        }
        for (from, to) in &self.given_up {
            let to = if *to == Timestamp::MAX { "on".to_owned() } else { format!("to {to}") };
            parts.push(format!(
                "too many objects named for the time from {from} {to}: a {one} among them may have been missed (name \
                 its id, or look before that time with --before)"
            ));
        }
        f.write_str(&parts.join(", "))
    }
}

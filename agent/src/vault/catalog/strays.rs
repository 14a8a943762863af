//! What a walk met beside backups.

use std::fmt;

use jiff::Timestamp;

/// Things in the vault that are no backups of their own, and what was not looked at for being too much.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strays {
    /// Versions under keys that are no backup's name, as far as they were listed.
    pub junk: u64,
    /// Further versions of a good backup with the same signed head.
    pub copies: u64,
    /// Versions of a key that has so many that only the oldest and the newest were looked at.
    pub passed_over: u64,
    /// Stretches of time with so many objects that a backup in them may have been missed; the first few.
    pub given_up: Vec<(Timestamp, Timestamp)>,
}

impl Strays {
    pub fn is_empty(&self) -> bool {
        *self == Strays::default()
    }

    /// Adds what another walk met.
    pub fn extend(&mut self, other: &Strays) {
        self.junk += other.junk;
        self.copies += other.copies;
        self.passed_over += other.passed_over;
        self.given_up.extend(&other.given_up);
    }
}

impl fmt::Display for Strays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.junk, "objects that are no backups"),
            (self.copies, "further copies of good ones"),
            (self.passed_over, "further versions of keys that have too many"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        for (from, to) in &self.given_up {
            let to = if *to == Timestamp::MAX { "on".to_owned() } else { format!("to {to}") };
            parts.push(format!(
                "too many objects named for the time from {from} {to}: a backup among them may have been missed (name \
                 its id, or look before that time with --before)"
            ));
        }
        f.write_str(&parts.join(", "))
    }
}

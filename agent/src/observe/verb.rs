//! The verbs whose runs are watched.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A verb whose runs have hooks, a history and an entry in the journal. Ordered by its word, as the history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    Backup,
    Drill,
    Promote,
    Put,
    RecoverQuorum,
    Restore,
    Standby,
    StepDown,
    Verify,
}

impl Verb {
    /// The verb as it is typed, stored and reported; a stable interface.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Backup => "backup",
            Verb::Drill => "drill",
            Verb::Promote => "promote",
            Verb::Put => "put",
            Verb::RecoverQuorum => "recover-quorum",
            Verb::Restore => "restore",
            Verb::Standby => "standby",
            Verb::StepDown => "step-down",
            Verb::Verify => "verify",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_stored_as_its_word_and_sorted_by_it() {
        let all = [
            Verb::Backup,
            Verb::Drill,
            Verb::Promote,
            Verb::Put,
            Verb::RecoverQuorum,
            Verb::Restore,
            Verb::Standby,
            Verb::StepDown,
            Verb::Verify,
        ];
        for verb in all {
            let stored = serde_json::to_value(verb).expect("is JSON");
            assert_eq!(stored, verb.word());
            assert_eq!(serde_json::from_value::<Verb>(stored).expect("is read back"), verb);
        }
        assert!(all.is_sorted() && all.iter().map(|verb| verb.word()).is_sorted());
    }
}

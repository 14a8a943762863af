//! The outcome of a recovery, for a person or a script.

use std::fmt;

use serde::Serialize;

use crate::{backup::Sent, outcome::exit::Exit, restore::RestoreReport};

/// The stable JSON form of `recover-quorum --json`.
#[derive(Debug, Serialize)]
pub struct RecoveryReport {
    /// The backup that was made first.
    pub backup: Sent,
    #[serde(flatten)]
    pub restored: RestoreReport,
}

impl RecoveryReport {
    pub fn exit(&self) -> Exit {
        self.restored.exit()
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.restored.fmt(f)
    }
}

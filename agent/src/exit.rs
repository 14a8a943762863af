//! Exit codes, as the manual promises them to scripts and units.

use std::process::ExitCode;

/// How a run ended. The numbers are a stable interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// The error chain says what failed and what to do.
    Failed = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Another host's turn, or not due yet; nothing was done.
    NotOurTurn = 3,
    /// It would do harm (quorum, wrong address, living managers, newer state).
    Refused = 4,
    /// Nothing usable was found in any vault.
    NothingUsable = 5,
    /// Done, or nothing to do now, but something needs attention.
    Attention = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The word that reports use for this code.
    pub fn word(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::NotOurTurn => "not-our-turn",
            Exit::Refused => "refused",
            Exit::NothingUsable => "nothing-usable",
            Exit::Attention => "attention",
        }
    }
}

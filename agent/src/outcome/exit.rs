//! Exit codes, as the manual promises them to scripts and units.

use std::process::ExitCode;

/// Exit code of a run. The numbers are a stable interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// The error chain says what failed and what to do about it.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Another manager is the designated runner, or no run is due yet; nothing was done.
    NotOurTurn = 3,
    /// The action would do harm (quorum, wrong address, living managers, newer state), so nothing was touched.
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
    const ALL: [Self; 7] =
        [Exit::Done, Exit::Failed, Exit::Usage, Exit::NotOurTurn, Exit::Refused, Exit::NothingUsable, Exit::Attention];

    /// Returns the way of ending that has this number; `None` for one that this version does not know.
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| *exit as u8 == code)
    }

    /// The way of ending of a run that did its work, and may have found something that needs attention.
    pub fn with_attention(is_needed: bool) -> Self {
        if is_needed { Exit::Attention } else { Exit::Done }
    }

    /// Returns the word that reports use for this code.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_exit() {
        let words: Vec<_> = (0..=7).map(|code| Exit::of_code(code).map(Exit::word)).collect();
        let known = ["done", "failed", "usage", "not-our-turn", "refused", "nothing-usable", "attention"];
        assert_eq!(words, known.map(Some).into_iter().chain([None]).collect::<Vec<_>>());
    }
}

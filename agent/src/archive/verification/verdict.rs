//! Verdict on a backup, and how far its check went.

use serde::Serialize;

use crate::{archive::proof::ProofResult, outcome::exit::Exit};

/// Result of checking one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Proven,
    /// Encrypted, and not decrypted: only the signature and the stored bytes were checked.
    Stored,
    Sealed,
    WrongUnlockKey,
    /// The raft log does not replay, and the manifest says so too.
    Unproven,
    Bad,
}

impl Verdict {
    pub fn of(reproved: ProofResult) -> (Self, Option<String>) {
        match reproved {
            ProofResult::Proven => (Self::Proven, None),
            ProofResult::Sealed => (Self::Sealed, None),
            ProofResult::WrongUnlockKey(why) => (Self::WrongUnlockKey, Some(why)),
            ProofResult::Unproven(why) => (Self::Unproven, Some(format!("the raft log breaks: {why}"))),
        }
    }

    pub fn is_good(self) -> bool {
        !matches!(self, Self::Unproven | Self::Bad)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Proven | Self::Stored => "good",
            Self::Sealed | Self::WrongUnlockKey => "sealed",
            Self::Unproven => "UNPROVEN",
            Self::Bad => "BAD",
        }
    }

    pub fn depth(self) -> &'static str {
        match self {
            Self::Proven => "every file checked; raft log replayed, and it matches what was recorded",
            Self::Stored => "signature and stored bytes; not opened, since no identity was given",
            Self::Sealed => {
                "every file checked; autolocked, so the raft log was checked but not opened: give --unlock-key"
            }
            Self::WrongUnlockKey => "every file checked; autolocked, so the raft log was checked but not opened",
            Self::Unproven => "every file checked, as stored",
            Self::Bad => "",
        }
    }

    pub fn exit(self) -> Exit {
        match self {
            Self::Proven | Self::Stored | Self::Sealed => Exit::Done,
            Self::WrongUnlockKey | Self::Unproven => Exit::Attention,
            Self::Bad => Exit::Failed,
        }
    }
}

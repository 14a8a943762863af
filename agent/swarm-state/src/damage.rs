//! Errors in reading a state directory, distinguished by what a caller can do about them.

use std::{fmt, io, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A place in a file where the content is not what the engine writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{file}, byte {offset}: {why}")]
pub struct Damage {
    /// Path below the state directory.
    pub file: String,
    /// Offset of the unreadable part in bytes from the start of the file.
    pub offset: u64,
    /// Kind of the damage.
    pub kind: DamageKind,
    /// Description in one sentence, without secrets.
    pub why: String,
}

/// Kind of damage, by what a caller may conclude from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// The last record of the last segment is incomplete, as after a crash in the middle of a write. The engine
    /// truncates the log before such a record when it starts. The record was never acknowledged, unless the file
    /// was truncated later.
    TornTail,
    /// Bytes differ from what was written: a checksum, an authentication tag or a structure is wrong.
    Corrupt,
    /// Every part is intact, but parts are missing or do not belong together.
    Incomplete,
    /// A length or a count is above a limit of this reader, which the text names.
    BeyondLimit,
}

impl Damage {
    pub(crate) fn new(kind: DamageKind, file: impl Into<String>, offset: u64, why: impl Into<String>) -> Self {
        Self { file: file.into(), offset, kind, why: why.into() }
    }

    /// Returns damage of the kind [`DamageKind::Corrupt`].
    pub fn corrupt(file: impl Into<String>, offset: u64, why: impl Into<String>) -> Self {
        Self::new(DamageKind::Corrupt, file, offset, why)
    }

    pub(crate) fn incomplete(file: impl Into<String>, offset: u64, why: impl Into<String>) -> Self {
        Self::new(DamageKind::Incomplete, file, offset, why)
    }
}

/// Reason why a state directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system returned an error, which says nothing about the state itself.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file or directory that was being read.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file that every manager has is missing.
    #[error("{} is not a manager's state directory: {file} is missing", root.display())]
    Missing {
        /// The state directory.
        root: PathBuf,
        /// The missing file, relative to it.
        file: String,
    },
    /// The node is a worker, or was demoted to one.
    #[error("{} is the state of a worker, node {node_id}: only managers hold the swarm", root.display())]
    NotAManager {
        /// The state directory.
        root: PathBuf,
        /// Node id.
        node_id: String,
    },
    /// The content of a file is not what the engine writes there.
    #[error("the swarm state is damaged")]
    Damaged(#[from] Damage),
    /// The state is autolocked, and the given unlock key does not decrypt it.
    #[error(
        "the unlock key does not open {file} (kek-version {kek_version}): \
         give the key that was valid when this state was written"
    )]
    WrongUnlockKey {
        /// The key file, relative to the state directory.
        file: String,
        /// Number that swarm gives to the unlock key, from the key file.
        kek_version: u64,
    },
    /// The text that was given as unlock key is not one.
    #[error("not an unlock key: {0}")]
    MalformedUnlockKey(&'static str),
}

impl Error {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TornTail => "torn tail",
            Self::Corrupt => "corrupt",
            Self::Incomplete => "incomplete",
            Self::BeyondLimit => "beyond a limit of this reader",
        })
    }
}

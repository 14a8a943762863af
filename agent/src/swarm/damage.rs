//! Why a state directory could not be read, told apart by what a caller can do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One place in one file that is not what the engine writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{file}, byte {offset}: {why}")]
pub struct Damage {
    /// Path below the state directory.
    pub file: String,
    /// Where the unreadable part begins, counted from the start of the file.
    pub offset: u64,
    /// What sort of damage this is.
    pub kind: DamageKind,
    /// One sentence without a secret in it.
    pub why: String,
}

/// What a caller may conclude from damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// The last record of the last segment is incomplete, as after a crash in the middle of a write.
    /// The engine cuts such a record off when it starts; what was in it was never acknowledged,
    /// unless the file was cut afterwards.
    TornTail,
    /// Bytes differ from what was written: a checksum, a seal or a structure does not hold.
    Corrupt,
    /// Every part is whole, but parts are missing or do not belong together.
    Incomplete,
    /// A length or a count is beyond what this reader takes in; see the limit named in the text.
    BeyondLimit,
}

impl Damage {
    pub(crate) fn new(kind: DamageKind, file: impl Into<String>, offset: u64, why: impl Into<String>) -> Self {
        Self { file: file.into(), offset, kind, why: why.into() }
    }

    pub(crate) fn corrupt(file: impl Into<String>, offset: u64, why: impl Into<String>) -> Self {
        Self::new(DamageKind::Corrupt, file, offset, why)
    }

    pub(crate) fn incomplete(file: impl Into<String>, offset: u64, why: impl Into<String>) -> Self {
        Self::new(DamageKind::Incomplete, file, offset, why)
    }
}

/// Why a state directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused; says nothing about the state itself.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file or directory that was being read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that every manager has is not there.
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
    /// A file does not hold what the engine writes there.
    #[error("the swarm state is damaged")]
    Damaged(#[from] Damage),
    /// The state is autolocked, and the unlock key given does not open it.
    #[error(
        "the unlock key does not open {file} (kek-version {kek_version}): \
         give the key that was valid when this state was written"
    )]
    WrongUnlockKey {
        /// The key file, relative to the state directory.
        file: String,
        /// The number by which swarm counts unlock keys, from the key file.
        kek_version: u64,
    },
    /// The text given as unlock key is not one.
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

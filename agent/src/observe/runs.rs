//! The runs of one verb that this host remembers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::outcome::exit::Exit;

/// The runs of one verb.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// The last one that did not end as [`Exit::NotOurTurn`].
    pub last: Option<Run>,
    pub last_good: Option<Timestamp>,
    /// Number of runs for each result, which is named by [`Exit::word`].
    pub ended: BTreeMap<String, u64>,
}

/// The runs of `put` for one stream. Those that left it to another host, or were not due, are not among them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamRuns {
    /// Swarm that the stream belongs to, as the last run knew it.
    pub cluster: Option<String>,
    #[serde(flatten)]
    pub runs: Runs,
    /// The last drill on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<StreamDrilled>,
}

/// A drill of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamDrilled {
    pub at: Timestamp,
    /// Id of the stream; absent if there was none that verifies.
    pub id: Option<String>,
    pub proven: bool,
    pub problem: Option<String>,
    /// When a drill last succeeded.
    pub last_proven: Option<Timestamp>,
}

impl StreamDrilled {
    pub fn now(id: Option<String>, proven: bool, problem: Option<String>) -> Self {
        let at = Timestamp::now();
        Self { at, id, proven, problem, last_proven: proven.then_some(at) }
    }
}

impl Runs {
    /// Adds a run that has ended.
    pub fn ended(&mut self, exit: Exit, run: Run) {
        *self.ended.entry(exit.word().to_owned()).or_default() += 1;
        if exit == Exit::NotOurTurn {
            return;
        }
        if matches!(exit, Exit::Done | Exit::Attention) {
            self.last_good = Some(run.at);
        }
        self.last = Some(run);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub at: Timestamp,
    pub seconds: f64,
    pub exit: StoredExit,
    pub result: String,
    pub error: Option<String>,
}

/// The exit code of a remembered run: a number in the file. A newer version may have written one that this version does
/// not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum StoredExit {
    Known(Exit),
    Unknown(u8),
}

impl StoredExit {
    /// Whether the run did what it was for.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Known(Exit::Done | Exit::Attention))
    }
}

impl From<u8> for StoredExit {
    fn from(code: u8) -> Self {
        Exit::of_code(code).map_or(Self::Unknown(code), Self::Known)
    }
}

impl From<StoredExit> for u8 {
    fn from(stored: StoredExit) -> Self {
        match stored {
            StoredExit::Known(exit) => exit as u8,
            StoredExit::Unknown(code) => code,
        }
    }
}

impl From<Exit> for StoredExit {
    fn from(exit: Exit) -> Self {
        Self::Known(exit)
    }
}

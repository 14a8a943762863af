//! What this host remembers of its runs, for `status` and for metrics. The vaults say what is stored; this says what
//! was tried here.
//!
//! Nothing is decided by it, so a file that is lost or damaged costs the figures and nothing else.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{exit::Exit, whole_file};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// By verb.
    pub runs: BTreeMap<String, Runs>,
    /// The backup that this host made last.
    pub backup: Option<Made>,
    /// The check of stored backups that this host made last.
    pub proof: Option<Proved>,
    pub hook_failures: u64,
    pub ping_failures: u64,
}

/// The runs of one verb.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// The last one that had something to do: not [`Exit::NotOurTurn`].
    pub last: Option<Run>,
    pub last_good: Option<Timestamp>,
    /// How many ended how, by the words of [`Exit::word`].
    pub ended: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub at: Timestamp,
    pub seconds: f64,
    pub exit: u8,
    pub result: String,
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub id: String,
    pub cluster: String,
    pub at: Timestamp,
    pub size: u64,
    pub engine_down_ms: u64,
    pub ours_ms: u64,
    /// Milliseconds by phase.
    pub phases: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proved {
    pub at: Timestamp,
    pub good: bool,
    /// Backups that were read back.
    pub checked: u64,
    /// Id of the newest of them.
    pub newest: Option<String>,
}

impl History {
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("history.json")
    }

    pub fn read(state_dir: &Path) -> Self {
        let path = Self::path(state_dir);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!("{} cannot be read, its figures begin anew: {error}", path.display());
                Self::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!("{} cannot be read: {error}", path.display());
                Self::default()
            }
        }
    }

    pub fn write(&self, state_dir: &Path) -> Result<()> {
        let path = Self::path(state_dir);
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
            whole_file::replace_json(&path, self)
        };
        write().with_context(|| format!("failed to write {}", path.display()))
    }

    /// Adds a run that has ended.
    pub fn ended(&mut self, verb: &str, exit: Exit, run: Run) {
        let runs = self.runs.entry(verb.to_owned()).or_default();
        *runs.ended.entry(exit.word().to_owned()).or_default() += 1;
        if exit == Exit::NotOurTurn {
            return;
        }
        if matches!(exit, Exit::Done | Exit::Attention) {
            runs.last_good = Some(run.at);
        }
        runs.last = Some(run);
    }

    /// A run that had nothing to do, and something to tell: it is the last, and no good one.
    pub fn idled(&mut self, verb: &str, exit: Exit, run: Run) {
        let runs = self.runs.entry(verb.to_owned()).or_default();
        *runs.ended.entry(exit.word().to_owned()).or_default() += 1;
        runs.last = Some(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(second: i64, exit: Exit) -> Run {
        let at = Timestamp::from_second(second).expect("is a time");
        Run { at, seconds: 1.5, exit: exit as u8, result: exit.word().to_owned(), error: None }
    }

    #[test]
    fn a_run_that_had_only_something_to_tell_is_no_good_one() {
        let mut history = History::default();
        history.ended("backup", Exit::Done, run(1, Exit::Done));
        history.idled("backup", Exit::Attention, run(2, Exit::Attention));
        let runs = &history.runs["backup"];
        assert_eq!(runs.last_good.map(|at| at.as_second()), Some(1));
        assert_eq!(runs.last.as_ref().map(|run| run.at.as_second()), Some(2));
    }

    #[test]
    fn a_run_that_did_nothing_is_counted_and_is_not_the_last() {
        let mut history = History::default();
        for (second, exit) in [(1, Exit::Done), (2, Exit::Failed), (3, Exit::NotOurTurn), (4, Exit::NotOurTurn)] {
            history.ended("backup", exit, run(second, exit));
        }
        let runs = &history.runs["backup"];
        assert_eq!(runs.last, Some(run(2, Exit::Failed)));
        assert_eq!(runs.last_good, Timestamp::from_second(1).ok());
        assert_eq!(runs.ended["not-our-turn"], 2);
    }

    #[test]
    fn reads_what_it_wrote_and_survives_damage() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let state = dir.path().join("state");
        assert_eq!(History::read(&state), History::default());
        assert!(!state.exists(), "looking makes nothing");
        let mut history = History { hook_failures: 3, ..History::default() };
        history.ended("verify", Exit::Attention, run(7, Exit::Attention));
        history.write(&state).expect("writes");
        assert_eq!(History::read(&state), history);
        fs::write(state.join("history.json"), "[").expect("writes");
        assert_eq!(History::read(&state), History::default());
    }
}

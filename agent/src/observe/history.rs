//! This host's record of its runs, for `status` and for metrics. The vaults show what is stored; this record shows what
//! was tried here.
//!
//! No decision depends on it, but for the pause before a stream that failed is tried again. A file that is lost or damaged
//! costs the figures and that pause, and nothing else.

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

use super::{
    runs::{Run, StreamDrilled, StreamRuns},
    runs_by_verb::RunsByVerb,
    verb::Verb,
};
use crate::{host::files::whole_file, outcome::exit::Exit};

/// The most names of streams that are remembered.
const STREAMS: usize = 256;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    pub runs: RunsByVerb,
    /// The backup that this host made last.
    pub backup: Option<Made>,
    /// The check of stored backups that this host made last.
    pub proof: Option<Proved>,
    /// What this host did for each stream, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<String, StreamRuns>,
    pub hook_failures: u64,
    pub ping_failures: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub id: String,
    pub cluster: String,
    pub at: Timestamp,
    pub size: u64,
    pub engine_down_ms: u64,
    pub ours_ms: u64,
    /// Milliseconds of each phase.
    pub phases: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proved {
    pub at: Timestamp,
    pub good: bool,
    /// Number of backups that were read back.
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
                tracing::warn!("{} cannot be read, so its figures start from zero: {error}", path.display());
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
    pub fn ended(&mut self, verb: Verb, exit: Exit, run: Run) {
        self.runs.of_mut(verb).ended(exit, run);
    }

    /// Adds a run of `put` that has ended. Of too many names, those that were not stored for longest are forgotten.
    pub fn ended_stream(&mut self, name: &str, cluster: Option<String>, exit: Exit, run: Run) {
        let of_name = self.streams.entry(name.to_owned()).or_default();
        of_name.cluster = cluster.or(of_name.cluster.take());
        of_name.runs.ended(exit, run);
        self.forget_surplus();
    }

    /// Adds a drill of a stream.
    pub fn drilled_stream(&mut self, name: &str, drill: StreamDrilled) {
        let of_name = self.streams.entry(name.to_owned()).or_default();
        let before = of_name.drill.take().and_then(|before| before.last_proven);
        of_name.drill = Some(StreamDrilled { last_proven: drill.last_proven.or(before), ..drill });
        self.forget_surplus();
    }

    fn forget_surplus(&mut self) {
        while self.streams.len() > STREAMS {
            let drilled = |of_name: &StreamRuns| of_name.drill.as_ref().map(|drill| drill.at);
            let last = |of_name: &StreamRuns| of_name.runs.last.as_ref().map(|run| run.at).max(drilled(of_name));
            let oldest = self.streams.iter().min_by_key(|(_, of_name)| last(of_name)).map(|(name, _)| name.clone());
            oldest.map(|name| self.streams.remove(&name));
        }
    }

    /// Adds a run that had nothing to do but something to report: it becomes the last run, but not the last good one.
    pub fn idled(&mut self, verb: Verb, exit: Exit, run: Run) {
        let runs = self.runs.of_mut(verb);
        *runs.ended.entry(exit.word().to_owned()).or_default() += 1;
        runs.last = Some(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::runs::StoredExit;

    fn run(second: i64, exit: Exit) -> Run {
        let at = Timestamp::from_second(second).expect("is a time");
        Run { at, seconds: 1.5, exit: exit.into(), result: exit.word().to_owned(), error: None }
    }

    #[test]
    fn a_run_that_had_only_something_to_tell_is_no_good_one() {
        let mut history = History::default();
        history.ended(Verb::Backup, Exit::Done, run(1, Exit::Done));
        history.idled(Verb::Backup, Exit::Attention, run(2, Exit::Attention));
        let runs = history.runs.of(Verb::Backup).expect("has run");
        assert_eq!(runs.last_good.map(|at| at.as_second()), Some(1));
        assert_eq!(runs.last.as_ref().map(|run| run.at.as_second()), Some(2));
    }

    #[test]
    fn a_run_that_did_nothing_is_counted_and_is_not_the_last() {
        let mut history = History::default();
        for (second, exit) in [(1, Exit::Done), (2, Exit::Failed), (3, Exit::NotOurTurn), (4, Exit::NotOurTurn)] {
            history.ended(Verb::Backup, exit, run(second, exit));
        }
        let runs = history.runs.of(Verb::Backup).expect("has run");
        assert_eq!(runs.last, Some(run(2, Exit::Failed)));
        assert_eq!(runs.last_good, Timestamp::from_second(1).ok());
        assert_eq!(runs.ended["not-our-turn"], 2);
    }

    #[test]
    fn of_too_many_streams_the_ones_from_long_ago_are_forgotten() {
        let mut history = History::default();
        for n in 0..300 {
            history.ended_stream(&format!("s{n}"), Some("c".to_owned()), Exit::Done, run(n, Exit::Done));
        }
        history.ended_stream("s299", None, Exit::Failed, run(300, Exit::Failed));
        assert_eq!((history.streams.len(), history.streams.contains_key("s43")), (256, false));
        let last = &history.streams["s299"];
        assert_eq!((last.cluster.as_deref(), &last.runs.last), (Some("c"), &Some(run(300, Exit::Failed))));
        assert_eq!(last.runs.last_good, Timestamp::from_second(299).ok());
        let stored = serde_json::to_value(&history).expect("is JSON");
        assert_eq!(serde_json::from_value::<History>(stored).expect("is readable"), history);
    }

    #[test]
    fn the_exit_of_a_run_is_a_number_also_if_it_is_unknown() {
        for (stored, exit) in [(4, StoredExit::Known(Exit::Refused)), (77, StoredExit::Unknown(77))] {
            let run = Run { exit, ..run(1, Exit::Done) };
            let json = serde_json::to_value(&run).expect("is JSON");
            assert_eq!(json["exit"], stored);
            assert_eq!(serde_json::from_value::<Run>(json).expect("is readable"), run);
        }
    }

    #[test]
    fn reads_what_it_wrote_and_survives_damage() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let state = dir.path().join("state");
        assert_eq!(History::read(&state), History::default());
        assert!(!state.exists(), "looking makes nothing");
        let mut history = History { hook_failures: 3, ..History::default() };
        history.ended(Verb::Verify, Exit::Attention, run(7, Exit::Attention));
        history.write(&state).expect("writes");
        assert_eq!(History::read(&state), history);
        fs::write(state.join("history.json"), "[").expect("writes");
        assert_eq!(History::read(&state), History::default());
    }
}

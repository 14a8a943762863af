//! The note of a run: what it is about to do, and how far it has come, for the next run if this one is ended by force.

use std::{
    fs, io,
    path::{Path, PathBuf},
    result, thread,
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::stop_history::StopWithoutBackup;
use crate::{
    config::{Config, Mode},
    host::files::whole_file,
};

/// Name of the note, in the agent's state directory, which does not depend on the engine.
pub(super) const NOTE: &str = "run.json";

/// Progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    BeforePause,
    /// By the word of earlier versions: the next run may be one of another version.
    #[serde(rename = "engine-away")]
    EngineDown,
    EngineBack,
    /// The backup is sealed on this host.
    Sealed,
    /// The run ended by itself, and the engine was not back.
    NotBack,
}

/// The content of the note: what a run is about to do, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The id of the backup.
    pub id: String,
    pub process: u32,
    pub begun_at: Timestamp,
    pub mode: Mode,
    pub stage: Stage,
    /// When the run reached the stage.
    #[serde(default)]
    pub since: Option<Timestamp>,
    pub snapshot_dir: PathBuf,
}

/// The note of this run. Dropping it removes it, unless the engine is not back or the run panics.
#[derive(Debug)]
pub struct RunNote {
    path: PathBuf,
    note: Note,
    failed_stop: Option<Duration>,
}

impl RunNote {
    pub fn write(config: &Config, note: Note) -> Result<Self> {
        let path = config.state_dir.join(NOTE);
        let written = Self { path, note, failed_stop: None };
        let write = || -> io::Result<()> {
            fs::create_dir_all(&config.state_dir)?;
            written.put()
        };
        write().with_context(|| format!("failed to write the note {}", written.path.display()))?;
        Ok(written)
    }

    /// True if this run stopped or froze the engine.
    pub fn was_down(&self) -> bool {
        self.note.stage != Stage::BeforePause
    }

    /// True if the engine is back, as far as this run knows.
    pub fn is_back(&self) -> bool {
        matches!(self.note.stage, Stage::EngineBack | Stage::Sealed)
    }

    /// Notes that the engine did not stop within this time.
    pub fn stop_failed(&mut self, after: Duration) {
        self.failed_stop = Some(after);
    }

    /// Returns the entry for the history of stops if the run ends with this error.
    pub fn in_vain(&self, why: String) -> StopWithoutBackup {
        StopWithoutBackup {
            run: self.note.id.clone(),
            at: Timestamp::now(),
            why,
            failed_stop_ms: self.failed_stop.and_then(|after| u64::try_from(after.as_millis()).ok()),
        }
    }

    /// Notes how far the run has come, for the next run if this one is ended by force.
    pub fn advance(&mut self, stage: Stage) {
        (self.note.stage, self.note.since) = (stage, Some(Timestamp::now()));
        if let Err(error) = self.put() {
            tracing::warn!(%error, "the note {} could not be brought up to date", self.path.display());
        }
    }

    fn put(&self) -> io::Result<()> {
        whole_file::replace_json(&self.path, &self.note)
    }
}

impl Drop for RunNote {
    fn drop(&mut self) {
        if thread::panicking() || self.note.stage == Stage::NotBack {
            return;
        }
        if self.note.stage == Stage::EngineDown {
            return self.advance(Stage::NotBack);
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the note {} could not be removed", self.path.display());
        }
    }
}

/// A note that was found. One that cannot be parsed still means an unclean end.
pub(super) type Found = result::Result<Note, serde_json::Error>;

pub(super) fn read(path: &Path) -> io::Result<Option<Found>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(in crate::downtime) mod tests {
    use super::*;

    pub(in crate::downtime) fn config(dir: &Path) -> Config {
        Config { state_dir: dir.join("state"), ..Config::default() }
    }

    pub(in crate::downtime) fn note(dir: &Path) -> Note {
        Note {
            id: "20261121T031500Z-1a2b3c4d".to_owned(),
            process: 4711,
            begun_at: Timestamp::UNIX_EPOCH,
            mode: Mode::Cold,
            stage: Stage::BeforePause,
            since: None,
            snapshot_dir: dir.join("data/.swarmdr/snapshot-20261121T031500Z-1a2b3c4d"),
        }
    }

    #[test]
    fn a_run_that_ends_well_leaves_no_note() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = config(dir.path());
        let mut run = RunNote::write(&config, note(dir.path())).expect("writes");
        run.advance(Stage::EngineDown);
        run.advance(Stage::EngineBack);
        drop(run);
        assert!(fs::read_dir(&config.state_dir).expect("lists").next().is_none());
    }
}

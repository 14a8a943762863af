//! What a run that was ended by force leaves behind, and how the next one finds it.
//!
//! Before it touches anything, a backup writes down what it is about to make; when it has cleaned up after itself
//! it removes the note. A note that is found therefore tells of a kill, a crash or a power cut. The transient
//! units are looked for in systemd itself. Call [`clean`] with the host's lock held, before anything else
//! that changes the host: a failsafe that is still armed would start the engine in the middle of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    absences::{Absences, InVain},
    bring_back,
    engine_units::EngineControl,
    failsafe,
    systemd::Systemd,
};
use crate::{
    config::{Config, Mode},
    whole_file,
};

/// Below the agent's own directory, which is there without an engine.
const NOTE: &str = "run.json";

/// Names of directories that only a run of the agent makes.
const SNAPSHOT: &str = "snapshot-";

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    BeforePause,
    EngineAway,
    EngineBack,
    /// What the engine was away for lies sealed on this host.
    Sealed,
    /// The run has ended by itself, and the engine was not back.
    NotBack,
}

/// What a run is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Of the backup.
    pub id: String,
    pub process: u32,
    pub begun_at: Timestamp,
    pub mode: Mode,
    pub stage: Stage,
    /// When it came to that.
    #[serde(default)]
    pub since: Option<Timestamp>,
    pub snapshot_dir: PathBuf,
}

/// What earlier runs left, in whole sentences; nothing if all ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// What was found, and put right.
    pub notes: Vec<String>,
    /// What is not right yet.
    pub attention: Vec<String>,
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

    /// The engine was taken away by this run.
    pub fn was_away(&self) -> bool {
        self.note.stage != Stage::BeforePause
    }

    /// It is back, as far as this run knows.
    pub fn is_back(&self) -> bool {
        matches!(self.note.stage, Stage::EngineBack | Stage::Sealed)
    }

    /// The engine was waited for so long, and did not stop.
    pub fn stop_failed(&mut self, after: Duration) {
        self.failed_stop = Some(after);
    }

    /// Of a run that ends with this error.
    pub fn in_vain(&self, why: String) -> InVain {
        InVain {
            run: self.note.id.clone(),
            at: Timestamp::now(),
            why,
            failed_stop_ms: self.failed_stop.and_then(|after| u64::try_from(after.as_millis()).ok()),
        }
    }

    /// What the next run goes by if this one is ended by force.
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
        if std::thread::panicking() || self.note.stage == Stage::NotBack {
            return;
        }
        if self.note.stage == Stage::EngineAway {
            return self.advance(Stage::NotBack);
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the note {} could not be removed", self.path.display());
        }
    }
}

/// Removes what earlier runs left. An error is an engine that is not back, or an armed failsafe that would act in the
/// middle of this run; whatever else does not work is told, and looked after again by the next run.
pub async fn clean(config: &Config) -> Result<Leftovers> {
    let path = config.state_dir.join(NOTE);
    let mut left = Leftovers::default();
    let note = read(&path).unwrap_or_else(|error| {
        left.attention.push(format!("the note {} cannot be read: {error}", path.display()));
        None
    });
    left.notes.extend(note.as_ref().map(describe));
    if let Some(vain) = note.as_ref().and_then(|note| in_vain(note.as_ref().ok()?)) {
        Absences::note_in_vain(&config.state_dir, vain);
    }
    left.notes.extend(clean_units(config).await?);
    match bring_back::finish(config).await {
        Ok(back) => {
            left.notes.extend(back.notes);
            left.attention.extend(back.attention);
        }
        Err(error) => {
            left.attention.push(format!("what an earlier run had found could not be brought back: {error:#}"));
        }
    }
    if let Some(note) = &note
        && let Err(error) = clean_files(&path, note, &mut left.notes)
    {
        left.attention.push(format!("{error:#}"));
    }
    for sentence in left.notes.iter().chain(&left.attention) {
        tracing::warn!("{sentence}");
    }
    Ok(left)
}

/// A run counts whose engine had been away when it was killed, and that had nothing sealed: what ends it while it packs
/// ends the next one there too. One that ended by itself has counted itself.
fn in_vain(killed: &Note) -> Option<InVain> {
    let was_away = matches!(killed.stage, Stage::EngineAway | Stage::EngineBack);
    (was_away && killed.mode == Mode::Cold).then(|| InVain {
        run: killed.id.clone(),
        at: killed.since.unwrap_or(killed.begun_at),
        why: "the run was ended by force".to_owned(),
        failed_stop_ms: None,
    })
}

/// The note last: it names what else is there.
fn clean_files(path: &Path, note: &Found, said: &mut Vec<String>) -> Result<()> {
    if let Ok(note) = note {
        said.extend(remove_snapshots(&note.snapshot_dir)?);
    }
    fs::remove_file(path).with_context(|| format!("failed to remove the note {}", path.display()))
}

/// A note that cannot be understood still tells of an unclean end.
type Found = std::result::Result<Note, serde_json::Error>;

fn read(path: &Path) -> io::Result<Option<Found>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(found: &Found) -> String {
    match found {
        Ok(note) => {
            let when = match note.stage {
                Stage::BeforePause => "before it paused the engine",
                Stage::EngineAway => "while the engine was paused",
                Stage::EngineBack => "after the engine was back",
                Stage::Sealed => "after its backup was sealed on this host",
                Stage::NotBack => {
                    return format!(
                        "the backup run {} of {} failed, and the engine was not back when it ended: its own error says why",
                        note.id, note.begun_at
                    );
                }
            };
            format!(
                "the backup run {} of {} (process {}) was ended by force {when}: a kill, a crash or a power cut",
                note.id, note.begun_at, note.process
            )
        }
        Err(error) => format!("an earlier backup run was ended by force, and its note cannot be read: {error}"),
    }
}

/// An armed failsafe means that the engine may be away: its work is done now instead of later, by the names of the units
/// and with no question that an engine, a container or a file could leave unanswered.
async fn clean_units(config: &Config) -> Result<Option<String>> {
    // Without systemd there are no such units; whatever needs it says so later.
    let Ok(systemd) = Systemd::connect().await else {
        return Ok(None);
    };
    let left = failsafe::left_behind(&systemd).await?;
    if left.is_empty() {
        return Ok(None);
    }
    // First of all: one that is frozen answers no question.
    let service = &config.engine.service;
    let frozen = systemd.freezable(service).await.is_ok_and(|unit| unit.freezer_state != "running");
    if frozen {
        systemd.thaw(service).await?;
    }
    let control = EngineControl::by_name(config, &systemd).await?;
    let away = !control.state().await?.is_active();
    if away {
        control.start().await.context("failed to start the engine that an earlier run had stopped")?;
    }
    failsafe::remove(&systemd, &left).await?;
    let engine = match (away, frozen) {
        (true, _) => "; the engine was started",
        (_, true) => "; the engine was thawed",
        _ => "",
    };
    Ok(Some(format!("an earlier run left {}, removed now{engine}", left.join(" and "))))
}

/// All of them, beside the one that was noted: whoever holds the lock has none yet.
fn remove_snapshots(noted: &Path) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let Some(work_dir) = noted.parent() else {
        return Ok(said);
    };
    let entries = match fs::read_dir(work_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(said),
        entries => entries.with_context(|| format!("failed to list {}", work_dir.display()))?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SNAPSHOT)) {
            fs::remove_dir_all(&path).with_context(|| format!("failed to remove {}", path.display()))?;
            said.push(format!("an earlier run left {}, removed now", path.display()));
        }
    }
    // Fails where something else is in it, which is what is wanted.
    let _ = fs::remove_dir(work_dir);
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        Config { state_dir: dir.join("state"), ..Config::default() }
    }

    fn note(dir: &Path) -> Note {
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
        run.advance(Stage::EngineAway);
        run.advance(Stage::EngineBack);
        drop(run);
        assert!(fs::read_dir(&config.state_dir).expect("lists").next().is_none());
    }

    #[test]
    fn a_run_whose_engine_is_away_leaves_its_note() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = config(dir.path());
        let mut run = RunNote::write(&config, note(dir.path())).expect("writes");
        run.advance(Stage::EngineAway);
        drop(run);
        let found = read(&config.state_dir.join(NOTE)).expect("reads").expect("is there");
        let said = describe(&found);
        assert!(said.contains("failed, and the engine was not back") && !said.contains("by force"), "{said}");
        let killed = describe(&Ok(Note { stage: Stage::EngineAway, ..note(dir.path()) }));
        assert!(killed.contains("while the engine was paused") && killed.contains("4711"), "{killed}");
        assert!(describe(&serde_json::from_str("{").map(|(): ()| note(dir.path()))).contains("cannot be read"));
    }

    #[test]
    fn a_kill_counts_where_the_engine_was_away_and_nothing_was_sealed() {
        let since = Timestamp::from_second(7).ok();
        let away = Note { stage: Stage::EngineAway, since, ..note(Path::new("/x")) };
        for stage in [Stage::EngineAway, Stage::EngineBack] {
            let counted = in_vain(&Note { stage, ..away.clone() }).expect("counts");
            assert_eq!((counted.run, Some(counted.at)), (away.id.clone(), since), "{stage:?}");
        }
        for (stage, mode) in [
            (Stage::BeforePause, Mode::Cold),
            (Stage::Sealed, Mode::Cold),
            (Stage::NotBack, Mode::Cold),
            (Stage::EngineAway, Mode::Freeze),
        ] {
            assert_eq!(in_vain(&Note { stage, mode, ..away.clone() }), None, "{stage:?} {mode:?}");
        }
    }

    #[test]
    fn snapshots_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let noted = note(dir.path()).snapshot_dir;
        let work_dir = noted.parent().expect("has one");
        for name in ["snapshot-20261121T031500Z-1a2b3c4d/raft", "snapshot-older", "restore-20261121T031500Z-1a2b3c4d"] {
            fs::create_dir_all(work_dir.join(name)).expect("makes");
        }
        assert_eq!(remove_snapshots(&noted).expect("removes").len(), 2);
        assert!(work_dir.join("restore-20261121T031500Z-1a2b3c4d").exists());
        fs::remove_dir(work_dir.join("restore-20261121T031500Z-1a2b3c4d")).expect("removes");
        assert!(remove_snapshots(&noted).expect("finds none").is_empty());
        assert!(!work_dir.exists());
        assert!(remove_snapshots(&noted).expect("finds nothing at all").is_empty());
    }
}

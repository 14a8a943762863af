//! Finds and removes what an earlier run left behind when it was ended by force.
//!
//! Before it touches anything, a backup writes a note of what it is about to do; when it has cleaned up after itself it
//! removes the note. A note that is found therefore means a kill, a crash or a power cut. Transient units are looked
//! for in systemd itself. Call [`clean`] with the host's lock held, before anything else that changes the host: a
//! failsafe that is still armed would start the engine in the middle of it.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};

use super::{
    bring_back,
    engine_units::EngineControl,
    failsafe,
    run_note::{Found, NOTE, Note, Stage, read},
    stop_history::{StopHistory, StopWithoutBackup},
};
use crate::{
    config::{Config, Mode},
    host::systemd::Systemd,
};

/// Prefix of the names of snapshot directories, which only a run of the agent makes.
const SNAPSHOT: &str = "snapshot-";

/// Whole sentences about leftovers of earlier runs; none if all ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Leftovers that were found and removed.
    pub notes: Vec<String>,
    /// Findings that still need attention.
    pub attention: Vec<String>,
}

/// Removes leftovers of earlier runs. An error means an engine that is not back, or an armed failsafe that would act in
/// the middle of this run; anything else that fails is reported, and the next run tries again.
pub async fn clean(config: &Config) -> Result<Leftovers> {
    let path = config.state_dir.join(NOTE);
    let mut left = Leftovers::default();
    let note = read(&path).unwrap_or_else(|error| {
        left.attention.push(format!("the note {} cannot be read: {error}", path.display()));
        None
    });
    left.notes.extend(note.as_ref().map(describe));
    if let Some(vain) = note.as_ref().and_then(|note| in_vain(note.as_ref().ok()?)) {
        StopHistory::note_in_vain(&config.state_dir, vain);
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

/// Makes the entry in the history of stops for a run that was killed after it had stopped the engine and before its
/// backup was sealed: a cause that kills it while it packs is likely to kill the next run there too. A run that ended
/// by itself has made its own entry.
fn in_vain(killed: &Note) -> Option<StopWithoutBackup> {
    let was_down = matches!(killed.stage, Stage::EngineDown | Stage::EngineBack);
    (was_down && killed.mode == Mode::Cold).then(|| StopWithoutBackup {
        run: killed.id.clone(),
        at: killed.since.unwrap_or(killed.begun_at),
        why: "the run was ended by force".to_owned(),
        failed_stop_ms: None,
    })
}

/// Removes the snapshots, and the note last, since it names them.
fn clean_files(path: &Path, note: &Found, said: &mut Vec<String>) -> Result<()> {
    if let Ok(note) = note {
        said.extend(remove_snapshots(&note.snapshot_dir)?);
    }
    fs::remove_file(path).with_context(|| format!("failed to remove the note {}", path.display()))
}

fn describe(found: &Found) -> String {
    match found {
        Ok(note) => {
            let when = match note.stage {
                Stage::BeforePause => "before it paused the engine",
                Stage::EngineDown => "while the engine was paused",
                Stage::EngineBack => "after the engine was back",
                Stage::Sealed => "after its backup was sealed on this host",
                Stage::NotBack => {
                    return format!(
                        "the backup run {} of {} failed, and the engine was not running when it ended: see its own error",
                        note.id, note.begun_at
                    );
                }
            };
            format!(
                "the backup run {} of {} (process {}) was killed {when}, or cut off by a crash or a power cut",
                note.id, note.begun_at, note.process
            )
        }
        Err(error) => format!("an earlier backup run was killed, and its note cannot be read: {error}"),
    }
}

/// Removes failsafes that are still armed. One means that the engine may be down: its work is done now instead of
/// later, by the names of the units and without a call that an engine, a container or a file could leave unanswered.
async fn clean_units(config: &Config) -> Result<Option<String>> {
    // Without systemd there are no such units; code that needs it fails later.
    let Ok(systemd) = Systemd::connect().await else {
        return Ok(None);
    };
    let left = failsafe::left_behind(&systemd).await?;
    if left.is_empty() {
        return Ok(None);
    }
    // This comes first: a frozen engine answers no call.
    let service = &config.engine.service;
    let frozen = systemd.freezable(service).await.is_ok_and(|unit| unit.freezer_state != "running");
    if frozen {
        systemd.thaw(service).await?;
    }
    let control = EngineControl::by_name(config, &systemd).await?;
    let is_down = !control.state().await?.is_active();
    if is_down {
        control.start().await.context("failed to start the engine that an earlier run had stopped")?;
    }
    failsafe::remove(&systemd, &left).await?;
    let engine = match (is_down, frozen) {
        (true, _) => "; the engine was started",
        (_, true) => "; the engine was thawed",
        _ => "",
    };
    Ok(Some(format!("an earlier run left {}, removed now{engine}", left.join(" and "))))
}

/// Removes all snapshots, not only the noted one: the run that holds the lock has none yet.
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
    // Fails if something else is in it, as intended.
    let _ = fs::remove_dir(work_dir);
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downtime::run_note::{
        RunNote,
        tests::{config, note},
    };
    use jiff::Timestamp;

    #[test]
    fn a_run_whose_engine_is_not_back_leaves_its_note() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = config(dir.path());
        let mut run = RunNote::write(&config, note(dir.path())).expect("writes");
        run.advance(Stage::EngineDown);
        drop(run);
        let found = read(&config.state_dir.join(NOTE)).expect("reads").expect("is there");
        let said = describe(&found);
        assert!(said.contains("failed, and the engine was not running") && !said.contains("killed"), "{said}");
        let killed = describe(&Ok(Note { stage: Stage::EngineDown, ..note(dir.path()) }));
        assert!(killed.contains("while the engine was paused") && killed.contains("4711"), "{killed}");
        assert!(describe(&serde_json::from_str("{").map(|(): ()| note(dir.path()))).contains("cannot be read"));
    }

    #[test]
    fn a_kill_counts_if_the_engine_was_down_and_nothing_was_sealed() {
        let since = Timestamp::from_second(7).ok();
        let stopped = Note { stage: Stage::EngineDown, since, ..note(Path::new("/x")) };
        for stage in [Stage::EngineDown, Stage::EngineBack] {
            let counted = in_vain(&Note { stage, ..stopped.clone() }).expect("counts");
            assert_eq!((counted.run, Some(counted.at)), (stopped.id.clone(), since), "{stage:?}");
        }
        for (stage, mode) in [
            (Stage::BeforePause, Mode::Cold),
            (Stage::Sealed, Mode::Cold),
            (Stage::NotBack, Mode::Cold),
            (Stage::EngineDown, Mode::Freeze),
        ] {
            assert_eq!(in_vain(&Note { stage, mode, ..stopped.clone() }), None, "{stage:?} {mode:?}");
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

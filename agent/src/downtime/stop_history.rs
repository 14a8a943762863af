//! Earlier stops of the engine on this host: the time that the last one took, and the number of stops without a backup.
//!
//! After a stop without a backup the next run of the timer does not stop the engine again: the cause is most likely
//! still there. The interval grows with each such stop. Only a command of the operator stops the engine at once.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{host::files::whole_file, outcome::failure::Failure};

const FILE: &str = "absences.json";

/// Hours until the next attempt after one stop without a backup, two, and so on.
const BACKOFF: [i64; 4] = [1, 4, 12, 24];

/// The content of the file, which is written after each run that stopped the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopHistory {
    /// The last stop in which a backup was made.
    pub last_stop: Option<Stop>,
    /// Stops without a backup since the last one with a backup.
    pub in_vain: u32,
    pub last_in_vain: Option<Timestamp>,
    pub why: Option<String>,
    /// The last attempt at which the engine did not stop in time.
    pub failed_stop: Option<Stop>,
    /// The run that was counted last: it is counted once, however often its note is found.
    pub counted: Option<String>,
}

/// A run that stopped the engine and made no backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopWithoutBackup {
    /// The id of the backup that it was to make.
    pub run: String,
    /// End of the run; if it was killed, the time of its last stage.
    pub at: Timestamp,
    pub why: String,
    /// Time that was given to an engine that did not stop, in milliseconds.
    pub failed_stop_ms: Option<u64>,
}

/// A stop of the engine, with the time that it took or was waited for, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub at: Timestamp,
    pub ms: u64,
}

impl StopHistory {
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Reads the file. One that cannot be read counts as empty, and is logged.
    pub fn read(state_dir: &Path) -> Self {
        let path = Self::path(state_dir);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!("{} cannot be understood, and is forgotten: {error}", path.display());
                Self::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!("{} cannot be read: {error}", path.display());
                Self::default()
            }
        }
    }

    /// Notes a stop in which a backup was made.
    pub fn note_good(state_dir: &Path, at: Timestamp, ms: u64) {
        Self { last_stop: Some(Stop { at, ms }), ..Self::default() }.write(state_dir);
    }

    /// Notes a stop without a backup, once for each run.
    pub fn note_in_vain(state_dir: &Path, vain: StopWithoutBackup) {
        let before = Self::read(state_dir);
        if before.counted.as_ref() == Some(&vain.run) {
            return;
        }
        let failed_stop = vain.failed_stop_ms.map(|ms| Stop { at: vain.at, ms });
        Self {
            last_stop: before.last_stop,
            in_vain: before.in_vain.saturating_add(1),
            last_in_vain: Some(vain.at),
            why: Some(vain.why),
            failed_stop: failed_stop.or(before.failed_stop),
            counted: Some(vain.run),
        }
        .write(state_dir);
    }

    /// Returns the time until which no run of the timer stops the engine. A last stop in the future comes from a clock
    /// that was wrong, and does not count.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.last_in_vain.filter(|last| *last <= now)?;
        let step = usize::try_from(self.in_vain.checked_sub(1)?).unwrap_or(usize::MAX).min(BACKOFF.len() - 1);
        Some(last + SignedDuration::from_hours(BACKOFF[step])).filter(|until| now < *until)
    }

    /// Refuses a stop that a timer asks for too soon.
    pub fn require_distance(&self, now: Timestamp) -> Result<(), Failure> {
        let Some(until) = self.not_before(now) else { return Ok(()) };
        Err(Failure::refused(self.describe(until))
            .advice("find the cause; then run `swarmdr-agent backup` by hand, which tries at once"))
    }

    /// Describes why no run of the timer stops the engine before `until`.
    pub fn describe(&self, until: Timestamp) -> String {
        let times = if self.in_vain == 1 { "once".to_owned() } else { format!("{} times", self.in_vain) };
        let mut why = self.why.clone().unwrap_or_else(|| "the reason is not known".to_owned());
        if let Some(stop) = self.failed_stop.filter(|stop| Some(stop.at) == self.last_in_vain) {
            why = format!("{why}; the stop was given {} s", stop.ms / 1000);
        }
        format!(
            "the engine was stopped {times} without a backup being made ({why}): the timer does not stop it again before {until}"
        )
    }

    /// Refuses if a stop in vain could not be noted, since the next run of the timer would repeat it.
    pub fn require_writable(state_dir: &Path) -> Result<(), Failure> {
        Self::read(state_dir).put(state_dir).map_err(|cause| {
            Failure::failed(format!(
                "what a stop of the engine costs cannot be noted in {}; the engine was not touched",
                Self::path(state_dir).display()
            ))
            .because(cause)
        })
    }

    fn write(&self, state_dir: &Path) {
        if let Err(error) = self.put(state_dir) {
            tracing::error!("{} could not be written: {error}", Self::path(state_dir).display());
        }
    }

    fn put(&self, state_dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        whole_file::replace_json(&Self::path(state_dir), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 3600 * hours).expect("is a time")
    }

    fn vain(run: &str, at: Timestamp) -> StopWithoutBackup {
        let why = "it did not stop".to_owned();
        StopWithoutBackup { run: run.to_owned(), at, why, failed_stop_ms: Some(61_000) }
    }

    #[test]
    fn the_distance_grows_until_a_backup_is_made() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let state = dir.path().join("state");
        StopHistory::read(&state).require_distance(at(0)).expect("nothing was in vain");
        for (now, expected) in [(0, 1), (10, 4), (20, 12), (40, 24), (80, 24)] {
            // The run itself records it, and so does each later one that finds its note.
            for later in 0..3 {
                StopHistory::note_in_vain(&state, vain(&format!("run {now}"), at(now + later)));
            }
            let history = StopHistory::read(&state);
            assert_eq!(history.not_before(at(now)), Some(at(now + expected)));
            let refused = history.require_distance(at(now)).expect_err("too soon").to_string();
            assert!(refused.contains("it did not stop; the stop was given 61 s"), "{refused}");
            history.require_distance(at(now + expected)).expect("is far enough");
        }
        StopHistory::note_good(&state, at(90), 700);
        let after = StopHistory::read(&state);
        assert_eq!((after.in_vain, after.last_stop), (0, Some(Stop { at: at(90), ms: 700 })));
        after.require_distance(at(90)).expect("is forgotten");
    }

    #[test]
    fn a_history_that_cannot_be_written_is_refused_and_one_that_can_is_kept() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        StopHistory::note_in_vain(dir.path(), vain("x", at(0)));
        let noted = StopHistory::read(dir.path());
        StopHistory::require_writable(dir.path()).expect("can be noted");
        assert_eq!(StopHistory::read(dir.path()), noted);
        fs::remove_file(dir.path().join(FILE)).expect("removes");
        fs::create_dir(dir.path().join(FILE)).expect("is in the way");
        let refused = StopHistory::require_writable(dir.path()).expect_err("is in the way").to_string();
        assert!(refused.contains("the engine was not touched"), "{refused}");
    }

    #[test]
    fn a_clock_that_was_ahead_and_a_damaged_file_stop_nothing() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        StopHistory::note_in_vain(dir.path(), vain("x", at(1000)));
        StopHistory::read(dir.path()).require_distance(at(0)).expect("is in the future");
        fs::write(dir.path().join(FILE), "{").expect("writes");
        assert_eq!(StopHistory::read(dir.path()), StopHistory::default());
    }
}

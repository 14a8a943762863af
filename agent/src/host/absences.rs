//! What stopping the engine cost this host: how long the last stop took, and how often the engine was away for nothing.
//!
//! An engine that was away without a backup coming of it is not taken away again at the next look of the timer: what
//! was in the way is most likely still there. Only a person's own command goes on at once.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{fault::Fault, whole_file};

const FILE: &str = "absences.json";

/// Hours until the next try, after one absence in vain, two, and so on.
const DISTANCES: [i64; 4] = [1, 4, 12, 24];

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Absences {
    /// The engine's own time to stop, when it last did.
    pub last_stop: Option<Stop>,
    /// Since the last backup that came of one.
    pub in_vain: u32,
    pub last_in_vain: Option<Timestamp>,
    pub why: Option<String>,
    /// How long the engine was waited for in vain when it last did not stop.
    pub failed_stop: Option<Stop>,
    /// The run that was counted last: whoever looks at it once more counts nothing.
    pub counted: Option<String>,
}

/// A run that took the engine away and made no backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InVain {
    /// Of the backup that it was to make.
    pub run: String,
    /// When the engine was away.
    pub at: Timestamp,
    pub why: String,
    /// The engine did not stop in this time.
    pub failed_stop_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub at: Timestamp,
    pub ms: u64,
}

impl Absences {
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// What cannot be read is forgotten, and told.
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

    /// The engine stopped, and a backup came of it.
    pub fn note_good(state_dir: &Path, at: Timestamp, ms: u64) {
        Self { last_stop: Some(Stop { at, ms }), ..Self::default() }.write(state_dir);
    }

    /// The engine was away, and nothing came of it: one more time for each run.
    pub fn note_in_vain(state_dir: &Path, vain: InVain) {
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

    /// Until when no look of the timer takes the engine away. A time that lies ahead is a clock that was wrong.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.last_in_vain.filter(|last| *last <= now)?;
        let step = usize::try_from(self.in_vain.checked_sub(1)?).unwrap_or(usize::MAX).min(DISTANCES.len() - 1);
        Some(last + SignedDuration::from_hours(DISTANCES[step])).filter(|until| now < *until)
    }

    /// Refuses what a timer asks for too soon.
    pub fn require_distance(&self, now: Timestamp) -> Result<(), Fault> {
        let Some(until) = self.not_before(now) else { return Ok(()) };
        Err(Fault::refused(self.told(until))
            .advice("find out what was in the way; then run `swarmdr-agent backup` by hand, which tries at once"))
    }

    pub fn told(&self, until: Timestamp) -> String {
        let times = if self.in_vain == 1 { "once".to_owned() } else { format!("{} times", self.in_vain) };
        let mut why = self.why.clone().unwrap_or_else(|| "the reason is not known".to_owned());
        if let Some(stop) = self.failed_stop.filter(|stop| Some(stop.at) == self.last_in_vain) {
            why = format!("{why}; it was waited for {} s", stop.ms / 1000);
        }
        format!("the engine was away {times} and no backup came of it ({why}): no timer stops it again before {until}")
    }

    /// Refuses where an absence in vain could not be noted, since the next look of the timer would repeat it.
    pub fn require_writable(state_dir: &Path) -> Result<(), Fault> {
        Self::read(state_dir).put(state_dir).map_err(|cause| {
            Fault::failed(format!(
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

    fn vain(run: &str, at: Timestamp) -> InVain {
        let why = "it did not stop".to_owned();
        InVain { run: run.to_owned(), at, why, failed_stop_ms: Some(61_000) }
    }

    #[test]
    fn the_distance_grows_until_a_backup_comes_of_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let state = dir.path().join("state");
        Absences::read(&state).require_distance(at(0)).expect("nothing was in vain");
        for (now, expected) in [(0, 1), (10, 4), (20, 12), (40, 24), (80, 24)] {
            // The run itself, and every later one that finds its note.
            for look in 0..3 {
                Absences::note_in_vain(&state, vain(&format!("run {now}"), at(now + look)));
            }
            let absences = Absences::read(&state);
            assert_eq!(absences.not_before(at(now)), Some(at(now + expected)));
            let refused = absences.require_distance(at(now)).expect_err("too soon").to_string();
            assert!(refused.contains("it did not stop; it was waited for 61 s"), "{refused}");
            absences.require_distance(at(now + expected)).expect("is far enough");
        }
        Absences::note_good(&state, at(90), 700);
        let after = Absences::read(&state);
        assert_eq!((after.in_vain, after.last_stop), (0, Some(Stop { at: at(90), ms: 700 })));
        after.require_distance(at(90)).expect("is forgotten");
    }

    #[test]
    fn what_could_not_be_noted_is_refused_and_what_is_noted_stays() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        Absences::note_in_vain(dir.path(), vain("x", at(0)));
        let noted = Absences::read(dir.path());
        Absences::require_writable(dir.path()).expect("can be noted");
        assert_eq!(Absences::read(dir.path()), noted);
        fs::remove_file(dir.path().join(FILE)).expect("removes");
        fs::create_dir(dir.path().join(FILE)).expect("is in the way");
        let refused = Absences::require_writable(dir.path()).expect_err("is in the way").to_string();
        assert!(refused.contains("the engine was not touched"), "{refused}");
    }

    #[test]
    fn a_clock_that_was_ahead_and_a_damaged_file_stop_nothing() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        Absences::note_in_vain(dir.path(), vain("x", at(1000)));
        Absences::read(dir.path()).require_distance(at(0)).expect("lies ahead");
        fs::write(dir.path().join(FILE), "{").expect("writes");
        assert_eq!(Absences::read(dir.path()), Absences::default());
    }
}

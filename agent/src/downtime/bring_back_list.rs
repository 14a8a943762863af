//! The list of the units and containers that must be brought back: a file that exists from before a stop of the engine
//! until all of them are back.
//!
//! The next run finds it even after a kill.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::running_before::RunningBefore;
use crate::host::files::whole_file;

const FILE: &str = "found.json";

/// A list is of one boot: the next boot starts what it starts by itself.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BringBackList {
    pub boot: String,
    pub at: Timestamp,
    /// Path of the engine's socket, through which its containers are started.
    pub socket: PathBuf,
    pub found: RunningBefore,
    /// Dependents that were asked to start since then.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<String>,
}

impl BringBackList {
    pub fn new(socket: &Path, found: RunningBefore) -> Result<Self> {
        let (at, socket) = (Timestamp::now(), socket.to_owned());
        Ok(Self { boot: boot_id()?, at, socket, found, asked: BTreeSet::new() })
    }

    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Reads the list; `None` if there is none, or after a reboot. A list that cannot be read or parsed is an error
    /// that must not end a run, since the engine comes first; the run that brings the rest back reports it.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let kept: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} cannot be understood", path.display()))?;
        Ok(if kept.boot == boot_id()? { Some(kept) } else { None })
    }

    /// Reads the list as [`Self::read`] does; logs an error, for a caller that has something more urgent to do.
    pub fn read_or_warn(path: &Path) -> Option<Self> {
        Self::read(path).unwrap_or_else(|error| {
            tracing::warn!("what an earlier run found is not known: {error:#}");
            None
        })
    }

    /// Renames a list that cannot be read. Returns its new name.
    pub fn set_aside(path: &Path) -> Result<PathBuf> {
        let aside = path.with_extension("json.unreadable");
        fs::rename(path, &aside).with_context(|| format!("failed to rename {}", path.display()))?;
        Ok(aside)
    }

    /// Writes the list; it is durable when this returns. A list that has all of it already is not written again: the
    /// way back must not depend on a disk that may be full.
    pub fn write(&self, path: &Path) -> Result<()> {
        let covers = |there: Self| there.asked.is_empty() && there.found.covers(&self.found);
        if Self::read(path).ok().flatten().is_some_and(covers) {
            return Ok(());
        }
        self.replace(path)
    }

    fn replace(&self, path: &Path) -> Result<()> {
        let write = || -> io::Result<()> {
            if let Some(directory) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            }
            whole_file::replace_json(path, self)
        };
        write().with_context(|| format!("failed to write down what runs, in {}", path.display()))
    }

    /// Records the units that were asked to start again. Best effort: without the record a unit that systemd has
    /// unloaded since may be started once more.
    pub fn note_asked(path: &Path, asked: BTreeSet<String>) {
        let note = || match Self::read(path)? {
            Some(there) if there.asked != asked => Self { asked, ..there }.replace(path),
            _ => Ok(()),
        };
        if let Err(error) = note() {
            tracing::warn!("{error:#}");
        }
    }

    /// Reduces the list to what is not back yet, or removes it if nothing is left. Whatever is back is off the list,
    /// and an operator may stop it from here on.
    pub fn reduce(path: &Path, socket: &Path, owed: RunningBefore) -> Result<()> {
        if owed.is_empty() {
            return Self::remove(path);
        }
        match Self::read(path) {
            Ok(Some(there)) if there.found == owed => Ok(()),
            Ok(Some(there)) => Self { found: owed, ..there }.replace(path),
            _ => Self::new(socket, owed)?.replace(path),
        }
    }

    pub fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn boot_id() -> Result<String> {
    let id = fs::read_to_string(BOOT_ID).with_context(|| format!("failed to read {BOOT_ID}"))?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downtime::running_before::tests::found;

    #[test]
    fn the_list_is_found_until_it_is_removed_and_not_after_another_boot() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = BringBackList::path(&dir.path().join("state"));
        assert_eq!(BringBackList::read(&path).expect("reads"), None);
        let kept = BringBackList::new(Path::new("/run/docker.sock"), found()).expect("has a boot");
        kept.write(&path).expect("writes");
        assert_eq!(BringBackList::read(&path).expect("reads"), Some(kept.clone()));
        BringBackList { boot: "another".to_owned(), ..kept.clone() }.replace(&path).expect("writes");
        assert_eq!(BringBackList::read(&path).expect("reads"), None);
        BringBackList::remove(&path).expect("removes");
        BringBackList::remove(&path).expect("is gone already");
    }

    #[test]
    fn a_list_that_cannot_be_read_is_an_error_and_is_set_aside() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = BringBackList::path(dir.path());
        for spoil in [|path: &Path| fs::write(path, "{"), |path: &Path| fs::create_dir(path)] {
            spoil(&path).expect("spoils");
            BringBackList::read(&path).expect_err("cannot be read");
            assert_eq!(BringBackList::read_or_warn(&path), None);
            let aside = BringBackList::set_aside(&path).expect("renames");
            assert_eq!(aside, dir.path().join("found.json.unreadable"));
            assert_eq!(BringBackList::read(&path).expect("reads"), None);
            let _ = fs::remove_file(aside);
        }
    }

    #[test]
    fn the_same_list_is_not_written_twice() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = BringBackList::path(dir.path());
        let kept = BringBackList::new(Path::new("/run/docker.sock"), found()).expect("has a boot");
        kept.write(&path).expect("writes");
        let before = fs::metadata(&path).expect("is there").modified().expect("has a time");
        BringBackList { at: Timestamp::UNIX_EPOCH, ..kept }.write(&path).expect("has nothing to do");
        assert_eq!(fs::metadata(&path).expect("is there").modified().expect("has a time"), before);
    }

    #[test]
    fn what_is_back_leaves_the_list_and_the_rest_stays() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (path, socket) = (BringBackList::path(dir.path()), Path::new("/run/docker.sock"));
        BringBackList::reduce(&path, socket, RunningBefore::default()).expect("there is no list");
        let kept =
            BringBackList { at: Timestamp::UNIX_EPOCH, ..BringBackList::new(socket, found()).expect("has a boot") };
        kept.write(&path).expect("writes");
        let rest = RunningBefore { dependents: Vec::new(), ..found() };
        BringBackList::reduce(&path, socket, rest.clone()).expect("writes");
        let left = BringBackList::read(&path).expect("reads").expect("is there");
        assert_eq!((left.found, left.at), (rest.clone(), Timestamp::UNIX_EPOCH), "found when it was");
        BringBackList { found: RunningBefore { containers: Vec::new(), ..found() }, ..kept }
            .write(&path)
            .expect("owes more");
        assert_eq!(BringBackList::read(&path).expect("reads").expect("is there").found.dependents, ["app.service"]);
        BringBackList::reduce(&path, socket, RunningBefore { containers: Vec::new(), ..rest }).expect("removes");
        assert!(!path.exists(), "the engine alone is no debt");
        BringBackList::reduce(&path, socket, found()).expect("a list that was lost is written again");
        assert!(path.exists());
    }
}

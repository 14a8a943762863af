//! Puts a staged state directory where the engine reads it, and undoes that.
//!
//! Nothing is ever deleted: what was there is moved aside, what did not work is moved aside too.
//! Every change is one `rename(2)` within one directory followed by an `fsync` of it, so at any
//! instant the engine would find either the old state, none, or the whole new one.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::fault::Fault;

/// The names that one restore uses; all lie in the engine's data root, hence on one filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    data_root: PathBuf,
    id: String,
    /// Whether there was a state directory when this was made.
    had_state: bool,
    aside: PathBuf,
}

impl Placement {
    /// Refuses a data root that is not there, or a state directory that no rename can replace.
    pub fn new(data_root: &Path, id: &str) -> Result<Self> {
        let mut placement = Self {
            aside: free_name(data_root, "before", id),
            data_root: data_root.to_owned(),
            id: id.to_owned(),
            had_state: false,
        };
        let root = fs::metadata(data_root)
            .with_context(|| format!("failed to look at the engine's data root {}", data_root.display()))?;
        match fs::symlink_metadata(placement.state_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("failed to look at the state directory"),
            Ok(state) if state.is_dir() && state.dev() == root.dev() => placement.had_state = true,
            Ok(_) => {
                return Err(Fault::refused(format!(
                    "{} is a symbolic link or a mount point, so it cannot be replaced in one step",
                    placement.state_dir().display()
                ))
                .advice("make it a plain directory on the engine's data root for the restore")
                .into());
            }
        }
        Ok(placement)
    }

    /// The directory that the engine reads.
    pub fn state_dir(&self) -> PathBuf {
        self.data_root.join("swarm")
    }

    /// Scratch space of the agent beside it; the engine ignores it.
    pub fn work_dir(&self) -> PathBuf {
        work_dir(&self.data_root)
    }

    /// Where the new state is made ready.
    pub fn staging(&self) -> PathBuf {
        self.work_dir().join(format!("restore-{}", self.id))
    }

    /// Makes the staging directory, replacing what an earlier, killed run left of its own.
    pub fn make_staging(&self) -> Result<PathBuf> {
        let staging = self.staging();
        let make = || -> io::Result<()> {
            match fs::remove_dir_all(&staging) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&staging)
        };
        make().with_context(|| format!("failed to make the staging directory {}", staging.display()))?;
        Ok(staging)
    }

    /// Where the present state is moved to; `None` if there is none.
    pub fn aside(&self) -> Option<&Path> {
        self.had_state.then_some(self.aside.as_path())
    }

    /// Moves the present state aside.
    pub fn move_aside(&self) -> Result<()> {
        if self.had_state { self.rename(&self.state_dir(), &self.aside) } else { Ok(()) }
    }

    /// Gives the staged state its name. There must be no state directory.
    pub fn place(&self) -> Result<()> {
        self.rename(&self.staging(), &self.state_dir())
    }

    /// Undoes [`Placement::move_aside`] and [`Placement::place`], as far as they were done; the engine
    /// must be stopped. Answers where the state that did not work was kept. Safe to repeat.
    pub fn put_back(&self) -> Result<Option<PathBuf>> {
        let nothing_moved = self.had_state && !self.aside.exists();
        if nothing_moved {
            return Ok(None);
        }
        let mut kept = None;
        if self.state_dir().exists() {
            let failed = free_name(&self.data_root, "failed", &self.id);
            self.rename(&self.state_dir(), &failed)?;
            kept = Some(failed);
        }
        if self.had_state {
            self.rename(&self.aside, &self.state_dir())?;
        }
        Ok(kept)
    }

    /// Removes the staging directory, and the aside copy where it is an empty directory.
    pub fn tidy(&self) {
        let _ = fs::remove_dir_all(self.staging());
        // Both fail where something is left inside, which is what is wanted.
        let _ = fs::remove_dir(self.work_dir());
        let _ = fs::remove_dir(&self.aside);
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
            .map_err(io::Error::from)
            .and_then(|()| File::open(&self.data_root)?.sync_all())
            .with_context(|| format!("failed to rename {} to {}", from.display(), to.display()))
    }
}

/// The first of `swarm.WORD-ID`, `swarm.WORD-ID.2`, … that is not taken.
fn free_name(data_root: &Path, word: &str, id: &str) -> PathBuf {
    let base = format!("swarm.{word}-{id}");
    std::iter::once(data_root.join(&base))
        .chain((2..).map(|n| data_root.join(format!("{base}.{n}"))))
        .find(|path| !path.exists())
        .expect("an endless iterator has a free name")
}

/// The agent's scratch directory in a data root: on the same filesystem as the state, so that
/// extents can be shared and a rename is enough.
pub fn work_dir(data_root: &Path) -> PathBuf {
    data_root.join(".swarmdr")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_root(old: Option<&str>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a scratch directory");
        if let Some(old) = old {
            fs::create_dir(dir.path().join("swarm")).expect("creates");
            fs::write(dir.path().join("swarm").join(old), b"old").expect("writes");
        }
        dir
    }

    fn staged(dir: &Path) -> Placement {
        let placement = Placement::new(dir, "ID").expect("a data root");
        let staging = placement.make_staging().expect("makes it");
        fs::write(staging.join("new"), b"new").expect("writes");
        placement
    }

    #[test]
    fn placing_keeps_the_old_state_and_undoing_brings_it_back() {
        let dir = data_root(Some("old"));
        let placement = staged(dir.path());
        placement.move_aside().expect("moves");
        placement.place().expect("places");
        assert!(dir.path().join("swarm/new").exists());
        assert!(placement.aside().expect("had a state").join("old").exists());

        let failed = placement.put_back().expect("undoes").expect("was placed");
        assert!(dir.path().join("swarm/old").exists());
        assert!(failed.join("new").exists());
        assert_eq!(placement.put_back().expect("is safe to repeat"), None);
        assert!(dir.path().join("swarm/old").exists());
    }

    #[test]
    fn undoing_before_anything_moved_changes_nothing() {
        let dir = data_root(Some("old"));
        let placement = staged(dir.path());
        assert_eq!(placement.put_back().expect("undoes nothing"), None);
        assert!(dir.path().join("swarm/old").exists());
    }

    #[test]
    fn a_host_without_state_gets_none_back() {
        let dir = data_root(None);
        let placement = staged(dir.path());
        assert_eq!(placement.aside(), None);
        placement.move_aside().expect("moves nothing");
        placement.place().expect("places");
        placement.put_back().expect("undoes").expect("was placed");
        assert!(!dir.path().join("swarm").exists());
    }

    #[test]
    fn placing_never_replaces() {
        let dir = data_root(Some("old"));
        let placement = staged(dir.path());
        placement.place().expect_err("the old state is still there");
        assert!(placement.staging().join("new").exists());
    }

    #[test]
    fn an_aside_copy_is_never_replaced_by_the_next() {
        let dir = data_root(Some("old"));
        fs::create_dir(dir.path().join("swarm.before-ID")).expect("creates");
        let placement = staged(dir.path());
        assert_eq!(placement.aside(), Some(dir.path().join("swarm.before-ID.2").as_path()));
    }

    #[test]
    fn a_linked_state_directory_is_refused() {
        let dir = data_root(None);
        std::os::unix::fs::symlink("/elsewhere", dir.path().join("swarm")).expect("links");
        Placement::new(dir.path(), "ID").expect_err("cannot be replaced in one step");
    }
}

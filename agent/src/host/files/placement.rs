//! Puts a staged state directory where the engine reads it, and undoes that.
//!
//! Nothing is ever deleted: what was there is moved aside, and so is what did not work. Every change is one `rename(2)`
//! within one directory followed by an `fsync` of it, so at any instant the engine would find either the old state,
//! none, or the whole new one. It may start by itself at any such instant, as after a power cut: none is a host without
//! a swarm, and the new one lacks `docker-state.json`, without which an engine leaves the directory alone (moby
//! `daemon/cluster/cluster.go`, `Start`).

use std::{
    fs::{self, File},
    io, iter,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{discard, mounts};
use crate::outcome::failure::Failure;

/// Start of the names of staging directories.
const STAGING: &str = "restore-";

/// The paths that one restore uses; all are in the engine's data root, hence on one filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    data_root: PathBuf,
    id: String,
    /// True if there was a state directory when this was made.
    had_state: bool,
    aside: PathBuf,
}

impl Placement {
    /// The paths of a restore that an earlier run began; `aside` is the path in its journal.
    pub fn resume(data_root: &Path, id: &str, aside: Option<&Path>) -> Self {
        Self {
            had_state: aside.is_some(),
            aside: aside.map_or_else(|| free_name(data_root, "before", id), Path::to_owned),
            data_root: data_root.to_owned(),
            id: id.to_owned(),
        }
    }

    /// The paths of a new restore. Refuses a data root that is not there, or a state directory that no rename can
    /// replace.
    pub fn new(data_root: &Path, id: &str) -> Result<Self> {
        let mut placement = Self {
            aside: free_name(data_root, "before", id),
            data_root: data_root.to_owned(),
            id: id.to_owned(),
            had_state: false,
        };
        fs::metadata(data_root)
            .with_context(|| format!("failed to look at the engine's data root {}", data_root.display()))?;
        match fs::symlink_metadata(placement.state_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(placement),
            Err(error) => return Err(error).context("failed to look at the state directory"),
            Ok(state) if state.is_dir() => placement.had_state = true,
            Ok(_) => {
                return Err(Failure::refused(format!(
                    "{} is no directory (a symbolic link?), so it cannot be replaced in one step",
                    placement.state_dir().display()
                ))
                .advice("make it a plain directory on the engine's data root for the restore")
                .into());
            }
        }
        require_unmounted(&placement.state_dir())?;
        Ok(placement)
    }

    /// The directory that the engine reads.
    pub fn state_dir(&self) -> PathBuf {
        self.data_root.join("swarm")
    }

    /// The agent's scratch directory next to it, which the engine ignores.
    pub fn work_dir(&self) -> PathBuf {
        work_dir(&self.data_root)
    }

    /// The directory in which the new state is prepared.
    pub fn staging(&self) -> PathBuf {
        self.work_dir().join(format!("{STAGING}{}", self.id))
    }

    /// The mark of a plaintext key in the state (see [`key_file`](super::key_file)).
    pub fn open_key(&self) -> PathBuf {
        open_key_in(&self.data_root)
    }

    /// Makes the staging directory, after removing those of killed runs.
    pub fn make_staging(&self) -> Result<PathBuf> {
        let staging = self.staging();
        let make = || -> io::Result<()> {
            clear_staged(&self.work_dir(), None)?;
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&staging)
        };
        make().with_context(|| format!("failed to make the staging directory {}", staging.display()))?;
        Ok(staging)
    }

    /// Renames a directory on the same filesystem to the staging directory, after removing those of killed runs.
    pub fn adopt(&self, copy: &Path) -> Result<PathBuf> {
        let staging = self.make_staging()?;
        fs::remove_dir(&staging)
            .and_then(|()| fs::rename(copy, &staging))
            .with_context(|| format!("failed to stage the copy {} as {}", copy.display(), staging.display()))?;
        Ok(staging)
    }

    /// The path that the present state is moved to; `None` if there is no state.
    pub fn aside(&self) -> Option<&Path> {
        self.had_state.then_some(self.aside.as_path())
    }

    /// Moves the present state aside.
    pub fn move_aside(&self) -> Result<()> {
        if self.had_state { self.rename(&self.state_dir(), &self.aside) } else { Ok(()) }
    }

    /// Renames the staged state to the state directory. There must be none, except for the empty one that an engine
    /// makes when it starts without a swarm.
    pub fn place(&self) -> Result<()> {
        self.remove_if_empty();
        self.rename(&self.staging(), &self.state_dir())
    }

    /// True if anything but the staging directory has been changed so far.
    pub fn has_moved(&self) -> bool {
        if self.had_state { self.aside.exists() } else { !self.staging().exists() }
    }

    /// Removes the state directory if it is empty. The call fails, as intended, if it is not empty or not there.
    fn remove_if_empty(&self) {
        let _ = fs::remove_dir(self.state_dir());
    }

    /// Undoes [`Placement::move_aside`] and [`Placement::place`], as far as they were done; the engine must be stopped.
    /// Returns where the state that did not work is kept. Safe to repeat.
    pub fn put_back(&self) -> Result<Option<PathBuf>> {
        let nothing_moved = self.had_state && !self.aside.exists();
        if nothing_moved {
            return Ok(None);
        }
        let mut kept = None;
        self.remove_if_empty();
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
        if let Err(error) = discard::tree(&self.staging())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} could not be removed: {error}", self.staging().display());
        }
        // Both fail on a directory that is not empty, as intended.
        let _ = fs::remove_dir(self.work_dir());
        let _ = fs::remove_dir(&self.aside);
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
            .map_err(io::Error::from)
            .and_then(|()| {
                for dir in [to.parent(), from.parent()].into_iter().flatten() {
                    File::open(dir)?.sync_all()?;
                }
                Ok(())
            })
            .with_context(|| format!("failed to rename {} to {}", from.display(), to.display()))
    }
}

/// Refuses mount points. One cannot be renamed, and one inside would go aside with the old state and come back over the
/// new one.
fn require_unmounted(state_dir: &Path) -> Result<()> {
    let mounted = mounts::within(state_dir)?;
    if mounted.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "something is mounted at {}, so {} cannot be replaced in one step",
        mounts::list(&mounted),
        state_dir.display()
    ))
    .advice("stop the engine, unmount it (`umount`, and its line in /etc/fstab), and start the engine again")
    .advice("to keep the state on a disk of its own, mount that one as the engine's data root (`data-root` in /etc/docker/daemon.json)")
    .into())
}

/// The first of `swarm.WORD-ID`, `swarm.WORD-ID.2`, … that is not taken.
fn free_name(data_root: &Path, word: &str, id: &str) -> PathBuf {
    let base = format!("swarm.{word}-{id}");
    iter::once(data_root.join(&base))
        .chain((2..).map(|n| data_root.join(format!("{base}.{n}"))))
        .find(|path| !path.exists())
        .expect("an endless iterator has a free name")
}

/// Removes every staging directory in the agent's scratch directory, except that of the backup `except`. Returns their
/// paths. The host's lock must be held, so that no run uses one.
pub fn clear_staged(work_dir: &Path, except: Option<&str>) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(work_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut cleared = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_left = name.strip_prefix(STAGING).is_some_and(|id| Some(id) != except);
        if is_left && entry.file_type()?.is_dir() {
            discard::tree(&entry.path())?;
            cleared.push(entry.path());
        }
    }
    Ok(cleared)
}

/// The mark of a plaintext key that a restore put into the state of this data root.
pub fn open_key_in(data_root: &Path) -> PathBuf {
    work_dir(data_root).join("open-key")
}

/// The engine's data root, which holds this state directory.
pub fn data_root_of(state_dir: &Path) -> Result<&Path> {
    state_dir.parent().with_context(|| format!("the state directory {} has no parent", state_dir.display()))
}

/// The agent's scratch directory in a data root: on the same filesystem as the state, so that extents can be shared and
/// a rename is enough.
pub fn work_dir(data_root: &Path) -> PathBuf {
    data_root.join(".swarmdr")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

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
    fn a_later_run_finds_how_far_an_earlier_one_came_and_undoes_it() {
        for old in [Some("old"), None] {
            for steps in 0..3 {
                let dir = data_root(old);
                let placement = staged(dir.path());
                if steps > 0 {
                    placement.move_aside().expect("moves");
                    // An engine that starts in between does this.
                    fs::create_dir_all(dir.path().join("swarm")).expect("creates");
                }
                if steps > 1 {
                    placement.place().expect("replaces the empty directory");
                }
                let later = Placement::resume(dir.path(), "ID", placement.aside());
                assert_eq!(later, placement);
                let moved = steps > usize::from(old.is_none());
                assert_eq!(later.has_moved(), moved, "{old:?} after {steps}");
                let failed = later.put_back().expect("undoes");
                assert_eq!(failed.is_some(), steps > 1, "{old:?} after {steps}");
                assert_eq!(dir.path().join("swarm/old").exists(), old.is_some());
                assert_eq!(dir.path().join("swarm").exists(), old.is_some());
                Placement::new(dir.path(), "OTHER").expect("a data root").make_staging().expect("clears");
                assert!(!placement.staging().exists());
            }
        }
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
        symlink("/elsewhere", dir.path().join("swarm")).expect("links");
        Placement::new(dir.path(), "ID").expect_err("cannot be replaced in one step");
    }
}

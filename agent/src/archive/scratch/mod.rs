//! Scratch space of a run that looks into an archive: for the unpacked state, which is in clear with its keys, and for
//! the fetched archive.
//!
//! A place is one directory with mode 0700. In it each run has a directory of its own, and holds a lock on it that ends
//! with the process, however it ends. Each run first removes the directories that nobody has locked, so what a killed
//! run left is removed by the next one.
//!
//! Root's places are `/run/swarmdr/scratch` and `scratch` in the state directory. Other users' places are below
//! `XDG_RUNTIME_DIR`, and below `TMPDIR` or `/var/tmp`. The first of each is usually in memory, from where
//! nothing can be recovered. Large data goes to disk: a filesystem in memory counts against the memory of the
//! unit that writes there.
//!
//! What a run writes in clear elsewhere it notes in a place ([`note`]), so that it is swept with the place.

pub mod note;
pub mod unfinished;

use std::{
    env,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{TMPFS_MAGIC, fstatfs},
    unistd::Uid,
};

use crate::{
    config::Config,
    host::{
        files::{discard, space},
        random,
    },
    outcome::failure::Failure,
};

/// Most bytes that a run may put into a filesystem in memory: units of the agent may use 512 MB of memory.
const IN_MEMORY: u64 = 64 * 1024 * 1024;
/// Prefix of the names of runs' directories.
const RUN: &str = "run-";

/// Directory of one run. Dropping it overwrites the keys in it and removes it.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    _held: Flock<File>,
}

impl Scratch {
    /// Makes the directory in the first place where `needed` bytes fit, after removing what killed runs left in clear.
    pub fn make(config: &Config, needed: u64) -> Result<Self> {
        Self::make_in(&places(&config.state_dir), Uid::effective(), needed)
    }

    fn make_in(places: &[PathBuf], owner: Uid, needed: u64) -> Result<Self> {
        let mut reasons = Vec::new();
        for path in places {
            match Place::make(path, owner).and_then(|place| place.enter(needed)) {
                Ok(scratch) => return Ok(scratch),
                Err(error) => reasons.push(format!("{}: {error:#}", path.display())),
            }
        }
        Err(Failure::failed(format!("there is no place to unpack to: {}", reasons.join("; ")))
            .advice("free some space there; the second place of root is below `state_dir`, of others below TMPDIR")
            .into())
    }

    /// Returns the directory, for files of the run.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Makes a new, empty directory to unpack a state into. Can be called once per run.
    pub fn state(&self) -> Result<PathBuf> {
        let dir = self.dir.join("state");
        DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("failed to make the directory {}", dir.display()))?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = discard::tree(&self.dir) {
            tracing::warn!("{} could not be removed, the next run will: {error}", self.dir.display());
        }
    }
}

/// Removes what killed runs left in clear. Creates nothing, and only logs failures: this is not the purpose of the run.
pub fn sweep(config: &Config) {
    for path in places(&config.state_dir) {
        let Ok(place) = Place::open(&path, Uid::effective()) else { continue };
        // A run that holds this lock sweeps by itself.
        if let Ok(_alone) = place.lock(FlockArg::LockExclusiveNonblock) {
            place.sweep();
        }
    }
}

/// Returns the places in the order in which they are tried.
fn places(state_dir: &Path) -> Vec<PathBuf> {
    let user = Uid::effective();
    if user.is_root() {
        return vec!["/run/swarmdr/scratch".into(), state_dir.join("scratch")];
    }
    let named = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let large = named("TMPDIR").unwrap_or_else(|| "/var/tmp".into()).join(format!("swarmdr-{user}"));
    named("XDG_RUNTIME_DIR").map(|dir| dir.join("swarmdr")).into_iter().chain([large]).collect()
}

/// A directory that belongs to this user and is closed to others.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    file: File,
}

impl Place {
    fn make(path: &Path, owner: Uid) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => Self::open(path, owner),
        }
    }

    /// Opens a place and checks its owner: in a directory that is writable for all, another user may have made it, or a
    /// link with its name.
    fn open(path: &Path, owner: Uid) -> Result<Self> {
        let file = discard::open_directory(path)?;
        let metadata = file.metadata()?;
        ensure!(metadata.uid() == owner.as_raw(), "it belongs to user {}, not to this one", metadata.uid());
        if metadata.mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o700))?;
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Locks the place. The lock is held while directories of runs are made and swept, so that none is taken for
    /// abandoned before its run has locked it.
    fn lock(&self, how: FlockArg) -> Result<Flock<File>> {
        let mut file = discard::open_directory(&self.path)?;
        loop {
            match Flock::lock(file, how) {
                Ok(locked) => return Ok(locked),
                Err((again, Errno::EINTR)) => file = again,
                Err((_, errno)) => return Err(io::Error::from(errno).into()),
            }
        }
    }

    fn enter(&self, needed: u64) -> Result<Scratch> {
        let _alone = self.lock(FlockArg::LockExclusive)?;
        self.sweep();
        if fstatfs(&self.file)?.filesystem_type() == TMPFS_MAGIC && needed > IN_MEMORY {
            bail!("{} are too much to keep in memory", space::human_bytes(needed));
        }
        space::require(&self.path, needed, "what is looked at")?;
        let tag = data_encoding::HEXLOWER.encode(&random::tag()?);
        let dir = self.path.join(format!("{RUN}{}-{tag}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir)?;
        let held = Flock::lock(discard::open_directory(&dir)?, FlockArg::LockExclusiveNonblock);
        Ok(Scratch { dir, _held: held.map_err(|(_, errno)| io::Error::from(errno))? })
    }

    /// Removes the directories that no run has locked, also those that are noted. The caller has locked the place.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if name.to_string_lossy().starts_with(note::PREFIX) {
                note::sweep(&path);
            }
            if !name.to_string_lossy().starts_with(RUN) {
                continue;
            }
            let Ok(run) = discard::open_directory(&path) else { continue };
            let Ok(_abandoned) = Flock::lock(run, FlockArg::LockExclusiveNonblock) else { continue };
            match discard::tree(&path) {
                Ok(()) => tracing::info!("removed {}, which an earlier run left in clear", path.display()),
                Err(error) => tracing::warn!("{} of an earlier run could not be removed: {error}", path.display()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn at(place: &Path) -> Scratch {
        Scratch::make_in(&[place.to_owned()], Uid::effective(), 1).expect("there is room")
    }

    fn runs(place: &Path) -> usize {
        fs::read_dir(place).expect("lists").count()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").mode() & 0o7777
    }

    #[test]
    fn nobody_else_can_look_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("new/place");
        let scratch = at(&place);
        let state = scratch.state().expect("is made");
        fs::write(state.join("swarm-node.key"), "a key").expect("writes");
        assert_eq!([&place, &scratch.dir, &state].map(|path| mode(path)), [0o700; 3]);
        drop(scratch);
        assert_eq!(runs(&place), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_swept_and_what_a_living_one_holds_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, another) = (at(dir.path()), at(dir.path()));
        fs::write(one.path().join("key"), "in use").expect("writes");
        let dead = dir.path().join("run-1-00000000");
        fs::create_dir_all(dead.join("state/certificates")).expect("makes");
        fs::write(dead.join("state/certificates/swarm-node.key"), "a key").expect("writes");
        fs::write(dir.path().join("not-a-run"), "somebody's").expect("writes");
        let third = at(dir.path());
        assert!(!dead.exists());
        assert!([&one, &another, &third].iter().all(|run| run.path().is_dir()));
        assert_eq!(fs::read_to_string(one.path().join("key")).expect("is kept"), "in use");
        assert!(dir.path().join("not-a-run").exists());
    }

    #[test]
    fn a_place_of_somebody_else_and_a_link_are_refused_and_an_open_one_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let stranger = Uid::from_raw(Uid::effective().as_raw() + 1);
        let place = dir.path().join("place");
        fs::create_dir(&place).expect("makes");
        fs::set_permissions(&place, Permissions::from_mode(0o777)).expect("opens");
        let error = Scratch::make_in(std::slice::from_ref(&place), stranger, 1).expect_err("is another's");
        assert!(format!("{error:#}").contains("belongs to user"), "{error:#}");
        assert_eq!(mode(&place), 0o777, "it is not touched");
        let link = dir.path().join("link");
        symlink(&place, &link).expect("links");
        Scratch::make_in(&[link], Uid::effective(), 1).expect_err("is a link");
        drop(at(&place));
        assert_eq!(mode(&place), 0o700);
    }

    #[test]
    fn what_is_large_goes_to_the_next_place() {
        let memory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        let disk = tempfile::tempdir_in("/var/tmp").expect("a directory on a disk");
        let places = [memory.path().join("place"), disk.path().join("place")];
        let large = Scratch::make_in(&places, Uid::effective(), IN_MEMORY + 1).expect("the disk has room");
        assert!(large.path().starts_with(disk.path()));
        let small = Scratch::make_in(&places, Uid::effective(), 1).expect("there is room");
        assert!(small.path().starts_with(memory.path()));
        let error = Scratch::make_in(&places, Uid::effective(), u64::MAX / 2).expect_err("nothing is so large");
        assert!(format!("{error:#}").contains("not enough space"), "{error:#}");
    }
}

//! A note of a directory in clear that is not in a place: an export is written beside where it is to be.
//!
//! A note is a file in a place. It is on the disk before the directory is made, and its run holds a lock on it. So a
//! run that sweeps the place finds what a killed one left, wherever that is.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use anyhow::Result;
use data_encoding::HEXLOWER;
use nix::{
    fcntl::{Flock, FlockArg, OFlag},
    unistd::Uid,
};

use super::{
    Place, places,
    unfinished::{self, Found},
};
use crate::{
    config::Config,
    host::{files::discard, random},
    outcome::failure::Failure,
};

/// Prefix of the names of notes.
pub const PREFIX: &str = "note-";
/// Most bytes of a note, which is a path and a number.
const LIMIT: u64 = 16 * 1024;

/// Where directories are noted.
#[derive(Debug)]
pub struct Notes(Vec<PathBuf>);

impl Notes {
    /// Returns the places of a host. Those on a disk are first: a directory outlives a restart, and so must its note.
    pub fn of(config: &Config) -> Self {
        Self(places(&config.state_dir).into_iter().rev().collect())
    }

    #[cfg(test)]
    pub fn at(place: &Path) -> Self {
        Self(vec![place.to_owned()])
    }

    /// Notes a directory that is about to be made.
    pub fn note(&self, parent: &File, path: &Path) -> Result<Note> {
        let mut reasons = Vec::new();
        for place in &self.0 {
            match Note::make(place, parent, path) {
                Ok(note) => return Ok(note),
                Err(error) => reasons.push(format!("{}: {error:#}", place.display())),
            }
        }
        let what = "nothing is exported, since it could not be noted where that is, for a later run to remove what this \
                    one leaves if it is killed";
        Err(Failure::failed(format!("{what}: {}", reasons.join("; "))).advice("free some space there").into())
    }
}

/// A note whose run goes on. It stays until [`Note::forget`]: a note of nothing does no harm.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    _held: Flock<File>,
}

impl Note {
    fn make(place: &Path, parent: &File, directory: &Path) -> Result<Self> {
        let place = Place::make(place, Uid::effective())?;
        let _alone = place.lock(FlockArg::LockExclusive)?;
        let path = place.path.join(format!("{PREFIX}{}", HEXLOWER.encode(&random::tag()?)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut held =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| io::Error::from(errno))?;
        let text = [parent.metadata()?.ino().to_string().as_bytes(), b"\n", directory.as_os_str().as_bytes()].concat();
        let written = held.write_all(&text).and_then(|()| held.sync_all()).and_then(|()| place.file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error.into());
        }
        Ok(Self { path, _held: held })
    }

    /// Removes the note: the directory is removed, or is no longer an unfinished one.
    pub fn forget(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("{} could not be removed, the next run will: {error}", self.path.display());
        }
    }
}

/// Removes what the run of a note left, if it is dead, and then the note. The caller has locked the place.
pub fn sweep(path: &Path) {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return };
    let Ok(held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return };
    let mut bytes = Vec::new();
    if (&*held).take(LIMIT).read_to_end(&mut bytes).is_err() {
        return;
    }
    // The run of half a note was killed before it made the directory.
    let is_done = parse(&bytes).is_none_or(|(inode, directory)| is_removed(inode, &directory));
    if is_done && let Err(error) = fs::remove_file(path) {
        tracing::warn!("the note {} could not be removed: {error}", path.display());
    }
}

/// Returns the inode of the parent, and the path of the directory.
fn parse(bytes: &[u8]) -> Option<(u64, PathBuf)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let inode = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    let path = PathBuf::from(OsString::from_vec(bytes[end + 1..].to_vec()));
    path.is_absolute().then_some((inode, path))
}

/// Removes the directory if it is there, and returns whether it is gone. If its parent is another one than it was, as
/// in a unit that does not see `/root`, or while a disk is not mounted, nothing is known, and the note stays.
fn is_removed(inode: u64, directory: &Path) -> bool {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else { return true };
    let Ok(parent) = discard::open_directory(parent) else { return false };
    if parent.metadata().is_ok_and(|metadata| metadata.ino() != inode) {
        return false;
    }
    match unfinished::remove_left(&parent, name) {
        Ok(Found::Nothing) => true,
        Ok(Found::InUse) => false,
        Ok(Found::Left) => {
            tracing::info!("removed {}, which a killed export left in clear", directory.display());
            true
        }
        Err(error) => {
            let what = format!("{}, which a killed export left in clear, was not removed", directory.display());
            tracing::warn!("{what}: {error:#}; look at it, and remove it by hand");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{DirBuilderExt, PermissionsExt},
    };

    use super::*;

    /// A place, and a directory beside which an export is to be.
    struct Host {
        place: tempfile::TempDir,
        parent: tempfile::TempDir,
    }

    impl Host {
        fn new() -> Self {
            let dir = || tempfile::tempdir().expect("a directory");
            Self { place: dir(), parent: dir() }
        }

        fn left(&self) -> PathBuf {
            self.parent.path().join(".swarmdr-export-0123abcd")
        }

        fn note(&self) -> Note {
            let parent = discard::open_directory(self.parent.path()).expect("opens");
            Notes::at(self.place.path()).note(&parent, &self.left()).expect("is noted")
        }

        fn write(&self) {
            fs::DirBuilder::new().mode(0o700).create(self.left()).expect("makes");
            fs::write(self.left().join("key"), "in clear").expect("writes");
        }

        fn sweep(&self) {
            Place::open(self.place.path(), Uid::effective()).expect("opens").sweep();
        }

        fn notes(&self) -> usize {
            fs::read_dir(self.place.path()).expect("lists").count()
        }
    }

    #[test]
    fn what_a_dead_run_noted_is_swept_and_what_a_living_one_did_is_not() {
        let host = Host::new();
        let note = host.note();
        assert_eq!(fs::metadata(&note.path).expect("is there").mode() & 0o777, 0o600);
        host.write();
        host.sweep();
        assert!(host.left().join("key").exists() && host.notes() == 1, "its run goes on");
        drop(note);
        host.sweep();
        assert!(!host.left().exists() && host.notes() == 0);
        drop(host.note());
        host.sweep();
        assert_eq!(host.notes(), 0, "a run that was killed before it made anything");
        host.note().forget();
        assert_eq!(host.notes(), 0);
    }

    #[test]
    fn what_is_not_as_it_was_made_is_kept_with_its_note() {
        let host = Host::new();
        drop(host.note());
        host.write();
        fs::set_permissions(host.left(), Permissions::from_mode(0o755)).expect("opens");
        host.sweep();
        assert!(host.left().join("key").exists() && host.notes() == 1);
        fs::set_permissions(host.left(), Permissions::from_mode(0o700)).expect("closes");
        let moved = host.parent.path().with_extension("moved");
        fs::rename(host.parent.path(), &moved).expect("moves");
        host.sweep();
        fs::create_dir(host.parent.path()).expect("makes another one");
        host.sweep();
        assert_eq!(host.notes(), 1, "as while a disk is not mounted");
        fs::remove_dir(host.parent.path()).expect("removes");
        fs::rename(&moved, host.parent.path()).expect("moves back");
        host.sweep();
        assert!(!host.left().exists() && host.notes() == 0);
    }

    #[test]
    fn a_note_leads_to_nothing_but_an_unfinished_export() {
        let host = Host::new();
        let precious = host.parent.path().join("precious");
        fs::DirBuilder::new().mode(0o700).create(&precious).expect("makes");
        let inode = fs::metadata(host.parent.path()).expect("is there").ino();
        let path = host.place.path().join("note-00000000");
        fs::write(&path, format!("{inode}\n{}", precious.display())).expect("writes");
        host.sweep();
        assert!(precious.exists() && path.exists());
        for half in
            [String::new(), inode.to_string(), format!("{inode}\nprecious"), format!("x\n{}", precious.display())]
        {
            fs::write(&path, &half).expect("writes");
            host.sweep();
            assert!(precious.exists() && !path.exists(), "{half}");
        }
    }
}

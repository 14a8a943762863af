//! A directory outside of the places, in which a run writes something in clear until it is complete: an export.
//!
//! Its name, its owner and its mode say what it is, and the lock that its run holds on it says that it is in use.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use nix::unistd::Uid;
use rustix::fs::{Mode, OFlags};

use crate::host::{files::discard, random};

const PREFIX: &str = ".swarmdr-export-";
/// Length of what follows the prefix.
const TAG: usize = 8;

/// What was found in the place of a directory that a run may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is removed now.
    Left,
    Nothing,
    /// A run is writing it.
    InUse,
}

/// Returns a name that no other directory has.
pub fn new_name() -> Result<OsString> {
    Ok(format!("{PREFIX}{}", HEXLOWER.encode(&random::tag()?)).into())
}

/// Whether this is such a name, and not just one that begins like it.
pub fn is_name(name: &OsStr) -> bool {
    let tag = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    tag.is_some_and(|tag| tag.len() == TAG && tag.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// Overwrites and removes a directory that a dead run left. Anything that a run of this user cannot have left is an
/// error, and is not touched.
pub fn remove_left(parent: &File, name: &OsStr) -> Result<Found> {
    ensure!(is_name(name), "its name is not that of an unfinished export");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let left = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(left) => File::from(left),
        Err(rustix::io::Errno::NOENT) => return Ok(Found::Nothing),
        Err(error) => return Err(io::Error::from(error)).context("it cannot be opened"),
    };
    let (own, metadata) = (Uid::effective().as_raw(), left.metadata()?);
    ensure!(metadata.uid() == own, "it belongs to user {}", metadata.uid());
    ensure!(metadata.mode() & 0o777 == 0o700, "its mode was changed");
    if left.try_lock().is_err() {
        return Ok(Found::InUse);
    }
    let around = parent.metadata()?;
    let is_shared = around.mode() & 0o022 != 0 && around.mode() & 0o1000 == 0;
    ensure!([own, 0].contains(&around.uid()) && !is_shared, "others could put something else in its place meanwhile");
    // By way of the open parent, whatever its path leads to by now.
    discard::tree(&PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name))?;
    Ok(Found::Left)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
    };

    use super::*;

    const NAME: &str = ".swarmdr-export-0123abcd";

    fn make(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir(&path).expect("makes");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("closes");
        fs::create_dir(path.join("secrets")).expect("makes");
        fs::write(path.join("secrets/key"), "in clear").expect("writes");
        path
    }

    fn remove(dir: &Path, name: &str) -> Result<Found> {
        remove_left(&discard::open_directory(dir).expect("opens"), OsStr::new(name))
    }

    #[test]
    fn only_whole_names_are_names() {
        assert!(is_name(OsStr::new(NAME)) && is_name(&new_name().expect("is random")));
        let wrong =
            ["", ".swarmdr-export-", ".swarmdr-export-mine", ".swarmdr-export-0123abcd5", ".swarmdr-export-0123ABCD"];
        assert!(!wrong.into_iter().any(|name| is_name(OsStr::new(name))));
    }

    #[test]
    fn what_a_dead_run_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let left = make(dir.path(), NAME);
        let lock = File::open(&left).expect("opens");
        lock.lock().expect("locks");
        assert_eq!(remove(dir.path(), NAME).expect("is looked at"), Found::InUse);
        drop(lock);
        for (path, mode) in [(left.as_path(), 0o755), (dir.path(), 0o777)] {
            let before = fs::metadata(path).expect("is there").permissions();
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("opens");
            remove(dir.path(), NAME).expect_err("is not as it was made");
            fs::set_permissions(path, before).expect("closes");
        }
        assert_eq!(fs::read_to_string(left.join("secrets/key")).expect("is kept"), "in clear");
        assert_eq!(remove(dir.path(), NAME).expect("is removed"), Found::Left);
        assert!(!left.exists());
        assert_eq!(remove(dir.path(), NAME).expect("is not there"), Found::Nothing);
        let own = make(dir.path(), ".swarmdr-export-mine");
        remove(dir.path(), ".swarmdr-export-mine").expect_err("has another name");
        symlink(&own, &left).expect("links");
        remove(dir.path(), NAME).expect_err("is a link");
        assert!(own.join("secrets/key").exists());
    }
}

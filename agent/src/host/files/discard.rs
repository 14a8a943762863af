//! Removes directories that hold an unencrypted state.
//!
//! On a disk, small files are overwritten before they are removed. The keys of a state are such files, and without them
//! its raft log and its snapshots cannot be decrypted.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use nix::{
    fcntl::OFlag,
    sys::statfs::{TMPFS_MAGIC, fstatfs},
};

use super::key_file;

/// The size of the largest file that is overwritten. Larger ones are raft logs and snapshots, which are encrypted under
/// a key in a small one.
const OVERWRITTEN: u64 = 64 * 1024;

/// Overwrites keys, then removes the directory. A file with another hard link is used elsewhere, and keeps its content.
/// One that cannot be overwritten, as on a full disk that copies on write, is an error, but everything is removed.
pub fn tree(dir: &Path) -> io::Result<()> {
    let overwritten = match fstatfs(open_directory(dir)?)?.filesystem_type() {
        TMPFS_MAGIC => Ok(()),
        _ => overwrite_small_files(dir),
    };
    fs::remove_dir_all(dir).and(overwritten)
}

/// Overwrites all, and returns the first error.
fn overwrite_small_files(dir: &Path) -> io::Result<()> {
    let mut outcome = Ok(());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let overwritten = entry.metadata().and_then(|metadata| match metadata.is_dir() {
            true => overwrite_small_files(&path),
            false => overwrite_if_small(&metadata, &path),
        });
        outcome = outcome.and(overwritten);
    }
    outcome
}

fn overwrite_if_small(metadata: &fs::Metadata, path: &Path) -> io::Result<()> {
    if !metadata.is_file() || metadata.nlink() != 1 || metadata.len() > OVERWRITTEN {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    key_file::overwrite(&OpenOptions::new().write(true).open(path)?)
}

/// Opens the directory itself: a symbolic link in its place is an error.
pub fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits()).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn small_files_are_overwritten_even_if_they_are_read_only() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory on a disk");
        let key = dir.path().join("state/key");
        fs::create_dir(dir.path().join("state")).expect("makes");
        fs::write(&key, "a key").expect("writes");
        fs::set_permissions(&key, Permissions::from_mode(0o400)).expect("closes");
        symlink("/nowhere", dir.path().join("link")).expect("links");
        let held = File::open(&key).expect("opens");
        overwrite_small_files(dir.path()).expect("overwrites");
        assert_eq!(io::read_to_string(&held).expect("reads"), "\0".repeat(5));
    }
}

//! Paths of the original and of the copy: listed, opened and removed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;

/// Opens a file without updating its access time, which would be a write; only its owner may ask for that.
pub fn open_source(path: &Path) -> io::Result<File> {
    match OpenOptions::new().read(true).custom_flags(OFlag::O_NOATIME.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        opened => opened,
    }
}

pub fn open_target(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

pub fn remove_any(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        // ENOTDIR is a path below a directory that has become a file.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
    };
    removed.with_context(|| format!("failed to remove {}", path.display()))
}

pub fn list(root: &Path, directory: &Path) -> Result<Vec<PathBuf>> {
    let absolute = root.join(directory);
    let names = fs::read_dir(&absolute)
        .and_then(|entries| entries.map(|entry| Ok(directory.join(entry?.file_name()))).collect::<io::Result<Vec<_>>>())
        .with_context(|| format!("failed to list {}", absolute.display()))?;
    Ok(names)
}

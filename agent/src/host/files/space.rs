//! Free space, checked before anything is written.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;

use crate::outcome::failure::Failure;

/// Bytes that must stay free: an engine whose disk is full corrupts its raft log (moby/moby#46390, swarmkit#2959).
const MARGIN: u64 = 64 * 1024 * 1024;

/// Bytes that an unprivileged writer could still write to the filesystem of `path`.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = statvfs(path).with_context(|| format!("failed to ask for the free space at {}", path.display()))?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

/// Bytes that the files below `directory` occupy on disk. A running engine may add and remove files meanwhile, so a
/// file that vanishes is skipped.
pub fn allocated_bytes(directory: &Path) -> Result<u64> {
    let mut total = 0;
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("failed to list {}", directory.display()))?,
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => pending.push(entry.path()),
                Ok(metadata) => total += metadata.blocks() * 512,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("failed to look at {}", entry.path().display()));
                }
            }
        }
    }
    Ok(total)
}

/// The path, or the nearest directory above it where it is not there yet.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

/// True if both paths are on one filesystem; one that is not there yet counts as where it would be made.
pub fn same_filesystem(a: &Path, b: &Path) -> Result<bool> {
    let device = |path: &Path| {
        fs::metadata(existing(path)).map(|it| it.dev()).with_context(|| format!("failed to look at {}", path.display()))
    };
    Ok(device(a)? == device(b)?)
}

/// Refuses if writing `needed` bytes at `path` would leave less than the margin.
pub fn require(path: &Path, needed: u64, what: &str) -> Result<()> {
    let free = free_bytes(existing(path))?;
    if free >= needed.saturating_add(MARGIN) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "not enough space for {what} at {}: {} needed with a margin of {}, {} free",
        path.display(),
        human_bytes(needed),
        human_bytes(MARGIN),
        human_bytes(free)
    ))
    .advice(format!("free some space on the filesystem of {}", path.display()))
    .into())
}

/// A size with three figures, as `1.5 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

//! The content of a copy.

use std::{fs::Metadata, os::unix::fs::MetadataExt, path::PathBuf};

/// A path that the copy holds, relative to its root, with the attributes of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedEntry {
    pub path: PathBuf,
    pub is_dir: bool,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Apparent size in bytes; 0 for a directory.
    pub size: u64,
}

/// A path that was excluded, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: PathBuf,
    pub why: &'static str,
}

/// The content of a copy after a pass, sorted by path, parents before children; the first entry is the root itself,
/// with an empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    pub entries: Vec<CopiedEntry>,
    pub left_out: Vec<LeftOut>,
    /// Bytes of data that this pass copied, holes not counted.
    pub bytes: u64,
}

impl CopiedEntry {
    pub(super) fn of(path: PathBuf, metadata: &Metadata) -> Self {
        Self {
            path,
            is_dir: metadata.is_dir(),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime(),
            size: if metadata.is_dir() { 0 } else { metadata.size() },
        }
    }
}

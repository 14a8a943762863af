//! Disk space that is reserved next to the journal: forming a swarm may fill the disk, and undoing it needs some.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::{fs::FallocateFlags, io::Errno};

/// Space reserved for journal writes beyond twice the record, in bytes: for the file's name, and for filesystems that
/// allocate in large units.
const NOTES: u64 = 256 * 1024;

/// Space reserved for the start of the old engine, in bytes: it preallocates a log segment (64 MB, etcd
/// `wal/file_pipeline.go`) and writes a little more. With less it comes up without its swarm
/// (seen on 26.1.5 with none and with 16 MiB: `write …/worker/tasks.db: no space left on device`).
pub(crate) const START: u64 = 80 * 1024 * 1024;

const NOTES_FILE: &str = "restore.reserve-notes";
const START_FILE: &str = "restore.reserve-start";

/// Disk space that is kept for later, in files next to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::restore) enum Reserve {
    /// For journal writes on a disk that is full.
    Notes,
    /// For the engine that is started when the restore is undone.
    Start,
}

impl Reserve {
    pub(super) const ALL: [Self; 2] = [Self::Notes, Self::Start];

    /// Size for a journal whose record takes this many bytes.
    fn size(self, record: u64) -> u64 {
        match self {
            Self::Notes => 2 * record + NOTES,
            Self::Start => START,
        }
    }

    pub(super) fn path_in(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Notes => NOTES_FILE,
            Self::Start => START_FILE,
        })
    }

    /// Reserves the space, for a record of this many bytes.
    pub(super) fn make(self, dir: &Path, record: u64) -> Result<()> {
        let (path, size) = (self.path_in(dir), self.size(record));
        let allocate = || -> Result<()> {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
                // Filesystems that copy on write cannot promise space: ZFS, some network ones.
                Err(Errno::OPNOTSUPP) => {}
                allocated => allocated?,
            }
            Ok(file.sync_all()?)
        };
        allocate().with_context(|| format!("failed to reserve {size} bytes in {}", path.display()))
    }

    /// Frees the space; false if there is none left.
    pub(super) fn release(self, dir: &Path) -> bool {
        fs::remove_file(self.path_in(dir)).is_ok()
    }
}

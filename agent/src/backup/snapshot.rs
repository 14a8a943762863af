//! The copy of the state directory on this host's disk: taken while the engine is away, gone when it is packed.

use std::{
    fs::{self, DirBuilder, FileType},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    host::copy::{Copied, copy_tree},
    shutdown::Shutdown,
    swarm::state_dir::{FileKind, Reason, Verdict, classify},
};

/// A snapshot directory; removed when dropped.
#[derive(Debug)]
pub struct Snapshot {
    dir: PathBuf,
    pub copied: Copied,
}

impl Snapshot {
    /// Copies `state_dir` into the new directory `dir`. What no restore needs is left out and listed.
    pub fn take(state_dir: &Path, dir: &Path, shutdown: &Shutdown) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("failed to make the snapshot directory {}", dir.display()))?;
        let mut snapshot = Self { dir: dir.to_owned(), copied: Copied::default() };
        snapshot.copied = copy_tree(state_dir, dir, &leave_out, shutdown)?;
        Ok(snapshot)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "a snapshot could not be removed; remove it by hand");
        }
        // Fails while something else is in it, which is what is wanted.
        if let Some(parent) = self.dir.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

fn leave_out(path: &Path, kind: FileType) -> Option<&'static str> {
    match classify(path, FileKind::of(kind)) {
        Verdict::Keep => None,
        Verdict::LeaveOut(Reason::RaftTemporary) => {
            Some("preallocated or half-written: the engine would take it as its next log segment")
        }
        Verdict::LeaveOut(Reason::WorkerState) => {
            Some("tasks of this node, some with credentials in clear; the engine makes it anew")
        }
        Verdict::LeaveOut(Reason::Socket) => Some("a socket exists only while its process does"),
        Verdict::LeaveOut(Reason::NotAFile) => Some("neither a file nor a directory"),
    }
}

//! The copy of the state directory on this host's disk: begun beside the running engine, completed while it stands
//! still, gone when it is packed.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};

use super::fitness;
use crate::host::{
    copy::Patience,
    mirror::{Copied, Mirror, Writer},
};

/// A snapshot directory; removed when dropped.
#[derive(Debug)]
pub struct Snapshot {
    dir: PathBuf,
    mirror: Mirror,
    /// Of the last pass.
    pub copied: Copied,
    kept: bool,
}

impl Snapshot {
    /// Makes the new directory `dir`, in which nothing is yet.
    pub fn begin(state_dir: &Path, dir: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("failed to make the snapshot directory {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), mirror: Mirror::new(state_dir, dir), copied: Copied::default(), kept: false })
    }

    /// Copies what is there now. Beside a [running](Writer::Running) engine that is no consistent state, but most
    /// of its bytes. After one that stood still call [`Snapshot::complete`]. What no restore needs is left out and
    /// listed. Blocking.
    pub fn copy(&mut self, writer: Writer, patience: &Patience<'_>) -> Result<()> {
        self.copied = self.mirror.pass(&fitness::handling, writer, SystemTime::now(), patience)?;
        Ok(())
    }

    /// Puts on disk what was only read while the engine stood still. Blocking.
    pub fn complete(&mut self) -> Result<()> {
        self.mirror.apply()
    }

    /// The directory becomes the caller's.
    pub fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.dir.clone()
    }

    /// What was left out that no engine wrote, in words.
    pub fn strays(&self) -> Vec<String> {
        fitness::strays(&self.copied.left_out)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "a snapshot could not be removed; remove it by hand");
        }
        // Fails while something else is in it, which is what is wanted.
        if let Some(parent) = self.dir.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

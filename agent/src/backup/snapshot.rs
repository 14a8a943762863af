//! The copy of the state directory on this host's disk: begun while the engine runs, completed while it is stopped or
//! frozen, and removed when it is packed.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};

use super::fitness;
use crate::host::files::{
    copy::CopyLimits,
    mirror::{Copied, Mirror, Writer},
};

/// A snapshot directory; removed when dropped.
#[derive(Debug)]
pub struct Snapshot {
    dir: PathBuf,
    mirror: Mirror,
    /// Result of the last pass.
    pub copied: Copied,
    kept: bool,
}

impl Snapshot {
    /// Creates the directory `dir` for the copy. Copies nothing yet.
    pub fn begin(state_dir: &Path, dir: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("failed to make the snapshot directory {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), mirror: Mirror::new(state_dir, dir), copied: Copied::default(), kept: false })
    }

    /// Copies the state as it is now. While the engine is [running](Writer::Running), the copy is not consistent, but
    /// has most of the bytes. While it is [stopped or frozen](Writer::Still), [`Snapshot::complete`] must follow. Files
    /// that no restore needs are excluded and listed. Blocks.
    pub fn copy(&mut self, writer: Writer, limits: &CopyLimits<'_>) -> Result<()> {
        self.copied = self.mirror.pass(&fitness::handling, writer, SystemTime::now(), limits)?;
        Ok(())
    }

    /// Writes the changes into the copy that were only read while the engine was stopped or frozen. Blocks.
    pub fn complete(&mut self) -> Result<()> {
        self.mirror.apply()
    }

    /// Hands the directory over to the caller, who removes it.
    pub fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.dir.clone()
    }

    /// Returns a line for each excluded path that no engine wrote.
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
        // Fails while something else is in it, as intended.
        if let Some(parent) = self.dir.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

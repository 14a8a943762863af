//! Adds to the copied log of a frozen engine the commit mark that the engine had not written yet.

use std::{fs::File, os::unix::fs::FileExt};

use anyhow::{Context, Result};

use super::snapshot::Snapshot;

/// Appends the mark that [`swarm_state::missing_mark`] finds missing. Returns the number of entries that it commits.
///
/// A damaged log stays as it is, and the examination reports where it is damaged. Blocks.
pub fn complete(snapshot: &Snapshot) -> Result<u64> {
    let Ok(Some(missing)) = swarm_state::missing_commit(snapshot.dir()) else {
        return Ok(0);
    };
    let path = snapshot.dir().join(&missing.file);
    let write = || -> std::io::Result<bool> {
        let file = File::options().write(true).open(&path)?;
        // The size of the file is recorded already, so the mark goes into the space that the engine allocates ahead, if
        // enough is left.
        let fits = missing.offset + missing.bytes.len() as u64 <= file.metadata()?.len();
        if fits {
            file.write_all_at(&missing.bytes, missing.offset)?;
        }
        Ok(fits)
    };
    let written = write().with_context(|| format!("failed to complete {}", path.display()))?;
    Ok(if written { missing.entries } else { 0 })
}

//! Completes the log of a frozen engine's copy by the mark that the engine had not written yet.

use std::{fs::File, os::unix::fs::FileExt};

use anyhow::{Context, Result};

use super::snapshot::Snapshot;
use crate::swarm;

/// Appends to the copy what [`swarm::missing_mark`] says that it lacks. Returns how many entries count by that.
///
/// A copy whose log is damaged stays as it is: whoever examines it says where. Blocking.
pub fn complete(snapshot: &Snapshot) -> Result<u64> {
    let Ok(Some(missing)) = swarm::missing_mark(snapshot.dir()) else {
        return Ok(0);
    };
    let path = snapshot.dir().join(&missing.file);
    let write = || -> std::io::Result<bool> {
        let file = File::options().write(true).open(&path)?;
        // The size of the file is settled: the mark goes into the space that the engine allocates ahead, if some is left.
        let fits = missing.offset + missing.bytes.len() as u64 <= file.metadata()?.len();
        if fits {
            file.write_all_at(&missing.bytes, missing.offset)?;
        }
        Ok(fits)
    };
    let written = write().with_context(|| format!("failed to complete {}", path.display()))?;
    Ok(if written { missing.entries } else { 0 })
}

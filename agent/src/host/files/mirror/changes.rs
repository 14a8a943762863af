//! Changes of the copy that were read while the writer stood still.

use std::{fs::File, mem, os::unix::fs::FileExt, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    super::copy::{CopyLimits, appended, extents_from},
    Held,
};

/// Bytes of changes that are held in memory; the rest of a larger change goes straight into the copy.
pub const HELD_BYTES: u64 = 16 * 1024 * 1024;

/// The changes that wait for [`Mirror::apply`](super::Mirror::apply).
#[derive(Debug, Default)]
pub struct Changes {
    list: Vec<Change>,
    bytes: u64,
}

/// A change of one path of the copy.
#[derive(Debug)]
pub enum Change {
    Remove(PathBuf),
    MakeDir(PathBuf),
    /// Everything from `grown.from` on is replaced.
    Write {
        grown: Grown,
        data: Vec<(u64, Vec<u8>)>,
    },
}

/// A file whose end changed.
#[derive(Debug)]
pub struct Grown {
    pub path: PathBuf,
    /// The state of the file once the change is applied.
    pub held: Held,
    /// The byte before which nothing changed.
    pub from: u64,
    pub size: u64,
}

impl Changes {
    pub fn push(&mut self, change: Change) {
        self.list.push(change);
    }

    /// Returns all changes in order, and forgets them.
    pub fn take(&mut self) -> Vec<Change> {
        mem::take(self).list
    }

    /// Reads the end of a log into memory; `None` if that would be too much.
    pub fn read_growth(&mut self, source: &File, grown: Grown) -> Result<Option<u64>> {
        let most = HELD_BYTES.saturating_sub(self.bytes);
        let Some(end) = appended(source, grown.from, grown.size, most)? else { return Ok(None) };
        let data = vec![(grown.from, end)];
        Ok(Some(self.hold(grown, data)))
    }

    /// Reads the data of any file into memory; `None` if that would be too much.
    pub fn read_file(&mut self, source: &File, grown: Grown, limits: &CopyLimits<'_>) -> Result<Option<u64>> {
        let extents = extents_from(source, grown.from, grown.size)?;
        let bytes: u64 = extents.iter().map(|extent| extent.length).sum();
        if self.bytes + bytes > HELD_BYTES {
            return Ok(None);
        }
        let mut data = Vec::with_capacity(extents.len());
        for extent in extents {
            limits.check()?;
            let mut buffer = vec![0; usize::try_from(extent.length).context("an extent is larger than memory")?];
            source.read_exact_at(&mut buffer, extent.offset)?;
            data.push((extent.offset, buffer));
        }
        Ok(Some(self.hold(grown, data)))
    }

    /// Keeps what was read. Returns its bytes.
    fn hold(&mut self, grown: Grown, data: Vec<(u64, Vec<u8>)>) -> u64 {
        let bytes = data.iter().map(|(_, part)| part.len() as u64).sum();
        self.bytes += bytes;
        self.list.push(Change::Write { grown, data });
        bytes
    }
}

//! One file of a mirror: whether it changed, and what of it is copied.

use std::{
    fs::{File, Metadata},
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result};

use super::{
    super::copy::{CopyLimits, copy_from, written_end},
    Held, Mirror, Writer,
    changes::Grown,
    paths::{open_source, open_target, remove_any},
    stamp::Stamp,
};

/// Bytes of a log that are copied again before its new end: a page of the log's writer is 4 KiB.
const OVERLAP: u64 = 64 * 1024;

/// Bytes above which what was copied of a file is flushed at once; less is not worth a flush of its own.
const WORTH_FLUSHING: u64 = 1024 * 1024;

/// The settings of a pass for one file.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub is_log: bool,
    pub writer: Writer,
    pub now: SystemTime,
    pub limits: &'a CopyLimits<'a>,
}

impl Mirror {
    /// Brings one file up to date. Returns the bytes that had to be copied.
    pub(super) fn keep_file(&mut self, path: &Path, metadata: &Metadata, pass: Pass<'_>) -> Result<u64> {
        let found = Stamp::of(metadata);
        let mut final_before = None;
        match self.held.get(path) {
            Some(Held::File { stamp, settled: true, .. }) if *stamp == found => return Ok(0),
            Some(Held::File { stamp, written, .. }) if pass.is_log && stamp.is_same_file(&found) => {
                final_before = Some(page_before(*written));
            }
            Some(_) => self.drop_from_copy(path, pass.writer)?,
            None => {}
        }
        let from = self.from.join(path);
        let copied = self.copy_file(path, &from, final_before, pass);
        copied.with_context(|| format!("failed to copy {} to {}", from.display(), self.to.join(path).display()))
    }

    /// Copies a file. `final_before` is set for a log that was copied before: the bytes before it have not changed
    /// since.
    fn copy_file(&mut self, path: &Path, from: &Path, final_before: Option<u64>, pass: Pass<'_>) -> Result<u64> {
        let source = open_source(from)?;
        // Taken from the open file, before a byte of it is read.
        let stamp = Stamp::of(&source.metadata()?);
        let settled = stamp.is_settled(pass.now);
        let has_grown = final_before.is_some();
        let final_before = final_before.unwrap_or(0).min(stamp.size);
        if pass.writer == Writer::Still {
            let held = Held::File { stamp, settled, written: final_before };
            let grown = Grown { path: path.to_owned(), held, from: final_before, size: stamp.size };
            let read = if has_grown {
                self.changes.read_growth(&source, grown)?
            } else {
                self.changes.read_file(&source, grown, pass.limits)?
            };
            if let Some(bytes) = read {
                return Ok(bytes);
            }
            // Its directory may be among the changes, and the removal of an older file in its place.
            self.apply()?;
        }
        let written = if pass.is_log { written_end(&source, stamp.size)? } else { 0 };
        // Until the copy is whole it counts as missing.
        self.held.remove(path);
        // Space that was allocated ahead stays a hole.
        let end = if pass.is_log { written.max(final_before) } else { stamp.size };
        let bytes = write_copy(&source, &self.to.join(path), (final_before, end, stamp.size), pass)?;
        self.held.insert(path.to_owned(), Held::File { stamp, settled, written });
        Ok(bytes)
    }
}

/// Copies the bytes between `from` and `end` into a file of this size. Returns how many those are; removes the file if
/// that fails.
fn write_copy(source: &File, to: &Path, (from, end, size): (u64, u64, u64), pass: Pass<'_>) -> Result<u64> {
    let copy = || -> Result<u64> {
        let target = open_target(to)?;
        let bytes = copy_from(source, &target, from, end, pass.limits)?;
        target.set_len(size)?;
        if pass.writer == Writer::Running && bytes > WORTH_FLUSHING {
            target.sync_data()?;
        }
        Ok(bytes)
    };
    match copy() {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            remove_any(to)?;
            Err(error)
        }
    }
}

/// A page boundary so far before `written` that everything before it is final.
fn page_before(written: u64) -> u64 {
    written.saturating_sub(OVERLAP) / 4096 * 4096
}

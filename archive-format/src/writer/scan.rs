//! First pass over a file: its digest, and the extents of its data.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use sha2::{Digest as _, Sha256};

use super::{SourceEntry, SourceFile, progress::Meter};
use crate::{
    contents::EntryKind,
    digest::Digest,
    error::{Error, Result},
    extents::{Extents, ExtentsBuilder, GRAIN},
    limits::Limits,
    stream::{CHUNK, hash_zeros, read_full},
};

/// Result of the first pass over an entry.
pub(super) struct Scanned {
    /// Digest of the content; none for a directory.
    pub(super) digest: Option<Digest>,
    pub(super) extents: Extents,
}

/// Scans every entry, in order.
pub(super) fn scan_all<F: Read + Seek>(
    entries: &[SourceEntry],
    open: &mut impl FnMut(&SourceEntry) -> io::Result<SourceFile<F>>,
    limits: &Limits,
    meter: &mut Meter<'_>,
) -> Result<Vec<Scanned>> {
    let mut chunk = vec![0; CHUNK];
    let scan = |entry: &SourceEntry| match entry.kind {
        EntryKind::Dir => Ok(Scanned { digest: None, extents: Extents::whole(0) }),
        EntryKind::File if entry.size > limits.file_bytes => Err(Error::limit("the size of a file", limits.file_bytes)),
        EntryKind::File => {
            let mut source = open(entry).map_err(|source| failed(entry, source))?;
            scan_file(entry, &mut source, limits, &mut chunk, meter)
        }
    };
    entries.iter().map(scan).collect()
}

fn scan_file<F: Read + Seek>(
    entry: &SourceEntry,
    source: &mut SourceFile<F>,
    limits: &Limits,
    chunk: &mut [u8],
    meter: &mut Meter<'_>,
) -> Result<Scanned> {
    let mut hasher = Sha256::new();
    let mut extents = ExtentsBuilder::new(entry.size, limits.extents);
    let mut position = 0;
    for range in aligned(&source.data, entry.size) {
        hash_zeros(&mut hasher, range.start - position);
        meter.add(range.start - position)?;
        position = range.start;
        source.file.seek(SeekFrom::Start(position)).map_err(|source| failed(entry, source))?;
        while position < range.end {
            let step = (range.end - position).min(CHUNK as u64) as usize;
            read_exactly(entry, &mut source.file, &mut chunk[..step])?;
            hasher.update(&chunk[..step]);
            note_data(&mut extents, position, &chunk[..step])?;
            position += step as u64;
            meter.add(step as u64)?;
        }
    }
    hash_zeros(&mut hasher, entry.size - position);
    meter.add(entry.size - position)?;
    check_end(entry, &mut source.file)?;
    Ok(Scanned { digest: Some(Digest::finish(hasher)), extents: extents.finish() })
}

/// Adds the grains that are not all zero. `position` is a multiple of the grain.
fn note_data(extents: &mut ExtentsBuilder, position: u64, data: &[u8]) -> Result<()> {
    const ZEROS: [u8; GRAIN as usize] = [0; GRAIN as usize];
    let mut start = position;
    for grain in data.chunks(GRAIN as usize) {
        let end = start + grain.len() as u64;
        if *grain != ZEROS[..grain.len()] {
            extents.push(start..end)?;
        }
        start = end;
    }
    Ok(())
}

/// Widens ranges to whole grains within the size, and joins ranges that then touch.
fn aligned(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut aligned: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let start = range.start / GRAIN * GRAIN;
        let end = range.end.checked_next_multiple_of(GRAIN).unwrap_or(u64::MAX).min(size);
        match aligned.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ if start < end => aligned.push(start..end),
            _ => {}
        }
    }
    aligned
}

/// Fills the buffer. If the file ends before that, it has become shorter than its listed size.
pub(super) fn read_exactly(entry: &SourceEntry, file: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    let read = read_full(file, buffer).map_err(|source| failed(entry, source))?;
    if read < buffer.len() {
        return Err(Error::SourceChanged { path: entry.path.to_string(), what: "it became shorter" });
    }
    Ok(())
}

/// Checks that the file ends at its listed size.
pub(super) fn check_end(entry: &SourceEntry, file: &mut (impl Read + Seek)) -> Result<()> {
    let end = file.seek(SeekFrom::End(0)).map_err(|source| failed(entry, source))?;
    let what = match end.cmp(&entry.size) {
        std::cmp::Ordering::Less => "it became shorter",
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "it became longer",
    };
    Err(Error::SourceChanged { path: entry.path.to_string(), what })
}

pub(super) fn failed(entry: &SourceEntry, source: io::Error) -> Error {
    Error::Source { path: entry.path.to_string(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some with one")]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_widened_and_joined() {
        for (ranges, size, wanted) in [
            (vec![], 10, vec![]),
            (vec![0..10], 10, vec![0..10]),
            (vec![5000..5001], 20000, vec![4096..8192]),
            (vec![1..2, 4096..4097, 9000..9001], 9500, vec![0..9500]),
            (vec![0..1, 8192..8193], 20000, vec![0..4096, 8192..12288]),
            (vec![30000..40000], 20000, vec![]),
            (vec![0..u64::MAX], 20000, vec![0..20000]),
        ] {
            assert_eq!(aligned(&ranges, size), wanted, "{ranges:?}");
        }
    }
}

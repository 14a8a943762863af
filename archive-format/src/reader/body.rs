//! Content of one entry, as the visitor reads it.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom, Write},
};

use sha2::{Digest as _, Sha256};

use super::entries::TarStream;
use crate::{
    contents::FileEntry,
    digest::Digest,
    error::Error,
    extents::Extents,
    stream::{CHUNK, hash_zeros},
};

/// Reader of the whole content of an entry, with holes as zeros; empty for a directory.
///
/// [`Body::copy_sparse_to`] writes only the data. Nothing is verified before [`unpack`](super::unpack) returns.
pub struct Body<'a> {
    source: &'a mut dyn Source,
    extents: &'a Extents,
    size: u64,
    position: u64,
    /// Index of the extent that contains `position`, or of the next one.
    extent: usize,
    hasher: Sha256,
    failed: Option<Error>,
}

/// Hides the lifetime of the tar stream.
trait Source {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error>;
}

impl Source for TarStream<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        TarStream::fill(self, buffer)
    }
}

/// Data or hole at the current position, with the number of bytes to its end.
enum Run {
    Data(u64),
    Hole(u64),
    End,
}

impl<'a> Body<'a> {
    pub(super) fn new(tar: &'a mut TarStream<'_>, entry: &FileEntry, extents: &'a Extents) -> Self {
        let hasher = Sha256::new();
        Self { source: tar, extents, size: entry.size, position: 0, extent: 0, hasher, failed: None }
    }

    /// Returns the extents of the data; the rest of the size is holes.
    pub fn extents(&self) -> &Extents {
        self.extents
    }

    /// Writes the data at its offsets and seeks over the holes. Set the length of `out` to the size of the entry before
    /// or after this call.
    ///
    /// `out` must be empty. Returns the number of data bytes that were written.
    pub fn copy_sparse_to(&mut self, out: &mut (impl Write + Seek)) -> io::Result<u64> {
        let mut chunk = vec![0; CHUNK];
        let mut written = 0;
        loop {
            match self.run() {
                Run::End => return Ok(written),
                Run::Hole(length) => {
                    self.skip_hole(length);
                    out.seek(SeekFrom::Start(self.position))?;
                }
                Run::Data(_) => {
                    let read = self.read(&mut chunk)?;
                    out.write_all(&chunk[..read])?;
                    written += read as u64;
                }
            }
        }
    }

    fn run(&self) -> Run {
        match self.extents.data().get(self.extent) {
            Some(range) if range.start <= self.position => Run::Data(range.end - self.position),
            Some(range) => Run::Hole(range.start - self.position),
            None if self.position < self.size => Run::Hole(self.size - self.position),
            None => Run::End,
        }
    }

    fn skip_hole(&mut self, length: u64) {
        hash_zeros(&mut self.hasher, length);
        self.position += length;
    }

    fn read_data(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        if self.failed.is_some() {
            return Err(io::Error::other("the archive ended in an error before"));
        }
        if let Err(error) = self.source.fill(buffer) {
            let message = error.to_string();
            self.failed = Some(error);
            return Err(io::Error::other(message));
        }
        self.hasher.update(&buffer);
        self.position += buffer.len() as u64;
        if self.extents.data()[self.extent].end == self.position {
            self.extent += 1;
        }
        Ok(())
    }

    /// Reads what the visitor has not read. Returns the error of the stream, if any, and the digest of the content.
    pub(super) fn finish(mut self) -> (Option<Error>, Digest) {
        let mut chunk = vec![0; self.extents.stored().min(CHUNK as u64) as usize];
        loop {
            match self.run() {
                Run::End => break,
                Run::Hole(length) => self.skip_hole(length),
                Run::Data(_) if self.failed.is_some() => break,
                Run::Data(_) => {
                    // A failure is stored in `failed`, which the next iteration checks.
                    let _ = self.read(&mut chunk);
                }
            }
        }
        (self.failed, Digest::finish(self.hasher))
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = |length: u64| usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        match self.run() {
            Run::End => Ok(0),
            Run::Hole(length) => {
                let count = most(length);
                buffer[..count].fill(0);
                self.skip_hole(count as u64);
                Ok(count)
            }
            Run::Data(length) => {
                let count = most(length);
                self.read_data(&mut buffer[..count])?;
                Ok(count)
            }
        }
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} of {} bytes)", self.position, self.size)
    }
}

//! Stored bytes of a payload, of which none is given before its chunk was checked.

use std::io::{self, Read};

use super::ListedStream;
use crate::{
    digest::Hasher,
    error::{Error, Result},
    stream::read_full,
};

/// Reader of stored bytes that gives none before the chunk that holds it was checked.
pub(super) struct CheckedChunks<'a> {
    input: &'a mut dyn Read,
    stream: &'a ListedStream,
    /// The checked chunk; empty after a failure.
    chunk: Vec<u8>,
    /// Number of bytes of the chunk that were given.
    given: usize,
    /// Number of the chunk to read next.
    next: u64,
    whole: Hasher,
    /// First failure, in its own words; layers above report it in theirs.
    pub(super) failed: Option<Error>,
}

impl<'a> CheckedChunks<'a> {
    pub(super) fn new(input: &'a mut dyn Read, stream: &'a ListedStream) -> Self {
        Self { input, stream, chunk: Vec::new(), given: 0, next: 0, whole: Hasher::default(), failed: None }
    }

    /// Reads and checks the next chunk in the place of this one. Returns `false` at the end of the payload.
    pub(super) fn next_chunk(&mut self) -> Result<bool> {
        if self.next == self.stream.head().manifest.chunks.count {
            return Ok(false);
        }
        let (offset, length) = self.stream.chunk_place(self.next);
        let mut chunk = std::mem::take(&mut self.chunk);
        self.given = 0;
        chunk.resize(length as usize, 0);
        let read = read_full(self.input, &mut chunk);
        let read = read.map_err(|source| Error::ChunkUnread { chunk: self.next, offset, source })?;
        self.stream.check_chunk(self.next, &chunk[..read])?;
        self.whole.update(&chunk);
        self.chunk = chunk;
        self.next += 1;
        Ok(true)
    }

    /// Checks that all of the payload was used, and its digest.
    pub(super) fn finish(self) -> Result<()> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let payload = &self.stream.head().manifest.payload;
        if self.next < self.stream.head().manifest.chunks.count {
            return Err(Error::TrailingBytes { after: "the compressed stream" });
        }
        let (_, digest) = self.whole.finish();
        if digest == payload.sha256 {
            Ok(())
        } else {
            Err(Error::DigestMismatch { what: "the stored payload".to_owned() })
        }
    }
}

impl Read for CheckedChunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let failed = || io::Error::other("a chunk is not good");
        if self.failed.is_some() {
            return Err(failed());
        }
        if self.given == self.chunk.len() {
            match self.next_chunk() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    self.failed = Some(error);
                    return Err(failed());
                }
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.given);
        buffer[..count].copy_from_slice(&self.chunk[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

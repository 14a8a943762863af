//! Digests of the chunks of a payload, made while it is written.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::manifest::DIGEST;
use crate::{error::Error, limits::LIST_MAX};

/// Writer that lists the digest of each chunk of what is written through it. The list is at most [`LIST_MAX`] bytes; a
/// byte beyond what it can describe is an error, and is not passed on.
#[derive(Debug)]
pub(super) struct ChunkHasher<W> {
    inner: W,
    size: u64,
    hasher: Sha256,
    /// Number of bytes in the chunk so far; less than `size`.
    filled: u64,
    list: Vec<u8>,
    list_max: u64,
}

impl<W: Write> ChunkHasher<W> {
    pub(super) fn new(inner: W, chunk_size: u32) -> Self {
        let size = chunk_size.into();
        Self { inner, size, hasher: Sha256::new(), filled: 0, list: Vec::new(), list_max: LIST_MAX }
    }

    /// Returns the writer below, and the list.
    pub(super) fn finish(mut self) -> (W, Vec<u8>) {
        if self.filled > 0 {
            self.end_chunk();
        }
        (self.inner, self.list)
    }

    fn end_chunk(&mut self) {
        self.list.extend_from_slice(&self.hasher.finalize_reset());
        self.filled = 0;
    }
}

impl<W: Write> Write for ChunkHasher<W> {
    /// Takes the whole buffer, or fails: age cannot write its header in pieces.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut rest = buffer;
        while !rest.is_empty() {
            if self.list.len() as u64 == self.list_max {
                let most = self.list_max / DIGEST * self.size;
                return Err(io::Error::other(Error::limit("the size of the payload", most)));
            }
            let room = usize::try_from(self.size - self.filled).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at(rest.len().min(room));
            self.inner.write_all(part)?;
            self.hasher.update(part);
            self.filled += part.len() as u64;
            if self.filled == self.size {
                self.end_chunk();
            }
            rest = after;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn list_of(bytes: &[u8], step: usize) -> Vec<u8> {
        let mut hasher = ChunkHasher::new(Vec::new(), 100);
        bytes.chunks(step).for_each(|part| hasher.write_all(part).unwrap());
        let (out, list) = hasher.finish();
        assert_eq!(out, bytes);
        list
    }

    #[test]
    fn each_chunk_is_listed_however_it_is_written() {
        for length in [0, 1, 99, 100, 101, 200, 250] {
            let bytes: Vec<u8> = (0..length).collect();
            let expected: Vec<u8> = bytes.chunks(100).flat_map(|chunk| *Digest::of(chunk).as_bytes()).collect();
            for step in [1, 7, 100, 1000] {
                assert_eq!(list_of(&bytes, step), expected, "{length} bytes, {step} at a time");
            }
        }
    }

    #[test]
    fn nothing_goes_beyond_what_the_list_can_describe() {
        let mut hasher = ChunkHasher { list_max: 64, ..ChunkHasher::new(Vec::new(), 100) };
        let error = hasher.write_all(&[7; 201]).unwrap_err().downcast::<Error>().unwrap();
        assert!(matches!(error, Error::LimitExceeded { limit: 200, .. }), "{error}");
        hasher.write_all(b"").unwrap();
        let (out, list) = hasher.finish();
        assert_eq!((out.len(), list.len()), (200, 64));
    }
}

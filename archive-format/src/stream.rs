//! Readers and writers that hash and count what passes through them.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::digest::{Digest, Hasher};

/// Number of bytes moved at a time between files and streams.
pub(crate) const CHUNK: usize = 128 * 1024;

/// Hashes `count` zeros: the content of a hole.
pub(crate) fn hash_zeros(hasher: &mut Sha256, mut count: u64) {
    static ZEROS: [u8; 32 * 1024] = [0; 32 * 1024];
    while count > 0 {
        let step = count.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..step as usize]);
        count -= step;
    }
}

/// Writer that hashes and counts the bytes written through it.
#[derive(Debug)]
pub(crate) struct HashWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// Number of bytes that were written so far.
    pub(crate) fn count(&self) -> u64 {
        self.hasher.count()
    }

    pub(crate) fn finish(self) -> (W, u64, Digest) {
        let (count, digest) = self.hasher.finish();
        (self.inner, count, digest)
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reader that hashes and counts the bytes read through it.
#[derive(Debug)]
pub struct HashReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashReader<R> {
    /// Begins where `inner` stands.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// Number of bytes that were read so far.
    pub fn count(&self) -> u64 {
        self.hasher.count()
    }

    /// The reader, the number of bytes that were read, and their digest.
    pub fn finish(self) -> (R, u64, Digest) {
        let (count, digest) = self.hasher.finish();
        (self.inner, count, digest)
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// Reads until `buffer` is full or the input ends. Returns the number of bytes read.
pub(crate) fn read_full(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

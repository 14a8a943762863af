//! A stream whose list of chunks was verified: its payload is checked chunk by chunk, and released as it is checked.

use std::{
    cell::Cell,
    io::{Read, Write},
    ops::Range,
};

use super::{StreamHead, checked::CheckedChunks, manifest::DIGEST, released::Released};
use crate::{
    digest::Digest,
    error::{Error, Result},
    limits::Limits,
    reader::{layers, member::read_end},
    recipients::Identities,
    stream::CHUNK,
};

/// A stream of which head and list are verified, so that every byte of its payload can be.
#[derive(Clone, Debug)]
pub struct ListedStream {
    head: StreamHead,
    list: Vec<u8>,
}

impl ListedStream {
    pub(super) fn new(head: StreamHead, list: Vec<u8>) -> Self {
        Self { head, list }
    }

    /// Returns the verified head.
    pub fn head(&self) -> &StreamHead {
        &self.head
    }

    /// Returns the place of a chunk in the archive, in bytes. Chunks are counted from 0.
    ///
    /// # Panics
    ///
    /// If the number is not less than `chunks.count` of the manifest.
    pub fn chunk_range(&self, chunk: u64) -> Range<u64> {
        let (start, length) = self.chunk_place(chunk);
        let start = self.head.payload_offset + start;
        start..start + length
    }

    /// Checks the bytes of one chunk, which came in any order: whoever fetches ranges can tell at once which of them to
    /// fetch again. Fails with [`Error::BadChunk`]. [`ListedStream::unpack`] checks all the same.
    ///
    /// # Panics
    ///
    /// If the number is not less than `chunks.count` of the manifest.
    pub fn check_chunk(&self, chunk: u64, bytes: &[u8]) -> Result<()> {
        let (offset, length) = self.chunk_place(chunk);
        if (bytes.len() as u64) < length {
            let offset = offset + bytes.len() as u64;
            return Err(Error::BadChunk { chunk, offset, fault: "is cut off there; fetch it again" });
        }
        let at = (chunk * DIGEST) as usize;
        if Digest::of(bytes).as_bytes()[..] != self.list[at..at + DIGEST as usize] {
            let fault = "is not the signed one: it was altered or damaged; fetch it again, or from another vault";
            return Err(Error::BadChunk { chunk, offset, fault });
        }
        Ok(())
    }

    /// Checks the whole payload and the end of the archive. Needs no identity.
    ///
    /// `input` stands at [`StreamHead::payload_offset`] and ends with the archive. Takes memory for one chunk.
    pub fn check(&self, mut input: impl Read) -> Result<()> {
        let mut stored = CheckedChunks::new(&mut input, self);
        while stored.next_chunk()? {}
        stored.finish()?;
        read_end(&mut input, self.head.manifest.payload.size)
    }

    /// Decrypts and decompresses the payload, and writes what the stream holds.
    ///
    /// `input` stands at [`StreamHead::payload_offset`] and ends with the archive. Each chunk is checked before a byte of
    /// it is decoded, so `out` receives nothing that was not signed, in order. The **end** is proven only by `Ok`: the
    /// size and digest of all bytes are right, and nothing follows. On an error, `out` has received what the chunks
    /// before the bad one hold: a receiver must then be ended before it sees the end of its input, which it would take
    /// for the end of the stream.
    ///
    /// Errors: [`Error::BadChunk`] and [`Error::ChunkUnread`] name the place in the payload, [`Error::Output`] is the
    /// receiver's, and [`Error::NeedsIdentity`] comes before anything is read. Takes memory for one chunk, and about
    /// 10 MiB.
    pub fn unpack(&self, mut input: impl Read, identities: &Identities, out: &mut dyn Write) -> Result<()> {
        let payload = &self.head.manifest.payload;
        if self.head.manifest.is_encrypted() && identities.is_empty() {
            return Err(Error::NeedsIdentity { recipients: payload.recipients.join(", ") });
        }
        let mut stored = CheckedChunks::new(&mut input, self);
        let mut released = Released::new(payload.plain_size, out);
        if let Err(error) = decode(&mut stored, self, identities, &mut released) {
            // A layer above reports the fault of a chunk in its own words.
            return Err(stored.failed.take().unwrap_or(error));
        }
        stored.finish()?;
        read_end(&mut input, payload.size)?;
        released.finish(payload.plain_sha256)
    }

    /// Returns offset and length of a chunk in the payload, in bytes.
    pub(super) fn chunk_place(&self, chunk: u64) -> (u64, u64) {
        let (chunks, payload) = (&self.head.manifest.chunks, &self.head.manifest.payload);
        assert!(chunk < chunks.count, "there are {} chunks, and none of the number {chunk}", chunks.count);
        let size = u64::from(chunks.size);
        let offset = chunk * size;
        (offset, size.min(payload.size - offset))
    }
}

/// Decodes all layers and checks that each ends where the one below it does.
fn decode(
    stored: &mut CheckedChunks<'_>,
    stream: &ListedStream,
    identities: &Identities,
    released: &mut Released<'_>,
) -> Result<()> {
    let (limits, budget) = (Limits::default(), Cell::new(0));
    let recipients = &stream.head.manifest.payload.recipients;
    let mut decoder = layers::open(stored, &budget, recipients, identities, &limits)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = decoder.read(&mut buffer).map_err(Error::damaged("compression"));
        match read.map_err(|error| layers::name_window(error, &limits))? {
            0 => break,
            read => released.put(&buffer[..read])?,
        }
    }
    layers::finish(decoder, "the compressed stream")
}

//! Packs a stream while it comes, and signs it when it has ended.

use std::{
    fmt,
    io::{self, Write},
};

use super::{
    Chunks, FORMAT, LIST_NAME, StreamDraft, StreamEnding, StreamKind, StreamManifest, StreamPayload,
    chunks::ChunkHasher, head::read_head, manifest::DIGEST,
};
use crate::{
    digest::Digest,
    error::{Error, Result},
    key::{SecretKey, TrustedKeys},
    limits::{CHUNK_SIZE, LIST_MAX, PLAIN_MAX},
    manifest::document,
    reader::{MANIFEST_NAME, SIGNATURE_NAME, member::blocks},
    recipients::Recipient,
    signature,
    tar_header::{self, BLOCK},
    writer::{
        self,
        layers::{Layers, Passed},
    },
};

/// Writer of what a stream holds. Compresses and encrypts it, and writes stored bytes to its sink as they come.
///
/// Takes little memory besides that of the compression: 32 bytes for each chunk of 4 MiB, at most 8 MiB, and twice the
/// size of the head at the end. Errors of the
/// sink are returned as they are. After an error, or if it is dropped, there is no archive: only
/// [`StreamWriter::finish`] makes one.
pub struct StreamWriter<S: Write> {
    /// The manifest with the largest numbers in it.
    measured: StreamManifest,
    /// Length of the measured manifest in bytes, a whole number of tar blocks.
    manifest_length: usize,
    layers: Layers<ChunkHasher<S>>,
}

/// A stream that was signed. The archive is `head`, then all that the sink received, then `tail`.
#[derive(Clone, Debug)]
pub struct SealedStream<S> {
    /// The signed manifest.
    pub manifest: StreamManifest,
    /// SHA-256 of the manifest bytes. The next stream of that name in the vault names it as `previous`.
    pub manifest_digest: Digest,
    /// Bytes before the payload: at most 8.1 MiB.
    pub head: Vec<u8>,
    /// Bytes after the payload: at most 1535.
    pub tail: Vec<u8>,
    /// The sink, which has received `manifest.payload.size` bytes, and was flushed.
    pub sink: S,
    /// Size of the archive in bytes.
    pub size: u64,
}

impl<S: Write> StreamWriter<S> {
    /// Begins a stream. Refuses at once what could not be finished: a manifest that is too long, for example.
    ///
    /// `level` is that of zstd, from 1 to [`MAX_LEVEL`](crate::writer::MAX_LEVEL). Without recipients, anyone can read
    /// the stream.
    pub fn new(draft: StreamDraft, recipients: &[Recipient], level: i32, sink: S) -> Result<Self> {
        Self::with_chunk_size(draft, recipients, level, sink, CHUNK_SIZE)
    }

    /// Begins a stream of smaller chunks, for tests: writers must use [`CHUNK_SIZE`].
    #[doc(hidden)]
    pub fn with_chunk_size(
        draft: StreamDraft,
        recipients: &[Recipient],
        level: i32,
        sink: S,
        chunk_size: u32,
    ) -> Result<Self> {
        writer::check_input(recipients, level)?;
        let (measured, manifest_length) = measure(draft, recipients, chunk_size)?;
        let layers = Layers::new(ChunkHasher::new(sink, chunk_size), level, recipients)?;
        Ok(Self { measured, manifest_length, layers })
    }

    /// Number of bytes that were written to the stream, before compression.
    pub fn plain_size(&self) -> u64 {
        self.layers.plain_size()
    }

    /// Ends the stream and signs it, then verifies its own head.
    ///
    /// The head is exactly `room` bytes long if that is what [`room`] returned for the same draft and recipients; it is
    /// longer if it does not fit, and no longer than necessary if `room` is 0.
    pub fn finish(self, ending: StreamEnding, key: &SecretKey, room: u64) -> Result<SealedStream<S>> {
        let fixed = without_list(&self.measured, self.manifest_length);
        let Passed { out, plain, stored } = self.layers.finish().map_err(own_error)?;
        let (sink, mut list) = out.finish();
        let count = list.len() as u64 / DIGEST;
        let spare = room.saturating_sub(fixed).min(LIST_MAX) / BLOCK as u64 * BLOCK as u64;
        list.resize(list.len().max(spare as usize), 0);
        let StreamEnding { sequence, previous, ended_at, exit_status } = ending;
        let manifest = StreamManifest {
            sequence,
            previous,
            // A clock that was set back meanwhile must not make the stream void.
            ended_at: ended_at.max(self.measured.started_at),
            exit_status,
            payload: StreamPayload {
                size: stored.0,
                sha256: stored.1,
                plain_size: plain.0,
                plain_sha256: plain.1,
                ..self.measured.payload
            },
            chunks: Chunks {
                count,
                list_size: list.len() as u64,
                list_sha256: Digest::of(&list),
                ..self.measured.chunks
            },
            ..self.measured
        };
        manifest.check()?;
        let head = head_bytes(&manifest, self.manifest_length, &list, key)?;
        drop(list);
        let (manifest_digest, size) = read_back(&head, key)?;
        let tail = vec![0; tar_header::padding(stored.0) + 2 * BLOCK];
        Ok(SealedStream { manifest, manifest_digest, head, tail, sink, size })
    }
}

/// Returns the size of the head in bytes of a stream whose payload has at most `payload_size` stored bytes: the room to
/// reserve before the payload, where its place must be known before its length. `u64::MAX` gives the room that is enough
/// for every stream, at most 8.1 MiB. Refuses what [`StreamWriter::new`] refuses.
pub fn room(draft: &StreamDraft, recipients: &[Recipient], payload_size: u64) -> Result<u64> {
    let (measured, manifest_length) = measure(draft.clone(), recipients, CHUNK_SIZE)?;
    let list = payload_size.div_ceil(CHUNK_SIZE.into()).saturating_mul(DIGEST).min(LIST_MAX);
    Ok(without_list(&measured, manifest_length) + blocks(list))
}

/// Returns the size in bytes of everything in the head but the list of chunks.
fn without_list(measured: &StreamManifest, manifest_length: usize) -> u64 {
    let signature = signature::length(&measured.trusted_comment());
    4 * BLOCK as u64 + manifest_length as u64 + blocks(signature as u64)
}

/// Returns the manifest with the largest numbers in it, and its length in bytes, rounded up to a whole tar block.
fn measure(draft: StreamDraft, recipients: &[Recipient], chunk_size: u32) -> Result<(StreamManifest, usize)> {
    let measured = measured(draft, recipients, chunk_size);
    measured.check()?;
    let length = document::write(&measured, 0)?.len().next_multiple_of(BLOCK);
    Ok((measured, length))
}

/// Returns the manifest with the largest numbers that the format admits where the end of the stream will tell.
fn measured(draft: StreamDraft, recipients: &[Recipient], chunk_size: u32) -> StreamManifest {
    let StreamDraft { id, name, cluster_id, node_id, hostname, agent_version, started_at, as_of, command } = draft;
    let count = LIST_MAX / DIGEST;
    let mut manifest = StreamManifest {
        format: FORMAT,
        kind: StreamKind::Stream,
        id,
        name,
        cluster_id,
        sequence: u64::MAX,
        previous: Some(Digest::from([0; 32])),
        started_at,
        ended_at: jiff::Timestamp::MAX,
        as_of,
        command,
        exit_status: Some(i32::MIN),
        hostname,
        node_id,
        agent_version,
        payload: StreamPayload {
            name: String::new(),
            size: count * u64::from(chunk_size),
            sha256: Digest::from([0; 32]),
            plain_size: PLAIN_MAX,
            plain_sha256: Digest::from([0; 32]),
            recipients: recipients.iter().map(ToString::to_string).collect(),
            compression: "zstd".to_owned(),
        },
        chunks: Chunks { size: chunk_size, count, list_size: LIST_MAX, list_sha256: Digest::from([0; 32]) },
    };
    manifest.payload.name = manifest.payload_name().to_owned();
    manifest
}

fn head_bytes(manifest: &StreamManifest, length: usize, list: &[u8], key: &SecretKey) -> Result<Vec<u8>> {
    let bytes = document::write(manifest, length)?;
    let signature = signature::sign(key, &bytes, &manifest.trusted_comment());
    let mtime = manifest.ended_at.as_second().max(0) as u64;
    let mut head = Vec::new();
    tar_header::push_member(&mut head, MANIFEST_NAME, &bytes, mtime);
    tar_header::push_member(&mut head, SIGNATURE_NAME, signature.as_bytes(), mtime);
    tar_header::push_member(&mut head, LIST_NAME, list, mtime);
    let payload = &manifest.payload;
    head.extend_from_slice(tar_header::member(&payload.name, payload.size, mtime).as_bytes());
    Ok(head)
}

/// Reads the head as any other reader would. Returns the digest of the manifest and the size of the archive.
fn read_back(mut head: &[u8], key: &SecretKey) -> Result<(Digest, u64)> {
    let length = head.len() as u64;
    let verified = read_head(&mut head)?.verify(&TrustedKeys::from(key.public()))?;
    let found = (verified.manifest_digest, verified.archive_size);
    assert_eq!(verified.payload_offset, length, "the payload follows its head");
    verified.with_list(&mut head)?;
    Ok(found)
}

/// Unwraps an error of this crate that came through a writer.
fn own_error(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(Error::write)
}

impl<S: Write> Write for StreamWriter<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.layers.write(buffer)
    }

    /// Passes on what is complete. Costs compression, and is not needed.
    fn flush(&mut self) -> io::Result<()> {
        self.layers.flush()
    }
}

impl<S: Write> fmt::Debug for StreamWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamWriter({}, {} bytes)", self.measured.key(), self.plain_size())
    }
}

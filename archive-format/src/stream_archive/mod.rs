//! Archives of data streams, format 2: what one command wrote, of a length that nobody knew before it ended.
//!
//! Unlike a backup, a stream is written without a spool and released while it is read. So the manifest signs the digest
//! of a list, and the list has the SHA-256 of each chunk of the stored payload: a reader checks a chunk before a byte of
//! it goes on. The head comes first in the archive and is known last:
//!
//! - [`StreamWriter`] hands stored bytes to a sink as they come. [`StreamWriter::finish`] returns what belongs before
//!   them and after them. The caller holds back the first bytes of the payload until then, or reserves a [`room`].
//! - [`read_head`] reads the metadata of a stream from the first [`HEAD_LIMIT`](crate::HEAD_LIMIT) bytes, as that of a
//!   backup is read.
//! - [`StreamHead::with_list`] reads the list of chunks. [`ListedStream::unpack`] then writes what the stream holds, and
//!   returns `Ok` only at a proven end; [`ListedStream::check`] needs no identity.
//!
//! ```
//! use std::io::Write;
//!
//! use ring::rand::SystemRandom;
//! use swarmdr_archive::{
//!     BackupId, Identities, SecretKey, TrustedKeys,
//!     stream_archive::{self, StreamDraft, StreamEnding, StreamWriter},
//!     writer,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (identities, key) = (Identities::generate(), SecretKey::generate(&SystemRandom::new())?);
//! let started_at = "2026-01-02T03:04:05Z".parse()?;
//! let draft = StreamDraft {
//!     id: BackupId::new(started_at, [1, 2, 3, 4]),
//!     name: "shop-db".parse()?,
//!     cluster_id: "w1ymnkr1qaqfdkyvdpgekypgb".parse()?,
//!     node_id: None,
//!     hostname: "worker-1".into(),
//!     agent_version: "0.1.0".into(),
//!     started_at,
//!     as_of: started_at,
//!     command: vec!["pg_dump".into(), "-Fc".into(), "shop".into()],
//! };
//! let mut writer = StreamWriter::new(draft, &identities.recipients(), writer::DEFAULT_LEVEL, Vec::new())?;
//! writer.write_all(b"any number of bytes")?;
//! let ending = StreamEnding { sequence: 1, previous: None, ended_at: started_at, exit_status: Some(0) };
//! let sealed = writer.finish(ending, &key, 0)?;
//! let archive = [&sealed.head[..], &sealed.sink, &sealed.tail].concat();
//!
//! let mut input = &archive[..];
//! let head = stream_archive::read_head(&mut input)?.verify(&TrustedKeys::from(key.public()))?;
//! head.require(&"streams/w1ymnkr1qaqfdkyvdpgekypgb/shop-db/20260102T030405Z-01020304.stream".parse()?)?;
//! let mut out = Vec::new();
//! head.with_list(&mut input)?.unpack(&mut input, &identities, &mut out)?;
//! assert_eq!(out, b"any number of bytes");
//! # Ok(())
//! # }
//! ```

mod checked;
mod chunks;
mod head;
mod key;
mod listed;
mod manifest;
mod name;
mod released;
mod writer;

pub(crate) use head::LIST_NAME;
pub use head::{StreamHead, UnverifiedStreamHead, read_head};
pub use key::{STREAMS, StreamKey};
pub use listed::ListedStream;
pub use manifest::{
    Chunks, ENCRYPTED_PAYLOAD, FORMAT, PLAIN_PAYLOAD, StreamDraft, StreamEnding, StreamKind, StreamManifest,
    StreamPayload,
};
pub use name::StreamName;
pub use writer::{SealedStream, StreamWriter, room};

//! The signed document in clear at the head of a stream archive.
//!
//! A reader ignores keys that it does not know. A key that must be understood bumps [`FORMAT`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StreamKey, StreamName};
use crate::{
    backup_id::BackupId,
    digest::Digest,
    error::{Error, Result},
    limits::{CHUNK_SIZE, CHUNK_SIZE_MIN, LIST_MAX, PLAIN_MAX, RECIPIENTS_MAX},
    manifest::document::{self, invalid},
    swarm_node::{ClusterId, NodeId},
};

/// Format of a stream.
pub const FORMAT: u64 = 2;

/// Name of the payload when it is not encrypted.
pub const PLAIN_PAYLOAD: &str = "stream.zst";
/// Name of the payload when it is encrypted to age recipients.
pub const ENCRYPTED_PAYLOAD: &str = "stream.zst.age";

/// Size of a digest in the list of chunks, in bytes.
pub(super) const DIGEST: u64 = 32;

/// What is known of a stream when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDraft {
    /// Id of this stream; its time is `started_at` to the second.
    pub id: BackupId,
    /// Name of the stream, the same for each of its archives.
    pub name: StreamName,
    /// Swarm whose data the stream holds.
    pub cluster_id: ClusterId,
    /// Node on which the command ran, if it is known.
    pub node_id: Option<NodeId>,
    /// Name of the host on which the command ran.
    pub hostname: String,
    /// Version of the agent that made the archive.
    pub agent_version: String,
    /// Time when the command was started.
    pub started_at: Timestamp,
    /// Time of the data: that of a snapshot, or else `started_at`. No clock is compared with it.
    pub as_of: Timestamp,
    /// Command and its arguments, without its environment; empty if the data came from standard input. It is stored in
    /// clear, so it must hold no secret.
    pub command: Vec<String>,
}

/// What is known of a stream only when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEnding {
    /// Number among the streams of that name in its vault, from 1, one more with each.
    pub sequence: u64,
    /// SHA-256 of the manifest bytes of the stream before this one, of the same name in the same vault.
    pub previous: Option<Digest>,
    /// Time when the command had ended. If a clock was set back, the time of the start is stored instead.
    pub ended_at: Timestamp,
    /// Exit status of the command; `None` if nobody saw it.
    pub exit_status: Option<i32>,
}

/// Metadata of a stream. Strings come from the host of the command: treat them as text to display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamManifest {
    /// Format of the archive; always 2.
    pub format: u64,
    /// Kind of the archive.
    pub kind: StreamKind,
    /// See [`StreamDraft::id`].
    pub id: BackupId,
    /// See [`StreamDraft::name`].
    pub name: StreamName,
    /// See [`StreamDraft::cluster_id`].
    pub cluster_id: ClusterId,
    /// See [`StreamEnding::sequence`].
    pub sequence: u64,
    /// See [`StreamEnding::previous`].
    pub previous: Option<Digest>,
    /// See [`StreamDraft::started_at`].
    pub started_at: Timestamp,
    /// See [`StreamEnding::ended_at`].
    pub ended_at: Timestamp,
    /// See [`StreamDraft::as_of`].
    pub as_of: Timestamp,
    /// See [`StreamDraft::command`].
    pub command: Vec<String>,
    /// See [`StreamEnding::exit_status`].
    pub exit_status: Option<i32>,
    /// See [`StreamDraft::hostname`].
    pub hostname: String,
    /// See [`StreamDraft::node_id`].
    pub node_id: Option<NodeId>,
    /// See [`StreamDraft::agent_version`].
    pub agent_version: String,
    /// The fourth member of the archive.
    pub payload: StreamPayload,
    /// The third member of the archive, which lists the chunks of the fourth.
    pub chunks: Chunks,
}

/// Kind of an archive of format 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    /// What one command wrote.
    Stream,
}

/// The fourth member of the archive: its stored bytes, and what the command wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPayload {
    /// Name of the member: [`PLAIN_PAYLOAD`] or [`ENCRYPTED_PAYLOAD`].
    pub name: String,
    /// Number of stored bytes.
    pub size: u64,
    /// SHA-256 of the stored bytes.
    pub sha256: Digest,
    /// Number of bytes that the command wrote.
    pub plain_size: u64,
    /// SHA-256 of what the command wrote.
    pub plain_sha256: Digest,
    /// Age recipients; none if the payload is not encrypted.
    pub recipients: Vec<String>,
    /// Compression; always `zstd`.
    pub compression: String,
}

/// The third member of the archive: 32 bytes of SHA-256 for each chunk of the fourth as stored, in order, then zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunks {
    /// Number of stored bytes in each chunk; the last may be shorter.
    pub size: u32,
    /// Number of chunks.
    pub count: u64,
    /// Number of bytes of the list, the zeros at its end included.
    pub list_size: u64,
    /// SHA-256 of the list.
    pub list_sha256: Digest,
}

impl StreamManifest {
    /// Parses and checks manifest bytes. The result can be trusted as far as the signature over these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        document::check_format(bytes, FORMAT)?;
        let manifest: Self = document::read(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether unpacking needs an identity.
    pub fn is_encrypted(&self) -> bool {
        !self.payload.recipients.is_empty()
    }

    /// Returns the only place in a vault that the stream belongs to.
    pub fn key(&self) -> StreamKey {
        StreamKey { cluster: self.cluster_id.clone(), name: self.name.clone(), id: self.id }
    }

    /// Returns the trusted comment of its signature, for people who run `minisign -V`.
    pub(super) fn trusted_comment(&self) -> String {
        format!("{}stream {} {} cluster {}", super::head::OURS, self.name, self.id, self.cluster_id)
    }

    /// Returns the name that the payload must have.
    pub(super) fn payload_name(&self) -> &'static str {
        if self.is_encrypted() { ENCRYPTED_PAYLOAD } else { PLAIN_PAYLOAD }
    }

    /// Checks every rule of the format that the types do not enforce.
    pub(super) fn check(&self) -> Result<()> {
        if BackupId::new(self.started_at, [0; 4]).created_at() != self.id.created_at() {
            return Err(invalid("its id and its start disagree"));
        }
        if self.ended_at < self.started_at {
            return Err(invalid("it ended before it started"));
        }
        self.payload.check()?;
        if self.payload.name != self.payload_name() {
            return Err(invalid(format!("its recipients ask for a payload named {}", self.payload_name())));
        }
        self.chunks.check(self.payload.size)
    }
}

impl StreamPayload {
    fn check(&self) -> Result<()> {
        if self.compression != "zstd" {
            return Err(invalid("its compression is not zstd"));
        }
        if self.recipients.len() > RECIPIENTS_MAX {
            return Err(Error::limit("the number of recipients", RECIPIENTS_MAX as u64));
        }
        if self.plain_size > PLAIN_MAX {
            return Err(Error::limit("the size of what the stream holds", PLAIN_MAX));
        }
        Ok(())
    }
}

impl Chunks {
    fn check(&self, payload_size: u64) -> Result<()> {
        if !self.size.is_power_of_two() || !(CHUNK_SIZE_MIN..=CHUNK_SIZE).contains(&self.size) {
            return Err(invalid(format!("its chunks are not of a power of two from {CHUNK_SIZE_MIN} to {CHUNK_SIZE}")));
        }
        if self.list_size > LIST_MAX {
            return Err(Error::limit("the size of the list of chunks", LIST_MAX));
        }
        if self.count > self.list_size / DIGEST {
            return Err(invalid("its list of chunks is shorter than their number asks for"));
        }
        if payload_size == 0 || payload_size.div_ceil(self.size.into()) != self.count {
            return Err(invalid("its payload does not have the number of chunks that it names"));
        }
        Ok(())
    }
}

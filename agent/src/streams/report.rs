//! The outcome of storing a stream, for a person or a script.

use std::fmt;

use serde::Serialize;
use swarmdr_archive::{stream_archive::StreamManifest, untrusted::shown};
use swarmdr_vault::{Lock, Stored};

use crate::{
    host::files::space::human_bytes,
    outcome::{exit::Exit, memory::peak_memory},
    points::{Made, PointNote},
};

/// A stream as stored in one vault.
#[derive(Debug, Clone, Serialize)]
pub struct StoredStream {
    pub vault: String,
    pub key: String,
    pub version: String,
    /// Bytes of the object.
    pub size: u64,
    /// The retention in effect, read back; absent if the vault cannot lock.
    pub lock: Option<Lock>,
}

/// The stable JSON form of `put --json`.
#[derive(Debug, Serialize)]
pub struct PutReport {
    pub result: &'static str,
    pub name: String,
    pub id: String,
    pub cluster: String,
    pub sequence: u64,
    pub as_of: String,
    pub started_at: String,
    pub ended_at: String,
    /// Exit status of the command; absent if the stream came from standard input.
    pub exit_status: Option<i32>,
    /// Bytes that the command wrote.
    pub size: u64,
    /// SHA-256 of what the command wrote.
    pub sha256: String,
    pub kept: Vec<StoredStream>,
    /// The recovery point that names this stream; absent if none could be stored.
    pub point: Option<PointNote>,
    /// Peak resident memory of the agent, in bytes.
    pub peak_memory: u64,
    /// Findings for the operator, although the stream is stored.
    pub attention: Vec<String>,
}

impl StoredStream {
    pub fn new(vault: &str, stored: Stored) -> Self {
        Self {
            vault: vault.to_owned(),
            key: stored.at.key,
            version: stored.at.id,
            size: stored.size,
            lock: stored.lock,
        }
    }
}

impl PutReport {
    pub fn new(manifest: StreamManifest, kept: Vec<StoredStream>, attention: Vec<String>) -> Self {
        Self {
            result: exit(&attention).word(),
            name: manifest.name.to_string(),
            id: manifest.id.to_string(),
            cluster: manifest.cluster_id.to_string(),
            sequence: manifest.sequence,
            as_of: manifest.as_of.to_string(),
            started_at: manifest.started_at.to_string(),
            ended_at: manifest.ended_at.to_string(),
            exit_status: manifest.exit_status,
            size: manifest.payload.plain_size,
            sha256: manifest.payload.plain_sha256.to_string(),
            kept,
            point: None,
            peak_memory: peak_memory(),
            attention,
        }
    }

    /// Adds the recovery point that was made after it; one that could not be stored needs attention.
    #[must_use]
    pub fn with_point(mut self, made: Made) -> Self {
        self.attention.extend(made.attention);
        Self { result: exit(&self.attention).word(), point: made.point, ..self }
    }

    pub fn exit(&self) -> Exit {
        exit(&self.attention)
    }
}

fn exit(attention: &[String]) -> Exit {
    Exit::with_attention(!attention.is_empty())
}

impl fmt::Display for PutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stream {} {} stored: {}", self.name, self.id, human_bytes(self.size))?;
        for kept in &self.kept {
            write!(f, "  {}: {}", shown(&kept.vault), human_bytes(kept.size))?;
            match &kept.lock {
                Some(lock) => writeln!(f, ", locked until {}", lock.until)?,
                None => writeln!(f)?,
            }
        }
        if let Some(point) = &self.point {
            writeln!(f, "  {point}")?;
        }
        for finding in &self.attention {
            writeln!(f, "  attention: {}", shown(finding))?;
        }
        Ok(())
    }
}

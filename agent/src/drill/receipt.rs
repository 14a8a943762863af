//! What a drill found out, as it is signed and stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, Digest, manifest::Counts};

/// Of the document. Raised when an older agent could misread it.
pub const VERSION: u32 = 1;

/// The signed document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub version: u32,
    /// Of the drill; of the same form as those of backups, and part of the receipt's key.
    pub id: BackupId,
    pub backup: BackupId,
    pub cluster_id: String,
    /// SHA-256 of the backup's manifest, so that it speaks of these very bytes.
    pub manifest_digest: Digest,
    pub at: Timestamp,
    /// Where the drill was held.
    pub host: String,
    pub agent: String,
    /// Version of the engine that booted the state; empty if none did.
    pub engine: String,
    pub outcome: Outcome,
    /// What failed.
    pub problem: Option<String>,
    /// From the fetch to the last trace of the second engine.
    pub seconds: f64,
    pub counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An engine booted the state, and everything recorded was there.
    Proven,
    Failed,
}

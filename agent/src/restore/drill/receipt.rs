//! The result of a drill, as it is signed and stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId, Digest, manifest::Counts};

use super::items::ItemsOutcome;

/// Version of the document. Raised when an older agent could misread it.
pub const VERSION: u32 = 1;

/// The signed document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub version: u32,
    /// Id of the drill, in the form of backup ids; part of the receipt's key.
    pub id: BackupId,
    pub backup: BackupId,
    pub cluster_id: ClusterId,
    /// SHA-256 of the backup's manifest, which binds the receipt to these bytes.
    pub manifest_digest: Digest,
    pub at: Timestamp,
    /// Host of the drill.
    pub host: String,
    pub agent: String,
    /// Version of the second engine; empty if none was started.
    pub engine: String,
    pub outcome: Outcome,
    /// Reason of a failure.
    pub problem: Option<String>,
    /// Duration from the fetch to the removal of the second engine.
    pub seconds: f64,
    pub counts: Counts,
    /// Whether single objects can be brought back as they were; absent if that was not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemsOutcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// True if an engine started with the state, and everything recorded was there.
    Proven,
    Failed,
}

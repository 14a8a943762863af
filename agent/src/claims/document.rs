//! The signed documents: a claim, and its release.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId, Digest};

use super::ClaimId;

/// Version of both documents. Raised when an older agent could misread them.
pub const VERSION: u32 = 1;

/// The word of a promoter that a site has the swarm from this epoch on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub version: u32,
    /// Number of the claim, from 1; part of its key.
    pub epoch: u32,
    pub cluster_id: ClusterId,
    /// SHA-256 of the document of the newest claim before this one, which this one follows.
    pub previous: Option<Digest>,
    pub claim_id: ClaimId,
    /// Name of the site, for people.
    pub site: String,
    /// Where the manager of this site answers.
    pub addresses: Vec<SocketAddr>,
    pub promoted_from: PromotedFrom,
    pub verb: Verb,
    /// Time by the clock of the host that made it; the vault's decides.
    pub at: Timestamp,
    pub reason: Option<String>,
    /// How each old manager was dealt with.
    pub fence: Vec<Fenced>,
    /// True if the state was formed beforehand, so its log is no longer the backup's.
    pub formed: bool,
}

/// The backup that the site starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotedFrom {
    pub backup: BackupId,
    pub manifest_digest: Digest,
}

/// What made a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Restore,
    Promote,
}

impl Verb {
    pub fn word(self) -> &'static str {
        match self {
            Verb::Restore => "restore",
            Verb::Promote => "promote",
        }
    }
}

/// What is known of an old manager at the time of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    pub address: String,
    pub how: String,
}

/// What a release ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseKind {
    /// What the claim was made for did not come about: it never counted.
    Undone,
    /// The site had the swarm and lets another one be promoted. Sites from before its claim stay superseded.
    SteppedDown,
}

/// The word of a promoter that the site of a claim gave the swarm up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub version: u32,
    pub epoch: u32,
    pub cluster_id: ClusterId,
    /// The claim that ends. Another claim of the same epoch is not concerned.
    pub claim_id: ClaimId,
    pub kind: ReleaseKind,
    pub site: String,
    pub at: Timestamp,
    pub reason: String,
}

//! What the last restore of this host says of the swarm that it has now.

use serde::{Deserialize, Serialize};

use super::ClaimId;

/// Whether a restore brought this very swarm to this host. The label of its claim may come late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// There was no restore with a claim, or nobody could look.
    #[default]
    Unknown,
    /// It did, with this claim.
    Restored(ClaimId),
    /// It made this claim, and this host has another swarm now, or is another node of it, as one that was joined to it.
    Elsewhere(ClaimId),
}

//! What a restore wants of its claim, what became of it, and what the report says of that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claims::{Claim, ClaimId, Fenced, Made, Verb};

/// How a restore claims its swarm.
#[derive(Debug, Clone)]
pub struct Claiming {
    pub verb: Verb,
    pub reason: Option<String>,
    /// How old managers were dealt with, as far as the caller did that.
    pub fence: Vec<Fenced>,
    /// True if the state was formed beforehand.
    pub formed: bool,
    /// The claim that the swarm carries in a state that was formed beforehand.
    pub carried: Option<ClaimId>,
    /// Time that each vault gets to show its claims, and again to take this one; `None` if it gets what it needs.
    pub limit: Option<Duration>,
}

impl Default for Claiming {
    fn default() -> Self {
        Self { verb: Verb::Restore, reason: None, fence: Vec::new(), formed: false, carried: None, limit: None }
    }
}

/// What became of the claim, as the journal keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// `None` if no claim was made.
    pub made: Option<Made>,
    /// The claim that a vault may have taken, though none said so. Given up like one that was made.
    #[serde(default)]
    pub perhaps: Option<Box<Claim>>,
    /// True until the swarm carries the claim.
    pub is_owed: bool,
    /// What the operator should see when the swarm is back.
    pub attention: Vec<String>,
}

impl Claimed {
    /// The claim of the restore that is, or may be, in a vault.
    pub fn claim(&self) -> Option<&Claim> {
        self.made.as_ref().map(|made| &made.claim).or(self.perhaps.as_deref())
    }
}

/// The part of a report that tells of the claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimReport {
    pub epoch: u32,
    pub id: ClaimId,
    pub vaults: Vec<String>,
    /// The claim that held before.
    pub superseded: Option<Claim>,
}

impl ClaimReport {
    pub fn of(made: &Made) -> Self {
        Self {
            epoch: made.claim.epoch,
            id: made.id(),
            vaults: made.vaults.clone(),
            superseded: made.superseded.clone(),
        }
    }
}

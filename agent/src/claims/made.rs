//! What a caller asks for when it makes a claim, and what it gets.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use swarmdr_archive::ClusterId;

use super::{Claim, ClaimId, Fenced, PromotedFrom, Verb};

/// A claim that is to be made. Epoch, identity and time are added.
#[derive(Debug, Clone)]
pub struct Draft {
    pub cluster_id: ClusterId,
    pub site: String,
    pub addresses: Vec<SocketAddr>,
    pub promoted_from: PromotedFrom,
    pub verb: Verb,
    pub reason: Option<String>,
    pub fence: Vec<Fenced>,
    pub formed: bool,
}

/// Terms on which a claim is made.
#[derive(Debug, Clone)]
pub struct Terms {
    /// True if the operator vouches that the site of the newest claim is gone: its age does not matter then.
    pub fenced: bool,
    /// What the swarm carries in the backup. If no vault shows that claim, there are claims that are not seen.
    pub carried: Carried,
    pub demand: Demand,
    /// Time that each vault gets to show its claims, and again to take this one; `None` if it gets what it needs.
    pub limit: Option<Duration>,
}

/// The claim that a swarm carries in a state that is to be restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Carried {
    #[default]
    Nothing,
    Claim(ClaimId),
    /// Nobody looked, as in a state that was formed before claims were known: it may carry one.
    Unknown,
}

impl From<Option<ClaimId>> for Carried {
    fn from(label: Option<ClaimId>) -> Self {
        label.map_or(Self::Nothing, Self::Claim)
    }
}

/// What has to be if no vault takes the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing goes on without a claim.
    Always,
    /// A vault that can be read and takes no claim (denied, full, failing) does not stop an operator who never asked for
    /// claims. One of which nothing is known does.
    UnlessUnknown,
    /// The vaults may be gone as well, as with an archive in a file.
    IfPossible,
}

/// How an attempt to make a claim ended, other than by a lost race, which is an error with exit code 3.
#[derive(Debug)]
pub enum Outcome {
    Made(Box<Made>),
    /// No vault is known to have taken it, and the [`Demand`] lets the caller go on.
    NotMade {
        /// A sentence for each vault.
        why: Vec<String>,
        /// The claim, if a vault may have taken it all the same, as where the reply was lost.
        perhaps: Option<Box<Claim>>,
    },
}

impl Outcome {
    /// Adds what the operator should see.
    pub(super) fn telling(mut self, told: Vec<String>) -> Self {
        match &mut self {
            Self::Made(made) => made.attention.extend(told),
            Self::NotMade { why, .. } => why.extend(told),
        }
        self
    }
}

/// A claim that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    #[serde(flatten)]
    pub claim: Claim,
    /// Vaults in which it holds.
    pub vaults: Vec<String>,
    /// The claim that held before; `None` if there was none.
    pub superseded: Option<Claim>,
    /// True if an earlier run of this host made it.
    pub is_earlier: bool,
    /// What the operator should see: vaults that did not take it. Exit 6.
    pub attention: Vec<String>,
}

impl Made {
    pub fn id(&self) -> ClaimId {
        self.claim.claim_id
    }
}

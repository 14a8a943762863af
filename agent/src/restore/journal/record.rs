//! The record of a restore: the content of the journal.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarm_state::Inventory;
use swarmdr_archive::{BackupId, NodeId, manifest::Counts};
use swarmdr_registry::Rule;

use super::Phase;
use crate::restore::{claim::claimed::Claimed, images::renew::Owed, plan::RestorePlan};

/// Version of the file. Raised when an older agent could misread it.
pub(super) const VERSION: u32 = 1;

/// The content of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub phase: Phase,
    /// Start of the run.
    pub begun_at: Timestamp,
    pub plan: RestorePlan,
    /// Directory that the old state is moved to; `None` if there was none.
    pub aside: Option<PathBuf>,
    pub counts: Counts,
    /// Inventory of the backup, which the restored swarm is compared with. Dropped when the restore is complete.
    pub recorded: Option<Inventory>,
    /// At another address: id of the node that this host became. Absent until it has the whole state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<NodeId>,
    /// `swarm-node.key` of an autolocked state as it was backed up, encrypted: it replaces the decrypted one.
    pub locked_key: Option<String>,
    /// Set until all services were looked at that are to follow their images to other places: the rules of the command
    /// line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<Vec<Rule>>,
    /// Services that were left then, for later runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed: Option<Owed>,
    /// The claim on the swarm; absent if none was to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claimed>,
    /// The completed record of an earlier restore: valid again if this one is undone.
    pub previous: Option<Box<Record>>,
}

impl Record {
    pub fn new(
        begun_at: Timestamp,
        plan: RestorePlan,
        aside: Option<PathBuf>,
        counts: Counts,
        recorded: Inventory,
    ) -> Self {
        Self {
            version: VERSION,
            phase: Phase::Ready,
            begun_at,
            plan,
            aside,
            counts,
            recorded: Some(recorded),
            joined: None,
            locked_key: None,
            follow: None,
            owed: None,
            claim: None,
            previous: None,
        }
    }

    /// Whether the swarm that comes back if this restore is undone is that of the same claim.
    pub fn is_on_claim_of_previous(&self) -> bool {
        let id = |record: &Self| record.claim.as_ref().and_then(Claimed::claim).map(|claim| claim.claim_id);
        let previous = self.previous.as_deref().and_then(id);
        previous.is_some() && previous == id(self)
    }

    /// Backup and start of a restore that is complete.
    pub fn restored(&self) -> Option<(BackupId, Timestamp)> {
        (self.phase == Phase::Done).then_some((self.plan.id, self.begun_at))
    }
}

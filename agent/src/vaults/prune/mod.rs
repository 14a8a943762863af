//! Removes old archives from vaults, as a plan first.
//!
//! For each cluster in each vault, and for each name of its streams, the policy decides which archives stay; the newest
//! always does, of backups the newest proven one, and what the newest complete recovery point names. A recovery point
//! stays as long as what it names, or else until it is older than the policies keep anything. Only good archives are removed: forged or damaged ones are for an
//! operator to look at. A locked version stays until its lock ends. Credentials of an agent should not be able to delete
//! in a bucket at all, so there the plan is only shown unless the owner asks for more.

mod decision;
mod flow;
mod held;
mod life;
pub mod lifecycle;
mod points;
mod report;

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{ClusterId, stream_archive::StreamName};

use crate::{config::retention::Policy, host::shutdown::Shutdown, outcome::failure::Failure, vaults::Connected};

pub use decision::{Act, PruneDecision, plan};
pub use flow::{Request, run};
pub use held::list;
pub use life::LifePlan;
pub use points::PointPlan;
pub use report::PruneReport;

/// The plan for one cluster in one vault.
#[derive(Debug, Clone, Serialize)]
pub struct VaultPlan {
    pub vault: String,
    pub cluster: ClusterId,
    /// Decisions, newest backup first.
    pub backups: Vec<PruneDecision>,
    /// The lifecycle rule that suits the policy, if the vault is a bucket.
    pub lifecycle: Option<serde_json::Value>,
    /// False if the plan is only shown: for a bucket, unless versions are to be deleted one by one.
    pub acts: bool,
}

/// The plan for the streams of one name in one vault.
#[derive(Debug, Clone, Serialize)]
pub struct StreamPlan {
    pub vault: String,
    pub cluster: ClusterId,
    pub name: StreamName,
    /// The policy of this stream.
    pub policy: Policy,
    /// Decisions, newest stream first.
    pub streams: Vec<PruneDecision>,
    /// As [`VaultPlan::acts`].
    pub acts: bool,
}

/// Removes what was decided, oldest first, so that an interrupted run has removed the least valuable. Returns how many.
/// `one` is the name of an archive of this series without its id.
async fn carry_out(decisions: &[PruneDecision], one: &str, connected: &Connected, shutdown: &Shutdown) -> Result<u64> {
    let (mut removed, vault) = (0, &connected.settings.url);
    for decision in decisions.iter().filter(|decision| decision.act == Act::Remove).rev() {
        shutdown.check()?;
        let deleted = connected.vault.delete_version(&decision.at).await;
        deleted.map_err(|cause| {
            Failure::failed(format!("failed to remove {one} {} from {vault}", decision.id))
                .advice("credentials that make backups should not be able to delete them: set the lifecycle rule")
                .because(cause)
        })?;
        tracing::info!(vault, "removed {one} {}", decision.id);
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;

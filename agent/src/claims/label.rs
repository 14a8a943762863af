//! The label by which a swarm knows its claim, so that every manager does, those too that join later.

use anyhow::Result;
use swarm_state::Inventory;

use super::ClaimId;
use crate::host::engine::Engine;

/// Name of the label of the swarm.
pub const LABEL: &str = "swarmdr.claim";

/// Returns the claim that this host's swarm carries; `None` if it has none that can be read.
pub async fn read(engine: &Engine) -> Result<Option<ClaimId>> {
    Ok(engine.swarm_label(LABEL).await?.and_then(|text| text.parse().ok()))
}

/// Returns the claim that a swarm carries in a state that was read.
pub fn in_state(inventory: &Inventory) -> Option<ClaimId> {
    inventory.cluster.labels.as_ref()?.get(LABEL)?.parse().ok()
}

/// Makes the swarm carry the claim. Returns true if it did not already.
pub async fn write(engine: &Engine, claim: ClaimId) -> Result<bool> {
    engine.set_swarm_label(LABEL, &claim.to_string()).await
}

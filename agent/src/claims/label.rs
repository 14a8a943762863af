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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_of_a_state_is_its_label_if_that_is_one() {
        let in_state = |labels: &str| {
            let json = format!(
                r#"{{"version":1,"cluster":{{"id":"c"{labels}}},"nodes":[],"services":[],"networks":[],"secrets":[],"configs":[],"tasks":{{}}}}"#
            );
            super::in_state(&serde_json::from_str(&json).expect("is an inventory"))
        };
        let id = ClaimId::of(7);
        assert_eq!(in_state(&format!(r#","labels":{{"swarmdr.claim":"{id}"}}"#)), Some(id));
        for none in ["", r#","labels":{}"#, r#","labels":{"swarmdr.claim":"x"}"#] {
            assert_eq!(in_state(none), None, "{none}");
        }
    }
}

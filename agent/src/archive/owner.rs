//! The node that a state directory belongs to.

use anyhow::{Context, Result};
use swarm_state::Identity;
use swarmdr_archive::SwarmNode;

/// Returns the node that the certificate of a state names. `swarm_state` reads the names as they stand there; whatever
/// becomes part of a manifest, a key or a path obeys the rule of ids.
pub fn of(identity: &Identity) -> Result<SwarmNode> {
    SwarmNode::parse(&identity.cluster_id, &identity.node_id)
        .context("the node certificate names an unusable cluster or node; it is not one of a swarm")
}

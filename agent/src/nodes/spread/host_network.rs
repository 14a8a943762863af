//! The network of a host itself, which services can use too.
//!
//! The swarm has a copy of each network that every engine has of its own, with an id that services refer to. No engine lists
//! these copies, and each describes one by its id (moby `daemon/cluster/networks.go`, `filterPredefinedNetworks`).

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::bonds;
use crate::host::engine::{Refusal, objects::Objects};

/// Asks for the networks of services that no engine lists, as those that each host has of its own, and returns the ids of
/// the hosts' network.
pub async fn ids(objects: &Objects, services: &[Value]) -> Result<BTreeSet<String>> {
    let mut unlisted: BTreeSet<&str> = services.iter().flat_map(|object| bonds::networks(&object["Spec"])).collect();
    if unlisted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let listed = objects.list(ObjectKind::Network).await?;
    listed.iter().filter_map(|network| network["Id"].as_str()).for_each(|id| _ = unlisted.remove(id));
    let mut found = BTreeSet::new();
    for id in unlisted {
        match objects.one(ObjectKind::Network, id).await {
            // A service that is removed at this moment may refer to a network that is gone.
            Err(error) if Refusal::is_not_found(&error) => {}
            network => _ = is_of_host(&network?).then(|| found.insert(id.to_owned())),
        }
    }
    Ok(found)
}

/// Whether a network, as the engine describes it, is the swarm's copy of the hosts' own one.
fn is_of_host(network: &Value) -> bool {
    network["Driver"] == "host" || network["Name"] == "host"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_network_of_the_host_is_known_by_its_driver_or_name() {
        assert!(is_of_host(&json!({ "Name": "host", "Driver": "host" })) && is_of_host(&json!({ "Name": "host" })));
        assert!(
            !is_of_host(&json!({ "Name": "net", "Driver": "overlay" })) && !is_of_host(&json!({ "Name": "bridge" }))
        );
    }
}

//! A swarm in the words of its leader, as one of its managers hands them on.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::swarm::Inventory;

/// What only a manager can tell: the cluster and all of its objects. A witness only: the raft log is exact, and this may
/// lack what an engine does not tell.
#[derive(Debug, Clone)]
pub struct ManagerView {
    /// Raft positions, secret sizes and task counts are absent.
    pub inventory: Inventory,
    pub nodes: Vec<Node>,
    /// As they were listed; never to be written back.
    pub services: Vec<Value>,
    /// What was not understood or could not be listed, by name.
    pub unclear: Vec<String>,
}

/// A node as its leader sees it; texts are empty where it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    pub hostname: String,
    /// Wanted role: `manager` or `worker`.
    pub role: String,
    /// `active`, `pause` or `drain`.
    pub availability: String,
    /// `unknown`, `down`, `ready` or `disconnected`.
    pub state: String,
    pub addr: Option<String>,
    pub engine_version: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Raft index that the leader had applied when the object last changed.
    pub version: Option<u64>,
    /// Of members of the raft group only.
    pub manager: Option<ManagerStatus>,
}

/// A member of the raft group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagerStatus {
    /// Where it is in the raft log.
    pub addr: Option<String>,
    pub leader: bool,
    pub reachable: bool,
}

impl Node {
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }

    pub fn is_manager_by_role(&self) -> bool {
        self.role == "manager"
    }
}

impl ManagerView {
    /// The node of this id, as the cluster knows it.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Where a manager is in the raft log.
    pub fn raft_addr(&self, id: &str) -> Option<String> {
        self.node(id)?.manager.as_ref()?.addr.clone()
    }

    /// The highest raft index that any object says it was changed at; networks do not say it.
    pub fn newest_version(&self) -> Option<u64> {
        let listed = &self.inventory;
        let nodes = self.nodes.iter().filter_map(|it| it.version);
        nodes
            .chain(listed.cluster.version_index)
            .chain(listed.services.iter().filter_map(|it| it.version_index))
            .chain(listed.secrets.iter().filter_map(|it| it.version_index))
            .chain(listed.configs.iter().filter_map(|it| it.version_index))
            .max()
    }

    pub fn auto_lock(&self) -> bool {
        self.inventory.cluster.autolock.unwrap_or_default()
    }

    /// `CAConfig.ForceRotate`: must be handed back at a restore, else the engine starts a root CA
    /// rotation (swarmkit `controlapi/ca_rotation.go`).
    pub fn force_rotate(&self) -> u64 {
        self.inventory.cluster.force_rotate.unwrap_or_default()
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::{inspection::tests::inventory_of, swarm::inventory::Cluster};

    /// Of this cluster and these nodes, with nothing in it.
    pub fn view_of(cluster: Cluster, nodes: Vec<Node>) -> ManagerView {
        ManagerView { inventory: inventory_of(cluster), nodes, services: Vec::new(), unclear: Vec::new() }
    }
}

//! A swarm as its leader sees it, through the API of one of its managers.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Result, bail};
use serde_json::Value;
use swarm_state::Inventory;
use swarmdr_archive::NodeId;

/// The cluster and all of its objects, which only a manager lists. For comparison only: the raft log is exact, and this
/// may lack what an engine does not list.
#[derive(Debug, Clone)]
pub struct ManagerView {
    /// Raft positions, secret sizes and task counts are absent.
    pub inventory: Inventory,
    pub nodes: Vec<Node>,
    /// The services as they were listed; never to be written back.
    pub services: Vec<Value>,
    /// Notes about everything that was not understood or could not be listed.
    pub unclear: Vec<String>,
}

/// A node as its leader sees it; strings are empty where the listing has none.
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
    /// `linux/x86_64`.
    pub platform: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// The raft index that the leader had applied when the object last changed.
    pub version: Option<u64>,
    /// The node's part in the raft group; `None` if it is no member.
    pub manager: Option<ManagerStatus>,
}

/// A member of the raft group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagerStatus {
    /// The manager's address in the raft log.
    pub addr: Option<String>,
    pub leader: bool,
    pub reachable: bool,
}

impl Node {
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }

    pub fn is_down(&self) -> bool {
        self.state == "down"
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

    /// The address of a manager in the raft log.
    pub fn raft_addr(&self, id: &NodeId) -> Option<SocketAddr> {
        self.node(id.as_str())?.manager.as_ref()?.addr.as_deref()?.parse().ok()
    }

    /// Fails if the restored manager is not at this address in the raft log.
    pub fn require_raft_addr(&self, id: &NodeId, expected: SocketAddr) -> Result<()> {
        match self.raft_addr(id) {
            Some(addr) if addr == expected => Ok(()),
            Some(addr) => bail!("the restored manager is at {addr} in its raft log, not at {expected}"),
            None => bail!("the restored manager has no address in its raft log; {expected} was expected"),
        }
    }

    /// The highest raft index at which any object was changed; networks do not have one.
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

    /// `CAConfig.ForceRotate`: a restore must send it back unchanged, else the engine starts a root CA rotation
    /// (swarmkit `controlapi/ca_rotation.go`).
    pub fn force_rotate(&self) -> u64 {
        self.inventory.cluster.force_rotate.unwrap_or_default()
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use swarm_state::inventory::Cluster;

    /// A view of this cluster and these nodes without any other object.
    pub fn view_of(cluster: Cluster, nodes: Vec<Node>) -> ManagerView {
        ManagerView { inventory: Inventory::empty(cluster), nodes, services: Vec::new(), unclear: Vec::new() }
    }
}

//! Inventory of a swarm as plain data: ids, names, counts and positions, but never the value of a secret or a token.
//!
//! The JSON form is stable. Lists are sorted by id. A field that a source cannot know is absent: the raft log
//! has no reachability, the Engine API no raft terms. [`compare()`] compares only fields that both sides know.
//!
//! Some fields are common to all kinds of objects. `id` was given by swarm; `name` and `labels` (values by name) are
//! those of the spec. `version_index`, `created_at` and `updated_at` are from the object's `Meta`: the raft index of the
//! last change, by a user or by the swarm itself, and times by the clock of the leader at that time.

mod compare;
mod loss;
mod objects;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use compare::{Change, Difference, ObjectKind, compare, diff};
pub use loss::Compared;
pub use objects::{Config, Network, Node, Secret, Service, Volume};

/// Version of the JSON form. It is raised when a field changes its meaning or is removed, not when one is added.
pub const INVENTORY_VERSION: u32 = 1;

/// Inventory of a swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`INVENTORY_VERSION`] of the writer.
    pub version: u32,
    /// The cluster object.
    pub cluster: Cluster,
    /// Position in the raft log; absent if the source is the Engine API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<Raft>,
    /// All nodes, including those that are down.
    pub nodes: Vec<Node>,
    /// Services of every mode, those that install plugins included.
    pub services: Vec<Service>,
    /// Networks of swarm scope. Swarm's copies of the engine's own `bridge` and `host` are not listed, as in
    /// the Engine API.
    pub networks: Vec<Network>,
    /// All secrets except swarm's internal ones, which the Engine API hides too.
    pub secrets: Vec<Secret>,
    /// All configs, without their content.
    pub configs: Vec<Config>,
    /// Cluster (CSI) volumes; `None` if the engine is too old to have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<Volume>>,
    /// Number of tasks by state, e.g. `running`. It changes all the time, so it is never compared.
    pub tasks: BTreeMap<String, u64>,
}

/// Facts about the cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Organization of the certificates of all its nodes.
    pub id: String,
    /// Name; `default` on every engine so far.
    pub name: String,
    /// Labels of the swarm, from a log only; absent if it has none. They are not compared: a restore adds one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// Whether managers need an unlock key at start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autolock: Option<bool>,
    /// Digest of the root CA; see [`root_ca_digest()`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_ca_digest: Option<String>,
    /// End of the root CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_ca_not_after: Option<Timestamp>,
    /// Whether the cluster has the key of its root CA. Without it no node certificate can be renewed unless an
    /// external CA answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_ca_key: Option<bool>,
    /// Whether a rotation of the root CA is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_rotation: Option<bool>,
    /// URLs of external CAs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_cas: Option<Vec<String>>,
    /// `CAConfig.ForceRotate`. A restore must send it back unchanged, or a root rotation begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_rotate: Option<u64>,
    /// Value of `force_rotate` at the last completed rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_forced_rotation: Option<u64>,
    /// Lifetime of node certificates in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_cert_expiry_seconds: Option<i64>,
    /// VXLAN port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_path_port: Option<u32>,
    /// Address pools from which overlay networks get their subnets, in CIDR form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_address_pools: Option<Vec<String>>,
    /// Prefix length of these subnets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet_size: Option<u32>,
    /// Number of log entries between two raft snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_interval: Option<u64>,
    /// Digests of the join tokens, to detect a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_token_digests: Option<JoinTokenDigests>,
}

/// SHA-256 of the join tokens as hex. A token has 128 random bits, so the digest reveals nothing about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenDigests {
    /// Digest of the worker token.
    pub worker: String,
    /// Digest of the manager token.
    pub manager: String,
}

/// Position in the raft log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raft {
    /// Raft id of the node that wrote this log.
    pub raft_id: u64,
    /// Last term that the node has seen.
    pub term: u64,
    /// Commit index: a majority has agreed up to here. The inventory is the state at this index.
    pub commit: u64,
    /// Last index in the log. Entries after `commit` may never have been committed.
    pub last_index: u64,
    /// Index of the snapshot file that the engine would start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_index: Option<u64>,
    /// Current managers, sorted by raft id.
    pub members: Vec<Member>,
    /// Raft ids of former members, which can never be members again, sorted.
    pub removed: Vec<u64>,
}

/// A manager as raft knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Random number that raft knows the manager by; a new one each time a node becomes a manager.
    pub raft_id: u64,
    /// Id of the node; unknown in a sealed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// Host and port; unknown in a sealed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
}

/// Returns a digest of a root CA that is the same for the file, the store and the Engine API (`TLSInfo.TrustRoot`):
/// SHA-256 as hex of the PEM text without white space around it.
pub fn root_ca_digest(pem: &[u8]) -> String {
    super::digest(pem.trim_ascii())
}

impl Inventory {
    /// Returns an inventory with the cluster and nothing else.
    #[must_use]
    pub fn empty(cluster: Cluster) -> Self {
        Self {
            version: INVENTORY_VERSION,
            cluster,
            raft: None,
            nodes: Vec::new(),
            services: Vec::new(),
            networks: Vec::new(),
            secrets: Vec::new(),
            configs: Vec::new(),
            volumes: None,
            tasks: BTreeMap::new(),
        }
    }

    /// Sorts all lists as documented. Every function that builds an inventory calls this last.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.nodes.sort_by(|a, b| a.id.cmp(&b.id));
        self.services.sort_by(|a, b| a.id.cmp(&b.id));
        self.networks.sort_by(|a, b| a.id.cmp(&b.id));
        self.secrets.sort_by(|a, b| a.id.cmp(&b.id));
        self.configs.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(volumes) = &mut self.volumes {
            volumes.sort_by(|a, b| a.id.cmp(&b.id));
        }
        for service in &mut self.services {
            service.networks.sort();
            service.secrets.sort();
            service.configs.sort();
        }
        for network in &mut self.networks {
            network.subnets.sort();
        }
        self
    }

    /// Returns the number of objects by kind.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let volumes = self.volumes.as_ref().map_or(0, Vec::len);
        let counts = [
            ("nodes", self.nodes.len()),
            ("services", self.services.len()),
            ("networks", self.networks.len()),
            ("secrets", self.secrets.len()),
            ("configs", self.configs.len()),
            ("volumes", volumes),
        ];
        let mut counts: BTreeMap<_, _> = counts.into_iter().map(|(kind, n)| (kind.to_owned(), n as u64)).collect();
        counts.insert("tasks".to_owned(), self.tasks.values().sum());
        counts
    }
}

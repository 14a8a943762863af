//! What a swarm holds, as plain data: ids, names, counts and positions; never a value of a secret or a token.
//!
//! The JSON form is stable. Lists are sorted by id. A field that a source cannot know is absent: the raft log
//! knows nothing of reachability, the Engine API nothing of raft terms. [`compare()`] looks only at what both sides know.

mod compare;
mod loss;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use compare::{Change, Difference, ObjectKind, compare, diff};
pub use loss::Compared;

/// Version of the JSON form. Raised when a field changes its meaning or goes away, not when one is added.
pub const INVENTORY_VERSION: u32 = 1;

/// What a swarm holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`INVENTORY_VERSION`] of the writer.
    pub version: u32,
    /// The cluster itself.
    pub cluster: Cluster,
    /// Position in the raft log; the Engine API does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<Raft>,
    /// All nodes, down ones too.
    pub nodes: Vec<Node>,
    /// All services.
    pub services: Vec<Service>,
    /// Networks of swarm scope. The engine's own `bridge` and `host`, which swarm keeps copies of, are not listed;
    /// neither does the Engine API list them.
    pub networks: Vec<Network>,
    /// All secrets but swarm's internal ones, which the Engine API hides too.
    pub secrets: Vec<Secret>,
    /// All configs.
    pub configs: Vec<Config>,
    /// Cluster (CSI) volumes; `None` where the engine is too old to know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<Volume>>,
    /// Number of tasks by state, e.g. `running`. Changes all the time, so it is never compared.
    pub tasks: BTreeMap<String, u64>,
}

/// Facts about the cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Cluster id.
    pub id: String,
    /// `default` on every engine so far.
    pub name: String,
    /// Version index of the cluster object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    /// When the cluster was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Last change of the cluster object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// Whether managers need an unlock key at start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autolock: Option<bool>,
    /// See [`root_ca_digest()`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_ca_digest: Option<String>,
    /// End of the root CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_ca_not_after: Option<Timestamp>,
    /// Whether the cluster holds the key of its root CA. Without it no node certificate can be renewed
    /// unless an external CA answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_ca_key: Option<bool>,
    /// Whether a rotation of the root CA is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_rotation: Option<bool>,
    /// URLs of external CAs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_cas: Option<Vec<String>>,
    /// `CAConfig.ForceRotate`: restore must send it back unchanged, or a root rotation begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_rotate: Option<u64>,
    /// The value of `force_rotate` at the last rotation that was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_forced_rotation: Option<u64>,
    /// Lifetime of node certificates in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_cert_expiry_seconds: Option<i64>,
    /// VXLAN port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_path_port: Option<u32>,
    /// Pools that overlay networks take their subnets from, in CIDR form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_address_pools: Option<Vec<String>>,
    /// Prefix length of those subnets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet_size: Option<u32>,
    /// Log entries between two raft snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_interval: Option<u64>,
    /// Digests that tell whether the join tokens changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_token_digests: Option<JoinTokenDigests>,
}

/// SHA-256 of the join tokens as hex; a token has 128 random bits, so the digest gives nothing away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenDigests {
    /// Of the worker token.
    pub worker: String,
    /// Of the manager token.
    pub manager: String,
}

/// Position in the raft log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raft {
    /// Raft id of the node whose log this is.
    pub raft_id: u64,
    /// Last term that the node has seen.
    pub term: u64,
    /// Index up to which a majority has agreed; the inventory is the state at this index.
    pub commit: u64,
    /// Last index in the log; what is beyond `commit` may never have happened.
    pub last_index: u64,
    /// Index of the snapshot file that the engine would start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_index: Option<u64>,
    /// Current managers, sorted by raft id.
    pub members: Vec<Member>,
    /// Raft ids that were members once and can never be again, sorted.
    pub removed: Vec<u64>,
}

/// One manager as raft knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Raft id.
    pub raft_id: u64,
    /// Node id; unknown in a sealed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// Host and port; unknown in a sealed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Node id.
    pub id: String,
    /// Host name.
    pub hostname: String,
    /// Wanted role: `manager` or `worker`.
    pub role: String,
    /// `active`, `pause` or `drain`.
    pub availability: String,
    /// Last known address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// `unknown`, `down`, `ready` or `disconnected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Engine version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// Raft id, of managers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raft_id: Option<u64>,
    /// Raft address, of managers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager_addr: Option<String>,
    /// Label names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Service id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image with tag and digest as in the spec; empty for plugin services.
    pub image: String,
    /// `replicated`, `global`, `replicated-job` or `global-job`.
    pub mode: String,
    /// Wanted replicas; absent in global modes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// Ids of the networks that its tasks are attached to, sorted.
    pub networks: Vec<String>,
    /// Ids of the secrets it uses, sorted.
    pub secrets: Vec<String>,
    /// Ids of the configs it uses, sorted.
    pub configs: Vec<String>,
    /// Label names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Version of the spec: raised when somebody updates the service, not when the engine writes it, so it tells of
    /// changes in what is not listed here, as the environment (swarmkit `controlapi/service.go`). The Engine API
    /// does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec_version: Option<u64>,
    /// Version index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// One network of swarm scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Network id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Driver, `overlay` as a rule; empty where the Engine API does not tell it, of a network that is not allocated.
    pub driver: String,
    /// Subnets in CIDR form, sorted; none of a network that is not allocated.
    pub subnets: Vec<String>,
    /// False where the swarm has no addresses for it: its subnet overlaps another one, or the pool is exhausted. Older
    /// inventories do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<bool>,
    /// Whether containers that are no tasks may use it.
    pub attachable: bool,
    /// Whether it is the routing mesh.
    pub ingress: bool,
    /// Whether it is cut off from outside.
    pub internal: bool,
    /// Label names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// One secret, without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// Secret id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Length of the value in bytes; the Engine API does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Label names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Version index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// One config, without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Config id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Length of the content in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Label names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Version index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// One cluster volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Volume id.
    pub id: String,
    /// Name.
    pub name: String,
    /// CSI driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Version index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
}

/// Digest of a root CA that is the same for the file, the store and the Engine API (`TLSInfo.TrustRoot`): SHA-256 as
/// hex over the PEM text without white space around it.
pub fn root_ca_digest(pem: &[u8]) -> String {
    super::digest(pem.trim_ascii())
}

impl Inventory {
    /// Brings all lists into the documented order; whoever builds an inventory calls this last.
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

    /// Counts by kind, for the clear part of a manifest.
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

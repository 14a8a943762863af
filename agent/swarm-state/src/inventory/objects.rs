//! The objects of a swarm: nodes, services, networks, secrets, configs and volumes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Common name of the node's certificate.
    pub id: String,
    /// Host name as its engine reported it; empty until a node has reported.
    pub hostname: String,
    /// Desired role: `manager` or `worker`.
    pub role: String,
    /// Availability: `active`, `pause` or `drain`.
    pub availability: String,
    /// Address that the managers saw it connect from last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// State: `unknown`, `down`, `ready` or `disconnected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Version of its engine, as it reported it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// Operating system and processor as its engine reported them: `linux/x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Raft id; managers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raft_id: Option<u64>,
    /// Address and port of the raft endpoint; managers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager_addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    pub id: String,
    pub name: String,
    /// Image with tag and digest as in the spec; empty for plugin services.
    pub image: String,
    /// Mode: `replicated`, `global`, `replicated-job` or `global-job`.
    pub mode: String,
    /// Desired number of replicas; absent in global modes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// Ids of the networks that its tasks are attached to, sorted.
    pub networks: Vec<String>,
    /// Ids of the secrets it uses, sorted.
    pub secrets: Vec<String>,
    /// Ids of the configs it uses, sorted.
    pub configs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Version of the spec. It is raised when a user updates the service, but not when the engine writes it, so it
    /// reveals changes in fields that are not listed here, such as the environment (swarmkit `controlapi/service.go`).
    /// The Engine API does not return it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// One network of swarm scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    pub id: String,
    pub name: String,
    /// Driver, usually `overlay`; empty for a network that is not allocated, if the source is the Engine API.
    pub driver: String,
    /// Subnets in CIDR form, sorted; none for a network that is not allocated.
    pub subnets: Vec<String>,
    /// False if the swarm has no addresses for it: its subnet overlaps another one, or the pool is exhausted. Absent
    /// in older inventories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<bool>,
    /// Whether containers that are not tasks may use it.
    pub attachable: bool,
    /// Whether it is the routing mesh.
    pub ingress: bool,
    /// Whether it is isolated from outside.
    pub internal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// One secret, without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    pub id: String,
    pub name: String,
    /// Length of the value in bytes; the Engine API does not return it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// One config, without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    pub id: String,
    pub name: String,
    /// Length of the content in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// One cluster volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    pub id: String,
    pub name: String,
    /// CSI driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_index: Option<u64>,
}

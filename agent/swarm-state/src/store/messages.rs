//! The fields of swarmkit's messages that an inventory needs. The numbers are those of its objects.proto, specs.proto
//! and types.proto. Unknown fields are skipped, so values of secrets, tokens and keys are never decoded.

use std::collections::HashMap;

use prost::{Enumeration, Message};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Meta {
    #[prost(message, optional, tag = "1")]
    pub(super) version: Option<Version>,
    #[prost(message, optional, tag = "2")]
    pub(super) created_at: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub(super) updated_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Version {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Annotations {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) labels: HashMap<String, String>,
}

/// Placeholder for a message of which only the presence matters.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Present {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Cluster {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<Meta>,
    #[prost(message, optional, tag = "3")]
    pub(super) spec: Option<ClusterSpec>,
    #[prost(message, optional, tag = "4")]
    pub(super) root_ca: Option<RootCa>,
    #[prost(string, repeated, tag = "11")]
    pub(super) default_address_pool: Vec<String>,
    #[prost(uint32, tag = "12")]
    pub(super) subnet_size: u32,
    #[prost(uint32, tag = "13")]
    pub(super) vxlan_udp_port: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "4")]
    pub(super) raft: Option<RaftConfig>,
    #[prost(message, optional, tag = "6")]
    pub(super) ca_config: Option<CaConfig>,
    #[prost(message, optional, tag = "8")]
    pub(super) encryption_config: Option<EncryptionConfig>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RaftConfig {
    #[prost(uint64, tag = "1")]
    pub(super) snapshot_interval: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CaConfig {
    #[prost(message, optional, tag = "1")]
    pub(super) node_cert_expiry: Option<Timestamp>,
    #[prost(message, repeated, tag = "2")]
    pub(super) external_cas: Vec<ExternalCa>,
    #[prost(uint64, tag = "5")]
    pub(super) force_rotate: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExternalCa {
    #[prost(string, tag = "2")]
    pub(super) url: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct EncryptionConfig {
    #[prost(bool, tag = "1")]
    pub(super) auto_lock_managers: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RootCa {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) ca_cert: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub(super) root_rotation: Option<Present>,
    #[prost(uint64, tag = "6")]
    pub(super) last_forced_rotation: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) spec: Option<NodeSpec>,
    #[prost(message, optional, tag = "4")]
    pub(super) description: Option<NodeDescription>,
    #[prost(message, optional, tag = "5")]
    pub(super) status: Option<NodeStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(int32, tag = "2")]
    pub(super) desired_role: i32,
    #[prost(int32, tag = "4")]
    pub(super) availability: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeDescription {
    #[prost(string, tag = "1")]
    pub(super) hostname: String,
    #[prost(message, optional, tag = "2")]
    pub(super) platform: Option<Platform>,
    #[prost(message, optional, tag = "4")]
    pub(super) engine: Option<EngineDescription>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Platform {
    #[prost(string, tag = "1")]
    pub(super) architecture: String,
    #[prost(string, tag = "2")]
    pub(super) os: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EngineDescription {
    #[prost(string, tag = "1")]
    pub(super) engine_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeStatus {
    #[prost(int32, tag = "1")]
    pub(super) state: i32,
    #[prost(string, tag = "3")]
    pub(super) addr: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Service {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<Meta>,
    #[prost(message, optional, tag = "3")]
    pub(super) spec: Option<ServiceSpec>,
    #[prost(message, optional, tag = "10")]
    pub(super) spec_version: Option<Version>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "2")]
    pub(super) task: Option<TaskSpec>,
    #[prost(message, optional, tag = "3")]
    pub(super) replicated: Option<Replicated>,
    #[prost(message, optional, tag = "4")]
    pub(super) global: Option<Present>,
    #[prost(message, repeated, tag = "7")]
    pub(super) networks: Vec<NetworkAttachment>,
    #[prost(message, optional, tag = "10")]
    pub(super) replicated_job: Option<ReplicatedJob>,
    #[prost(message, optional, tag = "11")]
    pub(super) global_job: Option<Present>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Replicated {
    #[prost(uint64, tag = "1")]
    pub(super) replicas: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ReplicatedJob {
    #[prost(uint64, tag = "2")]
    pub(super) total_completions: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) container: Option<Container>,
    #[prost(message, repeated, tag = "7")]
    pub(super) networks: Vec<NetworkAttachment>,
}

/// Omits environment, command and registry credentials on purpose.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) image: String,
    #[prost(message, repeated, tag = "12")]
    pub(super) secrets: Vec<Reference>,
    #[prost(message, repeated, tag = "21")]
    pub(super) configs: Vec<Reference>,
}

/// A secret or a config that a service uses.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Reference {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NetworkAttachment {
    #[prost(string, tag = "1")]
    pub(super) target: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Network {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) spec: Option<NetworkSpec>,
    #[prost(message, optional, tag = "4")]
    pub(super) driver_state: Option<Driver>,
    #[prost(message, optional, tag = "5")]
    pub(super) ipam: Option<Ipam>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NetworkSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "2")]
    pub(super) driver_config: Option<Driver>,
    #[prost(bool, tag = "4")]
    pub(super) internal: bool,
    #[prost(bool, tag = "6")]
    pub(super) attachable: bool,
    #[prost(bool, tag = "7")]
    pub(super) ingress: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Driver {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ipam {
    #[prost(message, repeated, tag = "3")]
    pub(super) configs: Vec<IpamConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IpamConfig {
    #[prost(string, tag = "2")]
    pub(super) subnet: String,
}

/// A secret or a config, without its data.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Datum {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<Meta>,
    #[prost(message, optional, tag = "3")]
    pub(super) spec: Option<DatumSpec>,
    /// Whether swarm keeps it for itself; secrets only.
    #[prost(bool, tag = "4")]
    pub(super) internal: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DatumSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Volume {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<Meta>,
    #[prost(message, optional, tag = "3")]
    pub(super) spec: Option<VolumeSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "3")]
    pub(super) driver: Option<Driver>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Task {
    #[prost(message, optional, tag = "9")]
    pub(super) status: Option<TaskStatus>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct TaskStatus {
    #[prost(enumeration = "TaskState", tag = "2")]
    pub(super) state: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum TaskState {
    New = 0,
    Pending = 64,
    Assigned = 192,
    Accepted = 256,
    Preparing = 320,
    Ready = 384,
    Starting = 448,
    Running = 512,
    Complete = 576,
    Shutdown = 640,
    Failed = 704,
    Rejected = 768,
    Remove = 800,
    Orphaned = 832,
}

impl TaskState {
    /// Returns the name of the state in the Engine API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        }
    }
}

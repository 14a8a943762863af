//! Messages of the engine's specs, without the values of secrets and registry credentials.
//!
//! Written by `schema/make` from swarmkit's specs.proto and types.proto, and moby's plugin.proto: do not edit.

use std::collections::HashMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "2")]
    pub(super) task: Option<TaskSpec>,
    #[prost(message, optional, tag = "3")]
    pub(super) replicated: Option<ReplicatedService>,
    #[prost(message, optional, tag = "4")]
    pub(super) global: Option<GlobalService>,
    #[prost(message, optional, tag = "10")]
    pub(super) replicated_job: Option<ReplicatedJob>,
    #[prost(message, optional, tag = "11")]
    pub(super) global_job: Option<GlobalJob>,
    #[prost(message, optional, tag = "6")]
    pub(super) update: Option<UpdateConfig>,
    #[prost(message, optional, tag = "9")]
    pub(super) rollback: Option<UpdateConfig>,
    #[prost(message, repeated, tag = "7")]
    pub(super) networks: Vec<NetworkAttachmentConfig>,
    #[prost(message, optional, tag = "8")]
    pub(super) endpoint: Option<EndpointSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Annotations {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskSpec {
    #[prost(message, optional, tag = "8")]
    pub(super) attachment: Option<NetworkAttachmentSpec>,
    #[prost(message, optional, tag = "1")]
    pub(super) container: Option<ContainerSpec>,
    #[prost(message, optional, tag = "10")]
    pub(super) generic: Option<GenericRuntimeSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) resources: Option<ResourceRequirements>,
    #[prost(message, optional, tag = "4")]
    pub(super) restart: Option<RestartPolicy>,
    #[prost(message, optional, tag = "5")]
    pub(super) placement: Option<Placement>,
    #[prost(message, optional, tag = "6")]
    pub(super) log_driver: Option<Driver>,
    #[prost(message, repeated, tag = "7")]
    pub(super) networks: Vec<NetworkAttachmentConfig>,
    #[prost(uint64, tag = "9")]
    pub(super) force_update: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NetworkAttachmentSpec {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerSpec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) labels: HashMap<String, String>,
    #[prost(string, repeated, tag = "3")]
    pub(super) command: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) args: Vec<String>,
    #[prost(string, tag = "14")]
    pub(super) hostname: String,
    #[prost(string, repeated, tag = "5")]
    pub(super) env: Vec<String>,
    #[prost(string, tag = "6")]
    pub(super) dir: String,
    #[prost(string, tag = "7")]
    pub(super) user: String,
    #[prost(string, repeated, tag = "11")]
    pub(super) groups: Vec<String>,
    #[prost(message, optional, tag = "22")]
    pub(super) privileges: Option<Privileges>,
    #[prost(message, optional, tag = "23")]
    pub(super) init: Option<BoolValue>,
    #[prost(bool, tag = "13")]
    pub(super) tty: bool,
    #[prost(bool, tag = "18")]
    pub(super) open_stdin: bool,
    #[prost(bool, tag = "19")]
    pub(super) read_only: bool,
    #[prost(string, tag = "20")]
    pub(super) stop_signal: String,
    #[prost(message, repeated, tag = "8")]
    pub(super) mounts: Vec<Mount>,
    #[prost(message, optional, tag = "9")]
    pub(super) stop_grace_period: Option<Duration>,
    #[prost(message, optional, tag = "10")]
    pub(super) pull_options: Option<ContainerSpecPullOptions>,
    #[prost(message, repeated, tag = "12")]
    pub(super) secrets: Vec<SecretReference>,
    #[prost(message, repeated, tag = "21")]
    pub(super) configs: Vec<ConfigReference>,
    #[prost(string, repeated, tag = "17")]
    pub(super) hosts: Vec<String>,
    #[prost(message, optional, tag = "15")]
    pub(super) dns_config: Option<ContainerSpecDNSConfig>,
    #[prost(message, optional, tag = "16")]
    pub(super) healthcheck: Option<HealthConfig>,
    #[prost(int32, tag = "24")]
    pub(super) isolation: i32,
    #[prost(int64, tag = "25")]
    pub(super) pids_limit: i64,
    #[prost(map = "string, string", tag = "26")]
    pub(super) sysctls: HashMap<String, String>,
    #[prost(string, repeated, tag = "27")]
    pub(super) capability_add: Vec<String>,
    #[prost(string, repeated, tag = "28")]
    pub(super) capability_drop: Vec<String>,
    #[prost(message, repeated, tag = "29")]
    pub(super) ulimits: Vec<ContainerSpecUlimit>,
    #[prost(int64, tag = "30")]
    pub(super) oom_score_adj: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Privileges {
    #[prost(message, optional, tag = "1")]
    pub(super) credential_spec: Option<PrivilegesCredentialSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) selinux_context: Option<PrivilegesSELinuxContext>,
    #[prost(message, optional, tag = "3")]
    pub(super) seccomp: Option<PrivilegesSeccompOpts>,
    #[prost(message, optional, tag = "4")]
    pub(super) apparmor: Option<PrivilegesAppArmorOpts>,
    #[prost(bool, tag = "5")]
    pub(super) no_new_privileges: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PrivilegesCredentialSpec {
    #[prost(string, optional, tag = "1")]
    pub(super) file: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) registry: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) config: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PrivilegesSELinuxContext {
    #[prost(bool, tag = "1")]
    pub(super) disable: bool,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    #[prost(string, tag = "3")]
    pub(super) role: String,
    #[prost(string, tag = "4")]
    pub(super) r#type: String,
    #[prost(string, tag = "5")]
    pub(super) level: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PrivilegesSeccompOpts {
    #[prost(int32, tag = "1")]
    pub(super) mode: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) profile: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct PrivilegesAppArmorOpts {
    #[prost(int32, tag = "1")]
    pub(super) mode: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(super) value: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mount {
    #[prost(int32, tag = "1")]
    pub(super) r#type: i32,
    #[prost(string, tag = "2")]
    pub(super) source: String,
    #[prost(string, tag = "3")]
    pub(super) target: String,
    #[prost(bool, tag = "4")]
    pub(super) readonly: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) bind_options: Option<MountBindOptions>,
    #[prost(message, optional, tag = "6")]
    pub(super) volume_options: Option<MountVolumeOptions>,
    #[prost(message, optional, tag = "7")]
    pub(super) tmpfs_options: Option<MountTmpfsOptions>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct MountBindOptions {
    #[prost(int32, tag = "1")]
    pub(super) propagation: i32,
    #[prost(bool, tag = "2")]
    pub(super) nonrecursive: bool,
    #[prost(bool, tag = "3")]
    pub(super) createmountpoint: bool,
    #[prost(bool, tag = "4")]
    pub(super) readonlynonrecursive: bool,
    #[prost(bool, tag = "5")]
    pub(super) readonlyforcerecursive: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MountVolumeOptions {
    #[prost(bool, tag = "1")]
    pub(super) nocopy: bool,
    #[prost(map = "string, string", tag = "2")]
    pub(super) labels: HashMap<String, String>,
    #[prost(message, optional, tag = "3")]
    pub(super) driver_config: Option<Driver>,
    #[prost(string, tag = "4")]
    pub(super) subpath: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Driver {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) options: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MountTmpfsOptions {
    #[prost(int64, tag = "1")]
    pub(super) size_bytes: i64,
    #[prost(uint32, tag = "2")]
    pub(super) mode: u32,
    #[prost(string, tag = "3")]
    pub(super) options: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Duration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ContainerSpecPullOptions {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SecretReference {
    #[prost(string, tag = "1")]
    pub(super) secret_id: String,
    #[prost(string, tag = "2")]
    pub(super) secret_name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) file: Option<FileTarget>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FileTarget {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) gid: String,
    #[prost(uint32, tag = "4")]
    pub(super) mode: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigReference {
    #[prost(string, tag = "1")]
    pub(super) config_id: String,
    #[prost(string, tag = "2")]
    pub(super) config_name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) file: Option<FileTarget>,
    #[prost(message, optional, tag = "4")]
    pub(super) runtime: Option<RuntimeTarget>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RuntimeTarget {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerSpecDNSConfig {
    #[prost(string, repeated, tag = "1")]
    pub(super) nameservers: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) search: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(super) options: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthConfig {
    #[prost(string, repeated, tag = "1")]
    pub(super) test: Vec<String>,
    #[prost(message, optional, tag = "2")]
    pub(super) interval: Option<Duration>,
    #[prost(message, optional, tag = "3")]
    pub(super) timeout: Option<Duration>,
    #[prost(int32, tag = "4")]
    pub(super) retries: i32,
    #[prost(message, optional, tag = "5")]
    pub(super) start_period: Option<Duration>,
    #[prost(message, optional, tag = "6")]
    pub(super) start_interval: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerSpecUlimit {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int64, tag = "2")]
    pub(super) soft: i64,
    #[prost(int64, tag = "3")]
    pub(super) hard: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GenericRuntimeSpec {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(message, optional, tag = "2")]
    pub(super) payload: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceRequirements {
    #[prost(message, optional, tag = "1")]
    pub(super) limits: Option<Resources>,
    #[prost(message, optional, tag = "2")]
    pub(super) reservations: Option<Resources>,
    #[prost(message, optional, tag = "3")]
    pub(super) swap_bytes: Option<Int64Value>,
    #[prost(message, optional, tag = "4")]
    pub(super) memory_swappiness: Option<Int64Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resources {
    #[prost(int64, tag = "1")]
    pub(super) nano_cpus: i64,
    #[prost(int64, tag = "2")]
    pub(super) memory_bytes: i64,
    #[prost(message, repeated, tag = "3")]
    pub(super) generic: Vec<GenericResource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GenericResource {
    #[prost(message, optional, tag = "1")]
    pub(super) named_resource_spec: Option<NamedGenericResource>,
    #[prost(message, optional, tag = "2")]
    pub(super) discrete_resource_spec: Option<DiscreteGenericResource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedGenericResource {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DiscreteGenericResource {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(int64, tag = "2")]
    pub(super) value: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Int64Value {
    #[prost(int64, tag = "1")]
    pub(super) value: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RestartPolicy {
    #[prost(int32, tag = "1")]
    pub(super) condition: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) delay: Option<Duration>,
    #[prost(uint64, tag = "3")]
    pub(super) max_attempts: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) window: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Placement {
    #[prost(string, repeated, tag = "1")]
    pub(super) constraints: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) preferences: Vec<PlacementPreference>,
    #[prost(message, repeated, tag = "3")]
    pub(super) platforms: Vec<Platform>,
    #[prost(uint64, tag = "4")]
    pub(super) max_replicas: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PlacementPreference {
    #[prost(message, optional, tag = "1")]
    pub(super) spread: Option<SpreadOver>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SpreadOver {
    #[prost(string, tag = "1")]
    pub(super) spread_descriptor: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Platform {
    #[prost(string, tag = "1")]
    pub(super) architecture: String,
    #[prost(string, tag = "2")]
    pub(super) os: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NetworkAttachmentConfig {
    #[prost(string, tag = "1")]
    pub(super) target: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) aliases: Vec<String>,
    #[prost(map = "string, string", tag = "4")]
    pub(super) driver_attachment_opts: HashMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ReplicatedService {
    #[prost(uint64, tag = "1")]
    pub(super) replicas: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct GlobalService {}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ReplicatedJob {
    #[prost(uint64, tag = "1")]
    pub(super) max_concurrent: u64,
    #[prost(uint64, tag = "2")]
    pub(super) total_completions: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct GlobalJob {}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct UpdateConfig {
    #[prost(uint64, tag = "1")]
    pub(super) parallelism: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) delay: Option<Duration>,
    #[prost(int32, tag = "3")]
    pub(super) failure_action: i32,
    #[prost(message, optional, tag = "4")]
    pub(super) monitor: Option<Duration>,
    #[prost(float, tag = "5")]
    pub(super) max_failure_ratio: f32,
    #[prost(int32, tag = "6")]
    pub(super) order: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EndpointSpec {
    #[prost(int32, tag = "1")]
    pub(super) mode: i32,
    #[prost(message, repeated, tag = "2")]
    pub(super) ports: Vec<PortConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PortConfig {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) protocol: i32,
    #[prost(uint32, tag = "3")]
    pub(super) target_port: u32,
    #[prost(uint32, tag = "4")]
    pub(super) published_port: u32,
    #[prost(int32, tag = "5")]
    pub(super) publish_mode: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NetworkSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "2")]
    pub(super) driver_config: Option<Driver>,
    #[prost(bool, tag = "3")]
    pub(super) ipv6_enabled: bool,
    #[prost(bool, tag = "4")]
    pub(super) internal: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) ipam: Option<IPAMOptions>,
    #[prost(bool, tag = "6")]
    pub(super) attachable: bool,
    #[prost(bool, tag = "7")]
    pub(super) ingress: bool,
    #[prost(string, optional, tag = "8")]
    pub(super) network: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IPAMOptions {
    #[prost(message, optional, tag = "1")]
    pub(super) driver: Option<Driver>,
    #[prost(message, repeated, tag = "3")]
    pub(super) configs: Vec<IPAMConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IPAMConfig {
    #[prost(string, tag = "2")]
    pub(super) subnet: String,
    #[prost(string, tag = "3")]
    pub(super) range: String,
    #[prost(string, tag = "4")]
    pub(super) gateway: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SecretSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "3")]
    pub(super) templating: Option<Driver>,
    #[prost(message, optional, tag = "4")]
    pub(super) driver: Option<Driver>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(message, optional, tag = "3")]
    pub(super) templating: Option<Driver>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) annotations: Option<Annotations>,
    #[prost(string, tag = "2")]
    pub(super) group: String,
    #[prost(message, optional, tag = "3")]
    pub(super) driver: Option<Driver>,
    #[prost(message, optional, tag = "4")]
    pub(super) access_mode: Option<VolumeAccessMode>,
    #[prost(message, repeated, tag = "5")]
    pub(super) secrets: Vec<VolumeSecret>,
    #[prost(message, optional, tag = "6")]
    pub(super) accessibility_requirements: Option<TopologyRequirement>,
    #[prost(message, optional, tag = "7")]
    pub(super) capacity_range: Option<CapacityRange>,
    #[prost(int32, tag = "8")]
    pub(super) availability: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeAccessMode {
    #[prost(int32, tag = "1")]
    pub(super) scope: i32,
    #[prost(int32, tag = "2")]
    pub(super) sharing: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) block: Option<VolumeAccessModeBlockVolume>,
    #[prost(message, optional, tag = "4")]
    pub(super) mount: Option<VolumeAccessModeMountVolume>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct VolumeAccessModeBlockVolume {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeAccessModeMountVolume {
    #[prost(string, tag = "1")]
    pub(super) fs_type: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) mount_flags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeSecret {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) secret: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopologyRequirement {
    #[prost(message, repeated, tag = "1")]
    pub(super) requisite: Vec<Topology>,
    #[prost(message, repeated, tag = "2")]
    pub(super) preferred: Vec<Topology>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Topology {
    #[prost(map = "string, string", tag = "1")]
    pub(super) segments: HashMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CapacityRange {
    #[prost(int64, tag = "1")]
    pub(super) required_bytes: i64,
    #[prost(int64, tag = "2")]
    pub(super) limit_bytes: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PluginSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) remote: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) privileges: Vec<PluginPrivilege>,
    #[prost(bool, tag = "4")]
    pub(super) disabled: bool,
    #[prost(string, repeated, tag = "5")]
    pub(super) env: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PluginPrivilege {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) value: Vec<String>,
}

//! The fields, values and arms that this version knows.
//!
//! Written by `schema/make` from swarmkit's specs.proto and types.proto, and moby's plugin.proto: do not edit.

use super::strict::{Field, Kind, Known};

pub(super) static SERVICE_SPEC: Known = Known {
    name: "ServiceSpec",
    fields: &[
        Field { tag: 1, name: "annotations", many: false, kind: Kind::Message(&ANNOTATIONS) },
        Field { tag: 2, name: "task", many: false, kind: Kind::Message(&TASK_SPEC) },
        Field { tag: 3, name: "replicated", many: false, kind: Kind::Message(&REPLICATED_SERVICE) },
        Field { tag: 4, name: "global", many: false, kind: Kind::Message(&GLOBAL_SERVICE) },
        Field { tag: 10, name: "replicated_job", many: false, kind: Kind::Message(&REPLICATED_JOB) },
        Field { tag: 11, name: "global_job", many: false, kind: Kind::Message(&GLOBAL_JOB) },
        Field { tag: 6, name: "update", many: false, kind: Kind::Message(&UPDATE_CONFIG) },
        Field { tag: 9, name: "rollback", many: false, kind: Kind::Message(&UPDATE_CONFIG) },
        Field { tag: 7, name: "networks", many: true, kind: Kind::Message(&NETWORK_ATTACHMENT_CONFIG) },
        Field { tag: 8, name: "endpoint", many: false, kind: Kind::Message(&ENDPOINT_SPEC) },
    ],
    choices: &[("mode", false, &[3, 4, 10, 11])],
};

pub(super) static ANNOTATIONS: Known = Known {
    name: "Annotations",
    fields: &[
        Field { tag: 1, name: "name", many: false, kind: Kind::Text },
        Field { tag: 2, name: "labels", many: true, kind: Kind::Map },
        Field { tag: 4, name: "indices", many: true, kind: Kind::OutsideApi },
    ],
    choices: &[],
};

pub(super) static TASK_SPEC: Known = Known {
    name: "TaskSpec",
    fields: &[
        Field { tag: 8, name: "attachment", many: false, kind: Kind::Message(&NETWORK_ATTACHMENT_SPEC) },
        Field { tag: 1, name: "container", many: false, kind: Kind::Message(&CONTAINER_SPEC) },
        Field { tag: 10, name: "generic", many: false, kind: Kind::Message(&GENERIC_RUNTIME_SPEC) },
        Field { tag: 2, name: "resources", many: false, kind: Kind::Message(&RESOURCE_REQUIREMENTS) },
        Field { tag: 4, name: "restart", many: false, kind: Kind::Message(&RESTART_POLICY) },
        Field { tag: 5, name: "placement", many: false, kind: Kind::Message(&PLACEMENT) },
        Field { tag: 6, name: "log_driver", many: false, kind: Kind::Message(&DRIVER) },
        Field { tag: 7, name: "networks", many: true, kind: Kind::Message(&NETWORK_ATTACHMENT_CONFIG) },
        Field { tag: 9, name: "force_update", many: false, kind: Kind::Number },
        Field { tag: 11, name: "resource_references", many: true, kind: Kind::OutsideApi },
    ],
    choices: &[("runtime", true, &[8, 1, 10])],
};

pub(super) static NETWORK_ATTACHMENT_SPEC: Known = Known {
    name: "NetworkAttachmentSpec",
    fields: &[Field { tag: 1, name: "container_id", many: false, kind: Kind::Text }],
    choices: &[],
};

pub(super) static CONTAINER_SPEC: Known = Known {
    name: "ContainerSpec",
    fields: &[
        Field { tag: 1, name: "image", many: false, kind: Kind::Text },
        Field { tag: 2, name: "labels", many: true, kind: Kind::Map },
        Field { tag: 3, name: "command", many: true, kind: Kind::Text },
        Field { tag: 4, name: "args", many: true, kind: Kind::Text },
        Field { tag: 14, name: "hostname", many: false, kind: Kind::Text },
        Field { tag: 5, name: "env", many: true, kind: Kind::Text },
        Field { tag: 6, name: "dir", many: false, kind: Kind::Text },
        Field { tag: 7, name: "user", many: false, kind: Kind::Text },
        Field { tag: 11, name: "groups", many: true, kind: Kind::Text },
        Field { tag: 22, name: "privileges", many: false, kind: Kind::Message(&PRIVILEGES) },
        Field { tag: 23, name: "init", many: false, kind: Kind::Message(&BOOL_VALUE) },
        Field { tag: 13, name: "tty", many: false, kind: Kind::Flag },
        Field { tag: 18, name: "open_stdin", many: false, kind: Kind::Flag },
        Field { tag: 19, name: "read_only", many: false, kind: Kind::Flag },
        Field { tag: 20, name: "stop_signal", many: false, kind: Kind::Text },
        Field { tag: 8, name: "mounts", many: true, kind: Kind::Message(&MOUNT) },
        Field { tag: 9, name: "stop_grace_period", many: false, kind: Kind::Message(&DURATION) },
        Field { tag: 10, name: "pull_options", many: false, kind: Kind::Message(&CONTAINER_SPEC_PULL_OPTIONS) },
        Field { tag: 12, name: "secrets", many: true, kind: Kind::Message(&SECRET_REFERENCE) },
        Field { tag: 21, name: "configs", many: true, kind: Kind::Message(&CONFIG_REFERENCE) },
        Field { tag: 17, name: "hosts", many: true, kind: Kind::Text },
        Field { tag: 15, name: "dns_config", many: false, kind: Kind::Message(&CONTAINER_SPEC_DNS_CONFIG) },
        Field { tag: 16, name: "healthcheck", many: false, kind: Kind::Message(&HEALTH_CONFIG) },
        Field { tag: 24, name: "isolation", many: false, kind: Kind::Choice(&[0, 1, 2]) },
        Field { tag: 25, name: "pidsLimit", many: false, kind: Kind::Number },
        Field { tag: 26, name: "sysctls", many: true, kind: Kind::Map },
        Field { tag: 27, name: "capability_add", many: true, kind: Kind::Text },
        Field { tag: 28, name: "capability_drop", many: true, kind: Kind::Text },
        Field { tag: 29, name: "ulimits", many: true, kind: Kind::Message(&CONTAINER_SPEC_ULIMIT) },
        Field { tag: 30, name: "oom_score_adj", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static PRIVILEGES: Known = Known {
    name: "Privileges",
    fields: &[
        Field { tag: 1, name: "credential_spec", many: false, kind: Kind::Message(&PRIVILEGES_CREDENTIAL_SPEC) },
        Field { tag: 2, name: "selinux_context", many: false, kind: Kind::Message(&PRIVILEGES_SE_LINUX_CONTEXT) },
        Field { tag: 3, name: "seccomp", many: false, kind: Kind::Message(&PRIVILEGES_SECCOMP_OPTS) },
        Field { tag: 4, name: "apparmor", many: false, kind: Kind::Message(&PRIVILEGES_APP_ARMOR_OPTS) },
        Field { tag: 5, name: "no_new_privileges", many: false, kind: Kind::Flag },
    ],
    choices: &[],
};

pub(super) static PRIVILEGES_CREDENTIAL_SPEC: Known = Known {
    name: "Privileges.CredentialSpec",
    fields: &[
        Field { tag: 1, name: "file", many: false, kind: Kind::Text },
        Field { tag: 2, name: "registry", many: false, kind: Kind::Text },
        Field { tag: 3, name: "config", many: false, kind: Kind::Text },
    ],
    choices: &[("source", false, &[1, 2, 3])],
};

pub(super) static PRIVILEGES_SE_LINUX_CONTEXT: Known = Known {
    name: "Privileges.SELinuxContext",
    fields: &[
        Field { tag: 1, name: "disable", many: false, kind: Kind::Flag },
        Field { tag: 2, name: "user", many: false, kind: Kind::Text },
        Field { tag: 3, name: "role", many: false, kind: Kind::Text },
        Field { tag: 4, name: "type", many: false, kind: Kind::Text },
        Field { tag: 5, name: "level", many: false, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static PRIVILEGES_SECCOMP_OPTS: Known = Known {
    name: "Privileges.SeccompOpts",
    fields: &[
        Field { tag: 1, name: "mode", many: false, kind: Kind::Choice(&[0, 1, 2]) },
        Field { tag: 2, name: "profile", many: false, kind: Kind::Bytes },
    ],
    choices: &[],
};

pub(super) static PRIVILEGES_APP_ARMOR_OPTS: Known = Known {
    name: "Privileges.AppArmorOpts",
    fields: &[Field { tag: 1, name: "mode", many: false, kind: Kind::Choice(&[0, 1]) }],
    choices: &[],
};

pub(super) static BOOL_VALUE: Known = Known {
    name: "BoolValue",
    fields: &[Field { tag: 1, name: "value", many: false, kind: Kind::Flag }],
    choices: &[],
};

pub(super) static MOUNT: Known = Known {
    name: "Mount",
    fields: &[
        Field { tag: 1, name: "type", many: false, kind: Kind::Choice(&[0, 1, 2, 3, 4]) },
        Field { tag: 2, name: "source", many: false, kind: Kind::Text },
        Field { tag: 3, name: "target", many: false, kind: Kind::Text },
        Field { tag: 4, name: "readonly", many: false, kind: Kind::Flag },
        Field { tag: 8, name: "consistency", many: false, kind: Kind::OutsideApi },
        Field { tag: 5, name: "bind_options", many: false, kind: Kind::Message(&MOUNT_BIND_OPTIONS) },
        Field { tag: 6, name: "volume_options", many: false, kind: Kind::Message(&MOUNT_VOLUME_OPTIONS) },
        Field { tag: 7, name: "tmpfs_options", many: false, kind: Kind::Message(&MOUNT_TMPFS_OPTIONS) },
    ],
    choices: &[],
};

pub(super) static MOUNT_BIND_OPTIONS: Known = Known {
    name: "Mount.BindOptions",
    fields: &[
        Field { tag: 1, name: "propagation", many: false, kind: Kind::Choice(&[0, 1, 2, 3, 4, 5]) },
        Field { tag: 2, name: "nonrecursive", many: false, kind: Kind::Flag },
        Field { tag: 3, name: "createmountpoint", many: false, kind: Kind::Flag },
        Field { tag: 4, name: "readonlynonrecursive", many: false, kind: Kind::Flag },
        Field { tag: 5, name: "readonlyforcerecursive", many: false, kind: Kind::Flag },
    ],
    choices: &[],
};

pub(super) static MOUNT_VOLUME_OPTIONS: Known = Known {
    name: "Mount.VolumeOptions",
    fields: &[
        Field { tag: 1, name: "nocopy", many: false, kind: Kind::Flag },
        Field { tag: 2, name: "labels", many: true, kind: Kind::Map },
        Field { tag: 3, name: "driver_config", many: false, kind: Kind::Message(&DRIVER) },
        Field { tag: 4, name: "subpath", many: false, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static DRIVER: Known = Known {
    name: "Driver",
    fields: &[
        Field { tag: 1, name: "name", many: false, kind: Kind::Text },
        Field { tag: 2, name: "options", many: true, kind: Kind::Map },
    ],
    choices: &[],
};

pub(super) static MOUNT_TMPFS_OPTIONS: Known = Known {
    name: "Mount.TmpfsOptions",
    fields: &[
        Field { tag: 1, name: "size_bytes", many: false, kind: Kind::Number },
        Field { tag: 2, name: "mode", many: false, kind: Kind::Number },
        Field { tag: 3, name: "options", many: false, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static DURATION: Known = Known {
    name: "Duration",
    fields: &[
        Field { tag: 1, name: "seconds", many: false, kind: Kind::Number },
        Field { tag: 2, name: "nanos", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static CONTAINER_SPEC_PULL_OPTIONS: Known = Known {
    name: "ContainerSpec.PullOptions",
    fields: &[Field { tag: 64, name: "registry_auth", many: false, kind: Kind::Text }],
    choices: &[],
};

pub(super) static SECRET_REFERENCE: Known = Known {
    name: "SecretReference",
    fields: &[
        Field { tag: 1, name: "secret_id", many: false, kind: Kind::Text },
        Field { tag: 2, name: "secret_name", many: false, kind: Kind::Text },
        Field { tag: 3, name: "file", many: false, kind: Kind::Message(&FILE_TARGET) },
    ],
    choices: &[("target", true, &[3])],
};

pub(super) static FILE_TARGET: Known = Known {
    name: "FileTarget",
    fields: &[
        Field { tag: 1, name: "name", many: false, kind: Kind::Text },
        Field { tag: 2, name: "uid", many: false, kind: Kind::Text },
        Field { tag: 3, name: "gid", many: false, kind: Kind::Text },
        Field { tag: 4, name: "mode", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static CONFIG_REFERENCE: Known = Known {
    name: "ConfigReference",
    fields: &[
        Field { tag: 1, name: "config_id", many: false, kind: Kind::Text },
        Field { tag: 2, name: "config_name", many: false, kind: Kind::Text },
        Field { tag: 3, name: "file", many: false, kind: Kind::Message(&FILE_TARGET) },
        Field { tag: 4, name: "runtime", many: false, kind: Kind::Message(&RUNTIME_TARGET) },
    ],
    choices: &[("target", true, &[3, 4])],
};

pub(super) static RUNTIME_TARGET: Known = Known { name: "RuntimeTarget", fields: &[], choices: &[] };

pub(super) static CONTAINER_SPEC_DNS_CONFIG: Known = Known {
    name: "ContainerSpec.DNSConfig",
    fields: &[
        Field { tag: 1, name: "nameservers", many: true, kind: Kind::Text },
        Field { tag: 2, name: "search", many: true, kind: Kind::Text },
        Field { tag: 3, name: "options", many: true, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static HEALTH_CONFIG: Known = Known {
    name: "HealthConfig",
    fields: &[
        Field { tag: 1, name: "test", many: true, kind: Kind::Text },
        Field { tag: 2, name: "interval", many: false, kind: Kind::Message(&DURATION) },
        Field { tag: 3, name: "timeout", many: false, kind: Kind::Message(&DURATION) },
        Field { tag: 4, name: "retries", many: false, kind: Kind::Number },
        Field { tag: 5, name: "start_period", many: false, kind: Kind::Message(&DURATION) },
        Field { tag: 6, name: "start_interval", many: false, kind: Kind::Message(&DURATION) },
    ],
    choices: &[],
};

pub(super) static CONTAINER_SPEC_ULIMIT: Known = Known {
    name: "ContainerSpec.Ulimit",
    fields: &[
        Field { tag: 1, name: "name", many: false, kind: Kind::Text },
        Field { tag: 2, name: "soft", many: false, kind: Kind::Number },
        Field { tag: 3, name: "hard", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static GENERIC_RUNTIME_SPEC: Known = Known {
    name: "GenericRuntimeSpec",
    fields: &[
        Field { tag: 1, name: "kind", many: false, kind: Kind::Text },
        Field { tag: 2, name: "payload", many: false, kind: Kind::Message(&ANY) },
    ],
    choices: &[],
};

pub(super) static ANY: Known = Known {
    name: "Any",
    fields: &[
        Field { tag: 1, name: "type_url", many: false, kind: Kind::Text },
        Field { tag: 2, name: "value", many: false, kind: Kind::Bytes },
    ],
    choices: &[],
};

pub(super) static RESOURCE_REQUIREMENTS: Known = Known {
    name: "ResourceRequirements",
    fields: &[
        Field { tag: 1, name: "limits", many: false, kind: Kind::Message(&RESOURCES) },
        Field { tag: 2, name: "reservations", many: false, kind: Kind::Message(&RESOURCES) },
        Field { tag: 3, name: "swap_bytes", many: false, kind: Kind::Message(&INT64_VALUE) },
        Field { tag: 4, name: "memory_swappiness", many: false, kind: Kind::Message(&INT64_VALUE) },
    ],
    choices: &[],
};

pub(super) static RESOURCES: Known = Known {
    name: "Resources",
    fields: &[
        Field { tag: 1, name: "nano_cpus", many: false, kind: Kind::Number },
        Field { tag: 2, name: "memory_bytes", many: false, kind: Kind::Number },
        Field { tag: 3, name: "generic", many: true, kind: Kind::Message(&GENERIC_RESOURCE) },
    ],
    choices: &[],
};

pub(super) static GENERIC_RESOURCE: Known = Known {
    name: "GenericResource",
    fields: &[
        Field { tag: 1, name: "named_resource_spec", many: false, kind: Kind::Message(&NAMED_GENERIC_RESOURCE) },
        Field { tag: 2, name: "discrete_resource_spec", many: false, kind: Kind::Message(&DISCRETE_GENERIC_RESOURCE) },
    ],
    choices: &[("resource", true, &[1, 2])],
};

pub(super) static NAMED_GENERIC_RESOURCE: Known = Known {
    name: "NamedGenericResource",
    fields: &[
        Field { tag: 1, name: "kind", many: false, kind: Kind::Text },
        Field { tag: 2, name: "value", many: false, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static DISCRETE_GENERIC_RESOURCE: Known = Known {
    name: "DiscreteGenericResource",
    fields: &[
        Field { tag: 1, name: "kind", many: false, kind: Kind::Text },
        Field { tag: 2, name: "value", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static INT64_VALUE: Known = Known {
    name: "Int64Value",
    fields: &[Field { tag: 1, name: "value", many: false, kind: Kind::Number }],
    choices: &[],
};

pub(super) static RESTART_POLICY: Known = Known {
    name: "RestartPolicy",
    fields: &[
        Field { tag: 1, name: "condition", many: false, kind: Kind::Choice(&[0, 1, 2]) },
        Field { tag: 2, name: "delay", many: false, kind: Kind::Message(&DURATION) },
        Field { tag: 3, name: "max_attempts", many: false, kind: Kind::Number },
        Field { tag: 4, name: "window", many: false, kind: Kind::Message(&DURATION) },
    ],
    choices: &[],
};

pub(super) static PLACEMENT: Known = Known {
    name: "Placement",
    fields: &[
        Field { tag: 1, name: "constraints", many: true, kind: Kind::Text },
        Field { tag: 2, name: "preferences", many: true, kind: Kind::Message(&PLACEMENT_PREFERENCE) },
        Field { tag: 3, name: "platforms", many: true, kind: Kind::Message(&PLATFORM) },
        Field { tag: 4, name: "max_replicas", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static PLACEMENT_PREFERENCE: Known = Known {
    name: "PlacementPreference",
    fields: &[Field { tag: 1, name: "spread", many: false, kind: Kind::Message(&SPREAD_OVER) }],
    choices: &[("Preference", true, &[1])],
};

pub(super) static SPREAD_OVER: Known = Known {
    name: "SpreadOver",
    fields: &[Field { tag: 1, name: "spread_descriptor", many: false, kind: Kind::Text }],
    choices: &[],
};

pub(super) static PLATFORM: Known = Known {
    name: "Platform",
    fields: &[
        Field { tag: 1, name: "architecture", many: false, kind: Kind::Text },
        Field { tag: 2, name: "os", many: false, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static NETWORK_ATTACHMENT_CONFIG: Known = Known {
    name: "NetworkAttachmentConfig",
    fields: &[
        Field { tag: 1, name: "target", many: false, kind: Kind::Text },
        Field { tag: 2, name: "aliases", many: true, kind: Kind::Text },
        Field { tag: 3, name: "addresses", many: true, kind: Kind::OutsideApi },
        Field { tag: 4, name: "driver_attachment_opts", many: true, kind: Kind::Map },
    ],
    choices: &[],
};

pub(super) static REPLICATED_SERVICE: Known = Known {
    name: "ReplicatedService",
    fields: &[Field { tag: 1, name: "replicas", many: false, kind: Kind::Number }],
    choices: &[],
};

pub(super) static GLOBAL_SERVICE: Known = Known { name: "GlobalService", fields: &[], choices: &[] };

pub(super) static REPLICATED_JOB: Known = Known {
    name: "ReplicatedJob",
    fields: &[
        Field { tag: 1, name: "max_concurrent", many: false, kind: Kind::Number },
        Field { tag: 2, name: "total_completions", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static GLOBAL_JOB: Known = Known { name: "GlobalJob", fields: &[], choices: &[] };

pub(super) static UPDATE_CONFIG: Known = Known {
    name: "UpdateConfig",
    fields: &[
        Field { tag: 1, name: "parallelism", many: false, kind: Kind::Number },
        Field { tag: 2, name: "delay", many: false, kind: Kind::Message(&DURATION) },
        Field { tag: 3, name: "failure_action", many: false, kind: Kind::Choice(&[0, 1, 2]) },
        Field { tag: 4, name: "monitor", many: false, kind: Kind::Message(&DURATION) },
        Field { tag: 5, name: "max_failure_ratio", many: false, kind: Kind::Float },
        Field { tag: 6, name: "order", many: false, kind: Kind::Choice(&[0, 1]) },
    ],
    choices: &[],
};

pub(super) static ENDPOINT_SPEC: Known = Known {
    name: "EndpointSpec",
    fields: &[
        Field { tag: 1, name: "mode", many: false, kind: Kind::Choice(&[0, 1]) },
        Field { tag: 2, name: "ports", many: true, kind: Kind::Message(&PORT_CONFIG) },
    ],
    choices: &[],
};

pub(super) static PORT_CONFIG: Known = Known {
    name: "PortConfig",
    fields: &[
        Field { tag: 1, name: "name", many: false, kind: Kind::Text },
        Field { tag: 2, name: "protocol", many: false, kind: Kind::Choice(&[0, 1, 2]) },
        Field { tag: 3, name: "target_port", many: false, kind: Kind::Number },
        Field { tag: 4, name: "published_port", many: false, kind: Kind::Number },
        Field { tag: 5, name: "publish_mode", many: false, kind: Kind::Choice(&[0, 1]) },
    ],
    choices: &[],
};

pub(super) static NETWORK_SPEC: Known = Known {
    name: "NetworkSpec",
    fields: &[
        Field { tag: 1, name: "annotations", many: false, kind: Kind::Message(&ANNOTATIONS) },
        Field { tag: 2, name: "driver_config", many: false, kind: Kind::Message(&DRIVER) },
        Field { tag: 3, name: "ipv6_enabled", many: false, kind: Kind::Flag },
        Field { tag: 4, name: "internal", many: false, kind: Kind::Flag },
        Field { tag: 5, name: "ipam", many: false, kind: Kind::Message(&IPAM_OPTIONS) },
        Field { tag: 6, name: "attachable", many: false, kind: Kind::Flag },
        Field { tag: 7, name: "ingress", many: false, kind: Kind::Flag },
        Field { tag: 8, name: "network", many: false, kind: Kind::Text },
    ],
    choices: &[("config_from", false, &[8])],
};

pub(super) static IPAM_OPTIONS: Known = Known {
    name: "IPAMOptions",
    fields: &[
        Field { tag: 1, name: "driver", many: false, kind: Kind::Message(&DRIVER) },
        Field { tag: 3, name: "configs", many: true, kind: Kind::Message(&IPAM_CONFIG) },
    ],
    choices: &[],
};

pub(super) static IPAM_CONFIG: Known = Known {
    name: "IPAMConfig",
    fields: &[
        Field { tag: 1, name: "family", many: false, kind: Kind::OutsideApi },
        Field { tag: 2, name: "subnet", many: false, kind: Kind::Text },
        Field { tag: 3, name: "range", many: false, kind: Kind::Text },
        Field { tag: 4, name: "gateway", many: false, kind: Kind::Text },
        Field { tag: 5, name: "reserved", many: true, kind: Kind::OutsideApi },
    ],
    choices: &[],
};

pub(super) static SECRET_SPEC: Known = Known {
    name: "SecretSpec",
    fields: &[
        Field { tag: 1, name: "annotations", many: false, kind: Kind::Message(&ANNOTATIONS) },
        Field { tag: 2, name: "data", many: false, kind: Kind::Bytes },
        Field { tag: 3, name: "templating", many: false, kind: Kind::Message(&DRIVER) },
        Field { tag: 4, name: "driver", many: false, kind: Kind::Message(&DRIVER) },
    ],
    choices: &[],
};

pub(super) static CONFIG_SPEC: Known = Known {
    name: "ConfigSpec",
    fields: &[
        Field { tag: 1, name: "annotations", many: false, kind: Kind::Message(&ANNOTATIONS) },
        Field { tag: 2, name: "data", many: false, kind: Kind::Bytes },
        Field { tag: 3, name: "templating", many: false, kind: Kind::Message(&DRIVER) },
    ],
    choices: &[],
};

pub(super) static VOLUME_SPEC: Known = Known {
    name: "VolumeSpec",
    fields: &[
        Field { tag: 1, name: "annotations", many: false, kind: Kind::Message(&ANNOTATIONS) },
        Field { tag: 2, name: "group", many: false, kind: Kind::Text },
        Field { tag: 3, name: "driver", many: false, kind: Kind::Message(&DRIVER) },
        Field { tag: 4, name: "access_mode", many: false, kind: Kind::Message(&VOLUME_ACCESS_MODE) },
        Field { tag: 5, name: "secrets", many: true, kind: Kind::Message(&VOLUME_SECRET) },
        Field { tag: 6, name: "AccessibilityRequirements", many: false, kind: Kind::Message(&TOPOLOGY_REQUIREMENT) },
        Field { tag: 7, name: "capacity_range", many: false, kind: Kind::Message(&CAPACITY_RANGE) },
        Field { tag: 8, name: "availability", many: false, kind: Kind::Choice(&[0, 1, 2]) },
    ],
    choices: &[],
};

pub(super) static VOLUME_ACCESS_MODE: Known = Known {
    name: "VolumeAccessMode",
    fields: &[
        Field { tag: 1, name: "scope", many: false, kind: Kind::Choice(&[0, 1]) },
        Field { tag: 2, name: "sharing", many: false, kind: Kind::Choice(&[0, 1, 2, 3]) },
        Field { tag: 3, name: "block", many: false, kind: Kind::Message(&VOLUME_ACCESS_MODE_BLOCK_VOLUME) },
        Field { tag: 4, name: "mount", many: false, kind: Kind::Message(&VOLUME_ACCESS_MODE_MOUNT_VOLUME) },
    ],
    choices: &[("access_type", false, &[3, 4])],
};

pub(super) static VOLUME_ACCESS_MODE_BLOCK_VOLUME: Known =
    Known { name: "VolumeAccessMode.BlockVolume", fields: &[], choices: &[] };

pub(super) static VOLUME_ACCESS_MODE_MOUNT_VOLUME: Known = Known {
    name: "VolumeAccessMode.MountVolume",
    fields: &[
        Field { tag: 1, name: "fs_type", many: false, kind: Kind::Text },
        Field { tag: 2, name: "mount_flags", many: true, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static VOLUME_SECRET: Known = Known {
    name: "VolumeSecret",
    fields: &[
        Field { tag: 1, name: "key", many: false, kind: Kind::Text },
        Field { tag: 2, name: "secret", many: false, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static TOPOLOGY_REQUIREMENT: Known = Known {
    name: "TopologyRequirement",
    fields: &[
        Field { tag: 1, name: "requisite", many: true, kind: Kind::Message(&TOPOLOGY) },
        Field { tag: 2, name: "preferred", many: true, kind: Kind::Message(&TOPOLOGY) },
    ],
    choices: &[],
};

pub(super) static TOPOLOGY: Known = Known {
    name: "Topology",
    fields: &[Field { tag: 1, name: "segments", many: true, kind: Kind::Map }],
    choices: &[],
};

pub(super) static CAPACITY_RANGE: Known = Known {
    name: "CapacityRange",
    fields: &[
        Field { tag: 1, name: "required_bytes", many: false, kind: Kind::Number },
        Field { tag: 2, name: "limit_bytes", many: false, kind: Kind::Number },
    ],
    choices: &[],
};

pub(super) static PLUGIN_SPEC: Known = Known {
    name: "PluginSpec",
    fields: &[
        Field { tag: 1, name: "name", many: false, kind: Kind::Text },
        Field { tag: 2, name: "remote", many: false, kind: Kind::Text },
        Field { tag: 3, name: "privileges", many: true, kind: Kind::Message(&PLUGIN_PRIVILEGE) },
        Field { tag: 4, name: "disabled", many: false, kind: Kind::Flag },
        Field { tag: 5, name: "env", many: true, kind: Kind::Text },
    ],
    choices: &[],
};

pub(super) static PLUGIN_PRIVILEGE: Known = Known {
    name: "PluginPrivilege",
    fields: &[
        Field { tag: 1, name: "name", many: false, kind: Kind::Text },
        Field { tag: 2, name: "description", many: false, kind: Kind::Text },
        Field { tag: 3, name: "value", many: true, kind: Kind::Text },
    ],
    choices: &[],
};

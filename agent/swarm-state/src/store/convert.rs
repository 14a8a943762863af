//! Converts swarmkit's messages to the objects of an inventory.

use std::collections::{BTreeMap, HashMap};

use super::messages::{self, TaskState};
use crate::{
    certificate::Certificate,
    digest,
    inventory::{Cluster, Config, JoinTokenDigests, Network, Node, Secret, Service, Volume, root_ca_digest},
    specs::{PREDEFINED, named},
    wire,
};

const CA_KEY: [u32; 2] = [4, 1];
const WORKER_TOKEN: [u32; 3] = [4, 4, 1];
const MANAGER_TOKEN: [u32; 3] = [4, 4, 2];
const DATA: [u32; 2] = [3, 2];

/// Defaults that the engine uses, and its API returns, for values that are not in the store.
const ADDRESS_POOL: &str = "10.0.0.0/8";
const SUBNET_SIZE: u32 = 24;
const DATA_PATH_PORT: u32 = 4789;

/// Converts a cluster. `bytes` is the message before decoding: the CA key and the tokens are read from there.
pub(super) fn cluster(message: messages::Cluster, bytes: &[u8]) -> Cluster {
    let spec = message.spec.unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    let times = times(message.meta);
    let ca_config = spec.ca_config.unwrap_or_default();
    let root_ca = message.root_ca.unwrap_or_default();
    let roots = Certificate::parse_pem("", &root_ca.ca_cert).unwrap_or_default();
    let token = |path: &[u32]| wire::find(bytes, path).map(digest);
    let tokens = token(&WORKER_TOKEN).zip(token(&MANAGER_TOKEN));
    let mut pools = message.default_address_pool;
    if pools.is_empty() {
        pools.push(ADDRESS_POOL.to_owned());
    }
    Cluster {
        id: message.id,
        name: annotations.name,
        labels: Some(sorted(annotations.labels)).filter(|labels| !labels.is_empty()),
        version_index: times.version_index,
        created_at: times.created_at,
        updated_at: times.updated_at,
        autolock: Some(spec.encryption_config.unwrap_or_default().auto_lock_managers),
        root_ca_digest: Some(root_ca_digest(&root_ca.ca_cert)),
        root_ca_not_after: roots.iter().map(Certificate::not_after).min(),
        has_ca_key: Some(wire::find(bytes, &CA_KEY).is_some_and(|key| !key.is_empty())),
        root_rotation: Some(root_ca.root_rotation.is_some()),
        external_cas: Some(ca_config.external_cas.into_iter().map(|ca| ca.url).collect()),
        force_rotate: Some(ca_config.force_rotate),
        last_forced_rotation: Some(root_ca.last_forced_rotation),
        node_cert_expiry_seconds: ca_config.node_cert_expiry.map(|expiry| expiry.seconds),
        data_path_port: Some(or_default(message.vxlan_udp_port, DATA_PATH_PORT)),
        default_address_pools: Some(pools),
        subnet_size: Some(or_default(message.subnet_size, SUBNET_SIZE)),
        snapshot_interval: spec.raft.map(|raft| raft.snapshot_interval),
        join_token_digests: tokens.map(|(worker, manager)| JoinTokenDigests { worker, manager }),
    }
}

pub(super) fn node(message: messages::Node) -> Node {
    let spec = message.spec.unwrap_or_default();
    let description = message.description.unwrap_or_default();
    let status = message.status.unwrap_or_default();
    let engine = description.engine.map(|engine| engine.engine_version);
    let platform = description.platform.map(|it| format!("{}/{}", it.os, it.architecture));
    Node {
        id: message.id,
        hostname: description.hostname,
        role: named(spec.desired_role, &["worker", "manager"]),
        availability: named(spec.availability, &["active", "pause", "drain"]),
        addr: Some(status.addr),
        state: Some(named(status.state, &["unknown", "down", "ready", "disconnected"])),
        engine_version: engine,
        platform,
        raft_id: None,
        manager_addr: None,
        labels: Some(sorted(spec.annotations.unwrap_or_default().labels)),
    }
}

pub(super) fn service(message: messages::Service) -> Service {
    let spec = message.spec.unwrap_or_default();
    let annotations = spec.annotations.clone().unwrap_or_default();
    let times = times(message.meta);
    let (mode, replicas) = mode(&spec);
    let task = spec.task.unwrap_or_default();
    let container = task.container.unwrap_or_default();
    // Engines before 17.06 stored the networks in the service spec, not in the task spec.
    let networks = if task.networks.is_empty() { spec.networks } else { task.networks };
    Service {
        id: message.id,
        name: annotations.name,
        image: container.image,
        mode: mode.to_owned(),
        replicas,
        networks: networks.into_iter().map(|network| network.target).collect(),
        secrets: container.secrets.into_iter().map(|secret| secret.id).collect(),
        configs: container.configs.into_iter().map(|config| config.id).collect(),
        labels: Some(sorted(annotations.labels)),
        spec_version: message.spec_version.map(|version| version.index),
        version_index: times.version_index,
        created_at: times.created_at,
        updated_at: times.updated_at,
    }
}

fn mode(spec: &messages::ServiceSpec) -> (&'static str, Option<u64>) {
    if let Some(replicated) = &spec.replicated {
        ("replicated", Some(replicated.replicas))
    } else if spec.global.is_some() {
        ("global", None)
    } else if let Some(job) = &spec.replicated_job {
        ("replicated-job", Some(job.total_completions))
    } else if spec.global_job.is_some() {
        ("global-job", None)
    } else {
        // Default of the engine.
        ("replicated", Some(1))
    }
}

/// Converts a network; `None` for a copy of one of the engine's own networks.
pub(super) fn network(message: messages::Network) -> Option<Network> {
    let spec = message.spec.unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    if annotations.labels.get(PREDEFINED).is_some_and(|value| value == "true") {
        return None;
    }
    let allocated = message.driver_state.is_some();
    // The result of the allocator, as soon as there is one.
    let driver = message.driver_state.or(spec.driver_config).unwrap_or_default();
    let subnets = message.ipam.unwrap_or_default().configs;
    Some(Network {
        id: message.id,
        name: annotations.name,
        allocated: Some(allocated),
        driver: driver.name,
        subnets: subnets.into_iter().map(|config| config.subnet).collect(),
        attachable: spec.attachable,
        ingress: spec.ingress,
        internal: spec.internal,
        labels: Some(sorted(annotations.labels)),
    })
}

/// Converts a secret; `None` for an internal one of swarm.
pub(super) fn secret(message: messages::Datum, bytes: &[u8]) -> Option<Secret> {
    if message.internal {
        return None;
    }
    let config = config(message, bytes);
    Some(Secret {
        id: config.id,
        name: config.name,
        size: config.size,
        labels: config.labels,
        version_index: config.version_index,
        created_at: config.created_at,
        updated_at: config.updated_at,
    })
}

pub(super) fn config(message: messages::Datum, bytes: &[u8]) -> Config {
    let annotations = message.spec.and_then(|spec| spec.annotations).unwrap_or_default();
    let times = times(message.meta);
    Config {
        id: message.id,
        name: annotations.name,
        size: Some(wire::find(bytes, &DATA).map_or(0, |data| data.len() as u64)),
        labels: Some(sorted(annotations.labels)),
        version_index: times.version_index,
        created_at: times.created_at,
        updated_at: times.updated_at,
    }
}

pub(super) fn volume(message: messages::Volume) -> Volume {
    let spec = message.spec.unwrap_or_default();
    Volume {
        id: message.id,
        name: spec.annotations.unwrap_or_default().name,
        driver: spec.driver.map(|driver| driver.name),
        version_index: times(message.meta).version_index,
    }
}

pub(super) fn task(message: &messages::Task) -> TaskState {
    message.status.map_or(TaskState::New, |status| status.state())
}

#[derive(Default)]
struct Times {
    version_index: Option<u64>,
    created_at: Option<jiff::Timestamp>,
    updated_at: Option<jiff::Timestamp>,
}

fn times(meta: Option<messages::Meta>) -> Times {
    let Some(meta) = meta else {
        return Times::default();
    };
    let time = |time: messages::Timestamp| jiff::Timestamp::new(time.seconds, time.nanos).ok();
    Times {
        version_index: meta.version.map(|version| version.index),
        created_at: meta.created_at.and_then(time),
        updated_at: meta.updated_at.and_then(time),
    }
}

fn or_default(value: u32, default: u32) -> u32 {
    if value == 0 { default } else { value }
}

fn sorted(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    labels.into_iter().collect()
}

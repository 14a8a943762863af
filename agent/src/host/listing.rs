//! The engine's own listing of a swarm as an [`Inventory`], to compare with what a state directory says.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    Config, Network, NetworkAttachmentConfig, Node, ObjectVersion, Secret, Service, ServiceSpecMode, Swarm, SwarmSpec,
    TaskSpec,
};
use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::engine::ManagerView;
use crate::swarm::inventory::{self, INVENTORY_VERSION, Inventory, JoinTokenDigests};

/// What the API knows; raft positions, secret sizes and task counts stay absent.
pub fn inventory(view: &ManagerView) -> Inventory {
    Inventory {
        version: INVENTORY_VERSION,
        cluster: cluster(&view.cluster),
        raft: None,
        nodes: view.nodes.iter().map(node).collect(),
        services: view.services.iter().map(service).collect(),
        networks: view.networks.iter().filter(|it| it.scope.as_deref() == Some("swarm")).map(network).collect(),
        secrets: view.secrets.iter().map(secret).collect(),
        configs: view.configs.iter().map(config).collect(),
        volumes: None,
        tasks: BTreeMap::new(),
    }
    .sorted()
}

fn cluster(swarm: &Swarm) -> inventory::Cluster {
    let spec = swarm.spec.clone().unwrap_or_default();
    let tls = swarm.tls_info.as_ref();
    let ca = spec.ca_config.clone().unwrap_or_default();
    inventory::Cluster {
        id: text(&swarm.id),
        name: text(&spec.name),
        version_index: index(&swarm.version),
        created_at: time(&swarm.created_at),
        updated_at: time(&swarm.updated_at),
        autolock: Some(is_autolocked(&spec)),
        root_ca_digest: tls
            .and_then(|tls| tls.trust_root.as_deref())
            .map(|pem| inventory::root_ca_digest(pem.as_bytes())),
        root_rotation: Some(swarm.root_rotation_in_progress.unwrap_or_default()),
        external_cas: Some(ca.external_cas.unwrap_or_default().iter().map(|ca| text(&ca.url)).collect()),
        force_rotate: Some(ca.force_rotate.unwrap_or_default()),
        node_cert_expiry_seconds: ca.node_cert_expiry.map(|nanoseconds| nanoseconds / 1_000_000_000),
        data_path_port: swarm.data_path_port,
        default_address_pools: swarm.default_addr_pool.clone(),
        subnet_size: swarm.subnet_size,
        snapshot_interval: spec.raft.as_ref().and_then(|raft| raft.snapshot_interval),
        join_token_digests: swarm.join_tokens.as_ref().map(|tokens| JoinTokenDigests {
            worker: hex_digest(text(&tokens.worker).as_bytes()),
            manager: hex_digest(text(&tokens.manager).as_bytes()),
        }),
        ..inventory::Cluster::default()
    }
}

fn is_autolocked(spec: &SwarmSpec) -> bool {
    spec.encryption_config.as_ref().and_then(|encryption| encryption.auto_lock_managers).unwrap_or_default()
}

fn node(node: &Node) -> inventory::Node {
    let spec = node.spec.clone().unwrap_or_default();
    let description = node.description.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    inventory::Node {
        id: text(&node.id),
        hostname: text(&description.hostname),
        role: shown(&spec.role),
        availability: shown(&spec.availability),
        addr: status.addr,
        state: status.state.map(|state| state.to_string()),
        engine_version: description.engine.and_then(|engine| engine.engine_version),
        raft_id: None,
        manager_addr: node.manager_status.as_ref().and_then(|status| status.addr.clone()),
        labels: labels(&spec.labels),
    }
}

fn service(service: &Service) -> inventory::Service {
    let spec = service.spec.clone().unwrap_or_default();
    let task = spec.task_template.clone().unwrap_or_default();
    let container = task.container_spec.clone().unwrap_or_default();
    let (mode, replicas) = mode(&spec.mode.unwrap_or_default());
    inventory::Service {
        id: text(&service.id),
        name: text(&spec.name),
        image: text(&container.image),
        mode: mode.to_owned(),
        replicas,
        networks: network_ids(&task, spec.networks.as_deref()),
        secrets: container.secrets.unwrap_or_default().iter().map(|it| text(&it.secret_id)).collect(),
        configs: container.configs.unwrap_or_default().iter().map(|it| text(&it.config_id)).collect(),
        labels: labels(&spec.labels),
        spec_version: None,
        version_index: index(&service.version),
        created_at: time(&service.created_at),
        updated_at: time(&service.updated_at),
    }
}

fn mode(mode: &ServiceSpecMode) -> (&'static str, Option<u64>) {
    if mode.global.is_some() {
        return ("global", None);
    }
    if mode.global_job.is_some() {
        return ("global-job", None);
    }
    if let Some(job) = &mode.replicated_job {
        return ("replicated-job", job.total_completions.and_then(|total| u64::try_from(total).ok()));
    }
    let replicas = mode.replicated.as_ref().and_then(|replicated| replicated.replicas);
    ("replicated", replicas.and_then(|replicas| u64::try_from(replicas).ok()))
}

/// Old clients wrote networks beside the task template, newer ones inside; the engine reads the inside first
/// (swarmkit `manager/allocator/network.go`).
fn network_ids(task: &TaskSpec, outside: Option<&[NetworkAttachmentConfig]>) -> Vec<String> {
    let inside = task.networks.as_deref().filter(|networks| !networks.is_empty());
    inside.or(outside).unwrap_or_default().iter().map(|it| text(&it.target)).collect()
}

fn network(network: &Network) -> inventory::Network {
    let ranges = network.ipam.clone().and_then(|ipam| ipam.config).unwrap_or_default();
    inventory::Network {
        id: text(&network.id),
        name: text(&network.name),
        driver: text(&network.driver),
        subnets: ranges.into_iter().filter_map(|range| range.subnet).collect(),
        attachable: network.attachable.unwrap_or_default(),
        ingress: network.ingress.unwrap_or_default(),
        internal: network.internal.unwrap_or_default(),
        labels: labels(&network.labels),
    }
}

fn secret(secret: &Secret) -> inventory::Secret {
    let spec = secret.spec.clone().unwrap_or_default();
    inventory::Secret {
        id: text(&secret.id),
        name: text(&spec.name),
        size: None,
        labels: labels(&spec.labels),
        version_index: index(&secret.version),
        created_at: time(&secret.created_at),
        updated_at: time(&secret.updated_at),
    }
}

fn config(config: &Config) -> inventory::Config {
    let spec = config.spec.clone().unwrap_or_default();
    let content = spec.data.and_then(|data| BASE64.decode(data.as_bytes()).ok());
    inventory::Config {
        id: text(&config.id),
        name: text(&spec.name),
        size: content.map(|content| content.len() as u64),
        labels: labels(&spec.labels),
        version_index: index(&config.version),
        created_at: time(&config.created_at),
        updated_at: time(&config.updated_at),
    }
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn shown<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map(T::to_string).unwrap_or_default()
}

fn labels(labels: &Option<HashMap<String, String>>) -> Option<BTreeMap<String, String>> {
    Some(labels.clone().unwrap_or_default().into_iter().collect())
}

fn index(version: &Option<ObjectVersion>) -> Option<u64> {
    version.as_ref().and_then(|version| version.index)
}

fn time(text: &Option<String>) -> Option<Timestamp> {
    text.as_deref().and_then(|text| text.parse().ok())
}

fn hex_digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

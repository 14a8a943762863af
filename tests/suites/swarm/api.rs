//! The Engine API's answers in the form of an inventory, made independently of the agent's own code.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};
use swarm_state::inventory::{
    Cluster, Config, INVENTORY_VERSION, Inventory, JoinTokenDigests, Network, Node, Secret, Service,
};

/// Reads a capture of `scenario.sh`.
pub fn inventory(api: &Value) -> Inventory {
    Inventory {
        version: INVENTORY_VERSION,
        cluster: cluster(&api["swarm"]),
        raft: None,
        nodes: list(&api["nodes"], node),
        services: list(&api["services"], service),
        networks: list(&api["networks"], network),
        secrets: list(&api["secrets"], secret),
        configs: list(&api["configs"], config),
        volumes: None,
        tasks: tasks(&api["tasks"]),
    }
    .sorted()
}

/// Removes from an inventory what the Engine API cannot know.
pub fn seen_by_api(mut inventory: Inventory) -> Inventory {
    inventory.raft = None;
    inventory.volumes = None;
    inventory.cluster.has_ca_key = None;
    inventory.cluster.root_ca_not_after = None;
    inventory.cluster.last_forced_rotation = None;
    for node in &mut inventory.nodes {
        node.raft_id = None;
    }
    for service in &mut inventory.services {
        service.spec_version = None;
    }
    for secret in &mut inventory.secrets {
        secret.size = None;
    }
    inventory
}

fn cluster(swarm: &Value) -> Cluster {
    let (spec, tokens) = (&swarm["Spec"], &swarm["JoinTokens"]);
    let ca = &spec["CAConfig"];
    Cluster {
        id: text(&swarm["ID"]),
        name: text(&spec["Name"]),
        version_index: swarm["Version"]["Index"].as_u64(),
        created_at: time(&swarm["CreatedAt"]),
        updated_at: time(&swarm["UpdatedAt"]),
        autolock: spec["EncryptionConfig"]["AutoLockManagers"].as_bool(),
        root_ca_digest: Some(digest(text(&swarm["TLSInfo"]["TrustRoot"]).trim())),
        root_rotation: swarm["RootRotationInProgress"].as_bool(),
        external_cas: Some(list(&ca["ExternalCAs"], |ca| text(&ca["URL"]))),
        force_rotate: Some(ca["ForceRotate"].as_u64().unwrap_or(0)),
        node_cert_expiry_seconds: ca["NodeCertExpiry"].as_i64().map(|nanoseconds| nanoseconds / 1_000_000_000),
        data_path_port: swarm["DataPathPort"].as_u64().map(|port| port as u32),
        default_address_pools: Some(list(&swarm["DefaultAddrPool"], text)),
        subnet_size: swarm["SubnetSize"].as_u64().map(|size| size as u32),
        snapshot_interval: spec["Raft"]["SnapshotInterval"].as_u64(),
        join_token_digests: Some(JoinTokenDigests {
            worker: digest(&text(&tokens["Worker"])),
            manager: digest(&text(&tokens["Manager"])),
        }),
        ..Cluster::default()
    }
}

fn node(node: &Value) -> Node {
    let addr = &node["ManagerStatus"]["Addr"];
    Node {
        id: text(&node["ID"]),
        hostname: text(&node["Description"]["Hostname"]),
        role: text(&node["Spec"]["Role"]),
        availability: text(&node["Spec"]["Availability"]),
        addr: Some(text(&node["Status"]["Addr"])),
        state: Some(text(&node["Status"]["State"])),
        engine_version: Some(text(&node["Description"]["Engine"]["EngineVersion"])),
        platform: Some(format!(
            "{}/{}",
            text(&node["Description"]["Platform"]["OS"]),
            text(&node["Description"]["Platform"]["Architecture"])
        )),
        raft_id: None,
        manager_addr: addr.as_str().map(str::to_owned),
        labels: labels(&node["Spec"]["Labels"]),
    }
}

fn service(service: &Value) -> Service {
    let spec = &service["Spec"];
    let (task, mode) = (&spec["TaskTemplate"], &spec["Mode"]);
    let container = &task["ContainerSpec"];
    let kinds = [("Global", "global"), ("ReplicatedJob", "replicated-job"), ("GlobalJob", "global-job")];
    let kind = kinds.into_iter().find(|(key, _)| mode.get(key).is_some()).map_or("replicated", |(_, kind)| kind);
    let replicas = [&mode["Replicated"]["Replicas"], &mode["ReplicatedJob"]["TotalCompletions"]];
    let mut service = Service {
        id: text(&service["ID"]),
        name: text(&spec["Name"]),
        image: text(&container["Image"]),
        mode: kind.to_owned(),
        replicas: replicas.into_iter().find_map(Value::as_u64),
        networks: list(&task["Networks"], |network| text(&network["Target"])),
        secrets: list(&container["Secrets"], |secret| text(&secret["SecretID"])),
        configs: list(&container["Configs"], |config| text(&config["ConfigID"])),
        labels: labels(&spec["Labels"]),
        spec_version: None,
        version_index: service["Version"]["Index"].as_u64(),
        created_at: time(&service["CreatedAt"]),
        updated_at: time(&service["UpdatedAt"]),
    };
    service.networks.sort();
    service
}

fn network(network: &Value) -> Network {
    Network {
        id: text(&network["Id"]),
        name: text(&network["Name"]),
        driver: text(&network["Driver"]),
        allocated: Some(network["Driver"] != ""),
        subnets: list(&network["IPAM"]["Config"], |config| text(&config["Subnet"])),
        attachable: network["Attachable"] == true,
        ingress: network["Ingress"] == true,
        internal: network["Internal"] == true,
        labels: labels(&network["Labels"]),
    }
}

fn secret(secret: &Value) -> Secret {
    Secret {
        id: text(&secret["ID"]),
        name: text(&secret["Spec"]["Name"]),
        size: None,
        labels: labels(&secret["Spec"]["Labels"]),
        version_index: secret["Version"]["Index"].as_u64(),
        created_at: time(&secret["CreatedAt"]),
        updated_at: time(&secret["UpdatedAt"]),
    }
}

/// Configs are the only objects whose content the API shows, here as base64.
fn config(config: &Value) -> Config {
    let data = text(&config["Spec"]["Data"]);
    let padding = data.bytes().filter(|byte| *byte == b'=').count();
    Config {
        id: text(&config["ID"]),
        name: text(&config["Spec"]["Name"]),
        size: Some((data.len() / 4 * 3 - padding) as u64),
        labels: labels(&config["Spec"]["Labels"]),
        version_index: config["Version"]["Index"].as_u64(),
        created_at: time(&config["CreatedAt"]),
        updated_at: time(&config["UpdatedAt"]),
    }
}

fn tasks(tasks: &Value) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for state in list(tasks, |task| text(&task["State"])) {
        *counts.entry(state).or_default() += 1;
    }
    counts
}

fn list<T>(value: &Value, each: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().map(|values| values.iter().map(each).collect()).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Option<jiff::Timestamp> {
    value.as_str()?.parse().ok()
}

fn labels(value: &Value) -> Option<BTreeMap<String, String>> {
    let labels = value.as_object().into_iter().flatten();
    Some(labels.map(|(name, value)| (name.clone(), text(value))).collect())
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

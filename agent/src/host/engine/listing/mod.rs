//! The objects of a swarm that an engine lists, as an [`Inventory`] to compare with that of a state directory.

mod object;

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;
use sha2::{Digest, Sha256};
use swarm_state::inventory::{self, INVENTORY_VERSION, Inventory, JoinTokenDigests};

use super::view::{ManagerStatus, ManagerView, Node};
use object::{Object, Unclear};

/// The replies of a manager's API, each as it came; `null` for what it could not list.
#[derive(Debug, Default)]
pub struct Replies {
    pub swarm: Value,
    pub nodes: Value,
    /// Services that run containers, then those that install plugins: an engine lists the latter only if asked for
    /// them.
    pub services: [Value; 2],
    pub networks: Value,
    pub secrets: Value,
    /// Configs with their content, or [`without_content`].
    pub configs: Value,
}

/// The field for the size of a config's content, which the API does not have.
const CONTENT_SIZE: &str = "swarmdr-size";

/// Replaces the content of a listed config by its size, which is all that is needed of it.
pub fn without_content(config: &mut Value) {
    let Some(spec) = config.get_mut("Spec").and_then(Value::as_object_mut) else { return };
    let size = spec.get("Data").map_or(Some(0), |content| content_size(content.as_str()?));
    if let Some(size) = size {
        spec.remove("Data");
        spec.insert(CONTENT_SIZE.to_owned(), size.into());
    }
}

fn content_size(content: &str) -> Option<u64> {
    BASE64.decode(content.as_bytes()).ok().map(|content| content.len() as u64)
}

/// The inventory as the API has it; raft positions, secret sizes and task counts are absent.
pub fn inventory(view: &ManagerView) -> Inventory {
    view.inventory.clone()
}

/// Reads all replies.
pub fn read(replies: Replies) -> ManagerView {
    let unclear = Unclear::default();
    let nodes = read_nodes(&replies.nodes, &unclear);
    let list = |kind, answer| objects(kind, answer, &unclear);
    let services = replies.services.iter().flat_map(|answer| list("service", answer));
    let networks = list("network", &replies.networks).into_iter();
    let swarm_wide = |network: &Object<'_>| network.text("Scope").as_deref() == Some("swarm");
    let inventory = Inventory {
        version: INVENTORY_VERSION,
        cluster: cluster(&Object::of("cluster", &replies.swarm, &unclear)),
        raft: None,
        nodes: nodes.iter().map(listed_node).collect(),
        services: services.map(|it| service(&it)).collect(),
        networks: networks.filter(swarm_wide).map(|it| network(&it)).collect(),
        secrets: list("secret", &replies.secrets).iter().map(secret).collect(),
        configs: list("config", &replies.configs).iter().map(config).collect(),
        volumes: None,
        tasks: BTreeMap::new(),
    }
    .sorted();
    let raw = replies.services.into_iter().filter_map(|answer| match answer {
        Value::Array(services) => Some(services),
        _ => None,
    });
    ManagerView { inventory, nodes, services: raw.flatten().collect(), unclear: unclear.into_notes() }
}

/// Reads a list of nodes alone; fields that are not understood are logged.
pub fn nodes(answer: &Value) -> Vec<Node> {
    let unclear = Unclear::default();
    let nodes = read_nodes(answer, &unclear);
    unclear.into_notes().iter().for_each(|note| tracing::warn!("{note}"));
    nodes
}

fn objects<'a>(kind: &'static str, answer: &'a Value, unclear: &'a Unclear) -> Vec<Object<'a>> {
    match answer {
        Value::Array(items) => {
            items.iter().map(|item| Object::of(kind, item, unclear)).filter(Object::is_whole).collect()
        }
        Value::Null => Vec::new(),
        _ => {
            unclear.note(format!("the engine's list of {kind}s is no list"));
            Vec::new()
        }
    }
}

fn cluster(swarm: &Object<'_>) -> inventory::Cluster {
    let tokens = swarm.text("JoinTokens.Worker").zip(swarm.text("JoinTokens.Manager"));
    let external = swarm.list("Spec.CAConfig.ExternalCAs");
    inventory::Cluster {
        id: swarm.text("ID").unwrap_or_default(),
        name: swarm.text("Spec.Name").unwrap_or_default(),
        version_index: swarm.number("Version.Index"),
        created_at: swarm.time("CreatedAt"),
        updated_at: swarm.time("UpdatedAt"),
        autolock: Some(swarm.flag("Spec.EncryptionConfig.AutoLockManagers").unwrap_or_default()),
        root_ca_digest: swarm.text("TLSInfo.TrustRoot").map(|pem| inventory::root_ca_digest(pem.as_bytes())),
        root_rotation: Some(swarm.flag("RootRotationInProgress").unwrap_or_default()),
        external_cas: Some(external.iter().map(|ca| ca.text("URL").unwrap_or_default()).collect()),
        force_rotate: Some(swarm.number("Spec.CAConfig.ForceRotate").unwrap_or_default()),
        node_cert_expiry_seconds: swarm.signed("Spec.CAConfig.NodeCertExpiry").map(|it| it / 1_000_000_000),
        data_path_port: swarm.small_number("DataPathPort"),
        default_address_pools: swarm.texts("DefaultAddrPool"),
        subnet_size: swarm.small_number("SubnetSize"),
        snapshot_interval: swarm.number("Spec.Raft.SnapshotInterval"),
        join_token_digests: tokens.map(|(worker, manager)| JoinTokenDigests {
            worker: hex_digest(worker.as_bytes()),
            manager: hex_digest(manager.as_bytes()),
        }),
        ..inventory::Cluster::default()
    }
}

fn read_nodes(answer: &Value, unclear: &Unclear) -> Vec<Node> {
    objects("node", answer, unclear).iter().map(node).collect()
}

/// Reads a node. A manager whose reachability is not understood counts as unreachable: the quorum guard errs on that
/// side.
fn node(node: &Object<'_>) -> Node {
    let status = |node: &Object<'_>| ManagerStatus {
        addr: node.text("ManagerStatus.Addr"),
        leader: node.flag("ManagerStatus.Leader").unwrap_or_default(),
        reachable: node.text("ManagerStatus.Reachability").as_deref() == Some("reachable"),
    };
    Node {
        id: node.text("ID").unwrap_or_default(),
        hostname: node.text("Description.Hostname").unwrap_or_default(),
        role: node.text("Spec.Role").unwrap_or_default(),
        availability: node.text("Spec.Availability").unwrap_or_default(),
        state: node.text("Status.State").unwrap_or_default(),
        addr: node.text("Status.Addr"),
        engine_version: node.text("Description.Engine.EngineVersion"),
        platform: platform(node),
        labels: node.labels("Spec.Labels"),
        version: node.number("Version.Index"),
        manager: node.has("ManagerStatus").then(|| status(node)),
    }
}

fn platform(node: &Object<'_>) -> Option<String> {
    let part = |name: &str| node.text(&format!("Description.Platform.{name}"));
    Some(format!("{}/{}", part("OS")?, part("Architecture")?))
}

fn listed_node(node: &Node) -> inventory::Node {
    inventory::Node {
        id: node.id.clone(),
        hostname: node.hostname.clone(),
        role: node.role.clone(),
        availability: node.availability.clone(),
        addr: node.addr.clone(),
        state: Some(node.state.clone()).filter(|state| !state.is_empty()),
        engine_version: node.engine_version.clone(),
        platform: node.platform.clone(),
        raft_id: None,
        manager_addr: node.manager.as_ref().and_then(|status| status.addr.clone()),
        labels: Some(node.labels.clone()),
    }
}

fn service(service: &Object<'_>) -> inventory::Service {
    let (mode, replicas) = mode(service);
    let ids = |path: &str, id: &str| service.list(path).iter().filter_map(|it| it.text(id)).collect::<Vec<_>>();
    // Old clients wrote networks next to the task template, newer ones inside it; the engine reads the inside first
    // (swarmkit `manager/allocator/network.go`).
    let inside = Some(ids("Spec.TaskTemplate.Networks", "Target")).filter(|networks| !networks.is_empty());
    inventory::Service {
        id: service.text("ID").unwrap_or_default(),
        name: service.text("Spec.Name").unwrap_or_default(),
        image: service.text("Spec.TaskTemplate.ContainerSpec.Image").unwrap_or_default(),
        mode: mode.to_owned(),
        replicas,
        networks: inside.unwrap_or_else(|| ids("Spec.Networks", "Target")),
        secrets: ids("Spec.TaskTemplate.ContainerSpec.Secrets", "SecretID"),
        configs: ids("Spec.TaskTemplate.ContainerSpec.Configs", "ConfigID"),
        labels: Some(service.labels("Spec.Labels")),
        spec_version: None,
        version_index: service.number("Version.Index"),
        created_at: service.time("CreatedAt"),
        updated_at: service.time("UpdatedAt"),
    }
}

fn mode(service: &Object<'_>) -> (&'static str, Option<u64>) {
    if service.has("Spec.Mode.Global") {
        return ("global", None);
    }
    if service.has("Spec.Mode.GlobalJob") {
        return ("global-job", None);
    }
    if service.has("Spec.Mode.ReplicatedJob") {
        return ("replicated-job", service.number("Spec.Mode.ReplicatedJob.TotalCompletions"));
    }
    ("replicated", service.number("Spec.Mode.Replicated.Replicas"))
}

/// Reads a network. One that the swarm has not allocated (its subnet overlaps, its pool is exhausted) is listed without
/// a driver and without subnets, even if they were given (moby `daemon/cluster/convert/network.go`,
/// `BasicNetworkFromGRPC`).
fn network(network: &Object<'_>) -> inventory::Network {
    let driver = network.text("Driver").unwrap_or_default();
    inventory::Network {
        id: network.text("Id").unwrap_or_default(),
        name: network.text("Name").unwrap_or_default(),
        allocated: Some(!driver.is_empty()),
        driver,
        subnets: network.list("IPAM.Config").iter().filter_map(|range| range.text("Subnet")).collect(),
        attachable: network.flag("Attachable").unwrap_or_default(),
        ingress: network.flag("Ingress").unwrap_or_default(),
        internal: network.flag("Internal").unwrap_or_default(),
        labels: Some(network.labels("Labels")),
    }
}

fn secret(secret: &Object<'_>) -> inventory::Secret {
    inventory::Secret {
        id: secret.text("ID").unwrap_or_default(),
        name: secret.text("Spec.Name").unwrap_or_default(),
        size: None,
        labels: Some(secret.labels("Spec.Labels")),
        version_index: secret.number("Version.Index"),
        created_at: secret.time("CreatedAt"),
        updated_at: secret.time("UpdatedAt"),
    }
}

/// Reads a config. One without content is listed without the field.
fn config(config: &Object<'_>) -> inventory::Config {
    let size = config.number(&format!("Spec.{CONTENT_SIZE}"));
    inventory::Config {
        id: config.text("ID").unwrap_or_default(),
        name: config.text("Spec.Name").unwrap_or_default(),
        size: size.or_else(|| content_size(&config.text("Spec.Data").unwrap_or_default())),
        labels: Some(config.labels("Spec.Labels")),
        version_index: config.number("Version.Index"),
        created_at: config.time("CreatedAt"),
        updated_at: config.time("UpdatedAt"),
    }
}

fn hex_digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_config_has_the_same_size_with_and_without_its_content() {
        let cases = [
            (json!({ "ID": "1", "Spec": { "Name": "a", "Data": "eGNl" } }), Some(3)),
            (json!({ "ID": "1", "Spec": { "Name": "a" } }), Some(0)),
            (json!({ "ID": "1", "Spec": { "Name": "a", "Data": "?" } }), None),
        ];
        for (with, size) in cases {
            let mut without = with.clone();
            without_content(&mut without);
            assert!(size.is_none() || without["Spec"].get("Data").is_none(), "{without}");
            for listed in [with, without] {
                let configs = json!([listed]);
                let view = read(Replies { configs, ..Replies::default() });
                assert_eq!(view.inventory.configs[0].size, size, "{:?}", view.inventory.configs);
            }
        }
        let mut odd = json!({ "Spec": { "Data": 7 } });
        without_content(&mut odd);
        assert_eq!(odd["Spec"]["Data"], 7, "what is not understood stays for its reader to report");
        without_content(&mut json!("no object"));
    }

    #[test]
    fn fields_of_an_unknown_form_are_named_and_are_no_error() {
        let view = read(Replies {
            swarm: json!({ "ID": "c", "Version": { "Index": u64::MAX }, "Spec": { "Raft": "odd" } }),
            nodes: json!([
                { "ID": "n1", "Spec": { "Role": "manager" }, "Status": { "State": "from the future" },
                  "ManagerStatus": { "Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377" } },
                { "ID": "n2", "ManagerStatus": 7 },
                "n3",
            ]),
            services: [
                json!([{ "ID": "s1", "Spec": { "Name": "web", "Mode": { "ReplicatedJob": { "TotalCompletions": u64::MAX } },
                    "TaskTemplate": { "RestartPolicy": { "MaxAttempts": u64::MAX }, "ContainerSpec": { "Image": "web:1" } } } }]),
                json!([{ "ID": "s2", "Spec": { "Name": "plugged", "Mode": { "Global": {} }, "Labels": ["odd"],
                    "TaskTemplate": { "Runtime": "plugin", "PluginSpec": { "remote": "x" } } } }]),
            ],
            networks: json!([
                { "Id": "o1", "Name": "waits", "Scope": "swarm", "Driver": "", "IPAM": { "Config": null } },
                { "Id": "o2", "Name": "works", "Scope": "swarm", "Driver": "overlay",
                  "IPAM": { "Config": [{ "Subnet": "10.0.9.0/24" }] } },
                { "Id": "o3", "Name": "bridge", "Scope": "local", "Driver": "bridge" },
            ]),
            secrets: json!({ "no": "list" }),
            configs: Value::Null,
        });
        let managers: Vec<_> = view.nodes.iter().map(|it| it.manager.as_ref().map(|it| it.reachable)).collect();
        assert_eq!(managers, [Some(true), Some(false)], "a member that is not understood is not reached");
        let services = &view.inventory.services;
        assert_eq!((services[0].replicas, services[1].mode.as_str()), (Some(u64::MAX), "global"));
        let networks: Vec<_> = view.inventory.networks.iter().map(|it| (it.id.as_str(), it.allocated)).collect();
        assert_eq!(networks, [("o1", Some(false)), ("o2", Some(true))]);
        assert_eq!((view.newest_version(), view.services.len()), (Some(u64::MAX), 2));
        let unclear = view.unclear.join("; ");
        for named in [
            "(n2): ManagerStatus",
            "lists as a node",
            "cluster `?` (c): Spec.Raft",
            "`plugged` (s2): Spec.Labels",
            "secrets is no list",
        ] {
            assert!(unclear.contains(named), "{named} in {unclear}");
        }
    }
}

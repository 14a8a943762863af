//! What ties the tasks of a service to the nodes that they run on.
//!
//! A task that is placed anew finds an empty volume of the same name on another node, and a directory of other content or
//! none; the engine does not tell. Clients of a port in host mode, or of a task in the network of its host, know the node's
//! address. Whether that matters only the operator knows: the data may be a cache, the volume a share, the clients a load
//! balancer that follows. The volumes that an image declares are in no spec, so they are not known here.

use std::collections::BTreeSet;

use serde_json::Value;

/// Ties in spite of which services are placed anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    pub volumes: bool,
    pub host_ports: bool,
}

/// Returns why a service is left where it is; `None` if nothing that is not to be cut ties its tasks. `host_networks` are
/// the ids of the swarm's copies of the hosts' own network.
pub fn why_held(spec: &Value, cut: Cut, host_networks: &BTreeSet<String>) -> Option<String> {
    let mut whys = Vec::new();
    let places = if cut.volumes { Vec::new() } else { places(spec) };
    if !places.is_empty() {
        whys.push(format!("its tasks use {} of their node (--with-volumes)", places.join(", ")));
    }
    let ports = if cut.host_ports { Vec::new() } else { host_ports(spec) };
    if !ports.is_empty() {
        whys.push(format!("it publishes {} on its nodes, in host mode (--with-host-ports)", ports.join(", ")));
    }
    if !cut.host_ports && networks(spec).any(|id| host_networks.contains(id)) {
        whys.push("its tasks are in the network of their host (--with-host-ports)".to_owned());
    }
    (!whys.is_empty()).then(|| whys.join("; "))
}

/// Ids of the networks of a service's tasks. Services of old engines have them beside the template of the task.
pub fn networks(spec: &Value) -> impl Iterator<Item = &str> {
    let lists = [&spec["TaskTemplate"]["Networks"], &spec["Networks"]];
    lists.into_iter().filter_map(Value::as_array).flatten().filter_map(|network| network["Target"].as_str())
}

/// Volumes and directories of the node. A volume of another driver may be a share: that is not known here.
fn places(spec: &Value) -> Vec<String> {
    let mounts = spec["TaskTemplate"]["ContainerSpec"]["Mounts"].as_array().into_iter().flatten();
    let place = |mount: &Value| {
        let source = mount["Source"].as_str().unwrap_or_default();
        match mount["Type"].as_str().unwrap_or_default() {
            "tmpfs" | "image" => None,
            // Each task gets one of its own, and what the old one has written stays behind.
            "volume" if source.is_empty() => {
                Some(format!("a volume without a name at `{}`", mount["Target"].as_str().unwrap_or_default()))
            }
            "volume" => Some(format!("the volume `{source}`")),
            "bind" => Some(format!("the directory `{source}`")),
            kind => Some(format!("the {kind} `{source}`")),
        }
    };
    mounts.filter_map(place).collect()
}

fn host_ports(spec: &Value) -> Vec<String> {
    let ports = spec["EndpointSpec"]["Ports"].as_array().into_iter().flatten();
    let is_host = |port: &&Value| port["PublishMode"] == "host";
    let named = |port: &Value| match port["PublishedPort"].as_u64() {
        None | Some(0) => format!("a free port for {}", port["TargetPort"]),
        Some(published) => format!("port {published}"),
    };
    ports.filter(is_host).map(named).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held(mounts: Value, ports: Value, cut: Cut) -> Option<String> {
        let spec = json!({
            "TaskTemplate": { "ContainerSpec": { "Mounts": mounts } },
            "EndpointSpec": { "Ports": ports },
        });
        why_held(&spec, cut, &BTreeSet::new())
    }

    #[test]
    fn volumes_directories_and_ports_of_a_node_hold_a_service() {
        for (mounts, ports, said) in [
            (json!([{ "Type": "volume", "Source": "db", "Target": "/d" }]), json!(null), Some("the volume `db`")),
            (json!([{ "Type": "bind", "Source": "/srv", "ReadOnly": true }]), json!([]), Some("the directory `/srv`")),
            (json!([{ "Type": "npipe", "Source": "p" }]), json!([]), Some("the npipe `p`")),
            (json!([{ "Type": "volume", "Target": "/data" }]), json!([]), Some("a volume without a name at `/data`")),
            (json!([{ "Type": "tmpfs" }]), json!([]), None),
            (json!(null), json!([{ "PublishMode": "host", "PublishedPort": 80, "TargetPort": 8080 }]), Some("port 80")),
            (json!(null), json!([{ "PublishMode": "host", "TargetPort": 8080 }]), Some("a free port for 8080")),
            (json!(null), json!([{ "PublishMode": "ingress", "PublishedPort": 80 }]), None),
        ] {
            let why = held(mounts.clone(), ports.clone(), Cut::default());
            match (why, said) {
                (Some(why), Some(said)) => assert!(why.contains(said), "{why}"),
                (why, said) => assert!(why.is_none() && said.is_none(), "{mounts} {ports}: {why:?}"),
            }
        }
        assert_eq!(why_held(&json!({}), Cut::default(), &BTreeSet::new()), None);
    }

    #[test]
    fn the_network_of_the_host_counts_like_its_ports() {
        let ids = BTreeSet::from(["h1".to_owned()]);
        let of = |id: &str| json!({ "TaskTemplate": { "Networks": [{ "Target": "n1" }, { "Target": id }] } });
        let why = why_held(&of("h1"), Cut::default(), &ids).expect("is held");
        assert!(why.contains("network of their host") && why.contains("--with-host-ports"), "{why}");
        assert!(why_held(&of("h1"), Cut { volumes: true, host_ports: false }, &ids).is_some());
        assert_eq!(why_held(&of("h1"), Cut { volumes: false, host_ports: true }, &ids), None);
        assert_eq!(why_held(&of("n2"), Cut::default(), &ids), None);
        let old = json!({ "TaskTemplate": {}, "Networks": [{ "Target": "h1" }] });
        assert!(why_held(&old, Cut::default(), &ids).is_some());
    }

    #[test]
    fn each_tie_is_cut_by_its_own_flag() {
        let mounts = json!([{ "Type": "volume", "Source": "db" }, { "Type": "volume", "Target": "/d" }]);
        let ports = json!([{ "PublishMode": "host", "PublishedPort": 80 }]);
        let held = |volumes, host_ports| held(mounts.clone(), ports.clone(), Cut { volumes, host_ports });
        let both = held(false, false).expect("is held");
        assert!(both.contains("--with-volumes") && both.contains("--with-host-ports"), "{both}");
        assert!(held(true, false).is_some_and(|why| !why.contains("volume")));
        assert!(held(false, true).is_some_and(|why| !why.contains("port")));
        assert_eq!(held(true, true), None);
    }
}

//! What ties the tasks of a service to the nodes that they run on.
//!
//! A task that is placed anew finds an empty volume of the same name on another node, and a directory of other content or
//! none; the engine does not tell. Clients of a port in host mode know the node's address. Whether that matters only the
//! operator knows: the data may be a cache, the volume a share, the clients a load balancer that follows.

use serde_json::Value;

/// Ties in spite of which services are placed anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    pub volumes: bool,
    pub host_ports: bool,
}

/// Returns why a service is left where it is; `None` if nothing that is not to be cut ties its tasks.
pub fn why_held(spec: &Value, cut: Cut) -> Option<String> {
    let mut whys = Vec::new();
    let places = if cut.volumes { Vec::new() } else { places(spec) };
    if !places.is_empty() {
        whys.push(format!("its tasks use {} of their node (--with-volumes)", places.join(", ")));
    }
    let ports = if cut.host_ports { Vec::new() } else { host_ports(spec) };
    if !ports.is_empty() {
        whys.push(format!("it publishes {} on its nodes, in host mode (--with-host-ports)", ports.join(", ")));
    }
    (!whys.is_empty()).then(|| whys.join("; "))
}

/// Volumes and directories of the node. A volume of another driver may be a share: that is not known here.
fn places(spec: &Value) -> Vec<String> {
    let mounts = spec["TaskTemplate"]["ContainerSpec"]["Mounts"].as_array().into_iter().flatten();
    let place = |mount: &Value| {
        let source = mount["Source"].as_str().unwrap_or_default();
        match mount["Type"].as_str().unwrap_or_default() {
            "tmpfs" | "image" => None,
            // Each task gets one of its own.
            "volume" if source.is_empty() => None,
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
        why_held(&spec, cut)
    }

    #[test]
    fn volumes_directories_and_ports_of_a_node_hold_a_service() {
        for (mounts, ports, said) in [
            (json!([{ "Type": "volume", "Source": "db", "Target": "/d" }]), json!(null), Some("the volume `db`")),
            (json!([{ "Type": "bind", "Source": "/srv", "ReadOnly": true }]), json!([]), Some("the directory `/srv`")),
            (json!([{ "Type": "npipe", "Source": "p" }]), json!([]), Some("the npipe `p`")),
            (json!([{ "Type": "tmpfs" }, { "Type": "volume", "Target": "/scratch" }]), json!([]), None),
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
        assert_eq!(why_held(&json!({}), Cut::default()), None);
    }

    #[test]
    fn each_tie_is_cut_by_its_own_flag() {
        let mounts = json!([{ "Type": "volume", "Source": "db" }]);
        let ports = json!([{ "PublishMode": "host", "PublishedPort": 80 }]);
        let held = |volumes, host_ports| held(mounts.clone(), ports.clone(), Cut { volumes, host_ports });
        let both = held(false, false).expect("is held");
        assert!(both.contains("--with-volumes") && both.contains("--with-host-ports"), "{both}");
        assert!(held(true, false).is_some_and(|why| !why.contains("volume")));
        assert!(held(false, true).is_some_and(|why| !why.contains("port")));
        assert_eq!(held(true, true), None);
    }
}

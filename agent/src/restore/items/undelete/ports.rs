//! Published ports of services, which no two services of a swarm may share.

use std::collections::HashMap;

use serde_json::Value;

use super::living::{Living, LivingObject};

/// A port as the outside sees it.
type Port = (String, u64);

/// One service that publishes a port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Publisher {
    id: String,
    name: String,
    is_ingress: bool,
}

/// Ports that living services publish.
#[derive(Debug, Default)]
pub struct Ports(HashMap<Port, Vec<Publisher>>);

/// A port that a living service publishes too.
#[derive(Debug, PartialEq, Eq)]
pub struct Clash {
    /// Number and protocol: `8080/tcp`.
    pub port: String,
    pub service: String,
    /// False if both publish it on the hosts only: then they cannot run on the same host, and nothing is refused.
    pub is_refused: bool,
}

impl Ports {
    /// Reads the ports that were asked for and those that the swarm chose.
    pub fn of(living: &Living) -> Self {
        let mut ports = Self::default();
        for service in living.services() {
            for place in ["/Spec/EndpointSpec/Ports", "/Endpoint/Ports"] {
                ports.add(service, &service.listed, place);
            }
        }
        ports
    }

    fn add(&mut self, service: &LivingObject, listed: &Value, place: &str) {
        for (port, is_ingress) in published(listed.pointer(place)) {
            let publisher = Publisher { id: service.id.clone(), name: service.name.clone(), is_ingress };
            let publishers = self.0.entry(port).or_default();
            if !publishers.contains(&publisher) {
                publishers.push(publisher);
            }
        }
    }

    /// Returns the clashes of a service with living ones other than `own`, as the engine judges them also for services
    /// without replicas (swarmkit `manager/controlapi/service.go`, `checkPortConflicts`).
    pub fn clashes(&self, spec: &Value, own: Option<&str>) -> Vec<Clash> {
        let mut found = Vec::new();
        for (port, is_ingress) in published(spec.pointer("/EndpointSpec/Ports")) {
            let publishers = self.0.get(&port).into_iter().flatten();
            for other in publishers.filter(|other| own != Some(other.id.as_str())) {
                let is_refused = is_ingress || other.is_ingress;
                let (protocol, number) = &port;
                let clash = Clash { port: format!("{number}/{protocol}"), service: other.name.clone(), is_refused };
                found.push(clash);
            }
        }
        found
    }
}

/// Whether a service needs the routing mesh.
pub fn needs_ingress(spec: &Value) -> bool {
    let ports = spec.pointer("/EndpointSpec/Ports").and_then(Value::as_array).into_iter().flatten();
    ports.into_iter().any(is_ingress)
}

/// Returns the ports that were asked for by number, and whether each is published through the routing mesh.
fn published(ports: Option<&Value>) -> Vec<(Port, bool)> {
    let ports = ports.and_then(Value::as_array).into_iter().flatten();
    let ports = ports.filter_map(|port| {
        let number = port["PublishedPort"].as_u64().filter(|number| *number != 0)?;
        let protocol = port["Protocol"].as_str().unwrap_or("tcp").to_owned();
        Some(((protocol, number), is_ingress(port)))
    });
    ports.collect()
}

fn is_ingress(port: &Value) -> bool {
    port["PublishMode"].as_str().is_none_or(|mode| mode == "ingress")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_state::inventory::ObjectKind;

    use super::*;

    fn living() -> Living {
        let service = |id: &str, name: &str, asked: Value, given: Value| {
            json!({
                "ID": id, "Spec": { "Name": name, "EndpointSpec": { "Ports": asked } }, "Endpoint": { "Ports": given },
            })
        };
        let port = |number: u64, mode: &str| json!({ "Protocol": "tcp", "PublishedPort": number, "PublishMode": mode });
        let services = vec![
            service("a1", "mesh", json!([port(80, "ingress")]), json!([port(80, "ingress")])),
            service(
                "b1",
                "chosen",
                json!([{ "Protocol": "tcp", "PublishMode": "ingress" }]),
                json!([port(30000, "ingress")]),
            ),
            service("c1", "host", json!([port(53, "host")]), json!([])),
        ];
        Living::of(vec![(ObjectKind::Service, services)], Vec::new())
    }

    #[test]
    fn a_port_clashes_unless_both_are_of_hosts() {
        let ports = Ports::of(&living());
        let clashes = |number: u64, mode: &str, own: Option<&str>| {
            let spec = json!({ "EndpointSpec": { "Ports": [{ "PublishedPort": number, "PublishMode": mode }] } });
            let found = ports.clashes(&spec, own).into_iter();
            found.map(|it| format!("{} {} {}", it.port, it.service, it.is_refused)).collect::<Vec<_>>()
        };
        assert_eq!(clashes(80, "ingress", None), ["80/tcp mesh true"]);
        assert_eq!(clashes(80, "host", None), ["80/tcp mesh true"]);
        assert!(clashes(80, "ingress", Some("a1")).is_empty(), "it is its own");
        assert_eq!(clashes(30000, "ingress", None), ["30000/tcp chosen true"]);
        assert_eq!(clashes(53, "ingress", None), ["53/tcp host true"]);
        assert_eq!(clashes(53, "host", None), ["53/tcp host false"]);
        assert!(clashes(0, "ingress", None).is_empty() && clashes(81, "ingress", None).is_empty());
        let udp = json!({ "EndpointSpec": { "Ports": [{ "Protocol": "udp", "PublishedPort": 80 }] } });
        assert!(ports.clashes(&udp, None).is_empty());
    }

    #[test]
    fn the_mesh_is_needed_for_its_ports_only() {
        for (ports, needed) in [
            (json!([{ "PublishMode": "ingress" }]), true),
            (json!([{ "PublishedPort": 80 }]), true),
            (json!([{ "PublishMode": "host" }]), false),
            (json!([]), false),
            (Value::Null, false),
        ] {
            assert_eq!(needs_ingress(&json!({ "EndpointSpec": { "Ports": ports } })), needed, "{ports}");
        }
    }
}

//! Parts of a swarm that were bound to nodes that are gone, and do not come back with its state.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use swarm_state::Inventory;

use crate::host::engine::view::{ManagerView, Node};

/// The findings in words, one line each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Services whose tasks no present node may run.
    pub unplaceable: Vec<String>,
    /// Things that stayed on the old node: contents of volumes, ports of its address, labels.
    pub left_behind: Vec<String>,
}

/// A condition that a placement constraint sets for a node.
#[derive(Debug, PartialEq, Eq)]
struct Constraint<'a> {
    key: &'a str,
    value: &'a str,
}

impl<'a> Constraint<'a> {
    /// Parses a constraint; `None` for one that excludes nodes, which new nodes satisfy.
    fn parse(text: &'a str) -> Option<Self> {
        let (key, value) = text.split_once("==")?;
        Some(Self { key: key.trim(), value: value.trim() })
    }

    /// Compares without regard to case, as the engine does (swarmkit `manager/constraint`). `None` for properties that
    /// nodes report themselves: engine, platform, address.
    fn accepts(&self, node: &Node) -> Option<bool> {
        let found = match self.key.to_ascii_lowercase().as_str() {
            "node.id" => Some(node.id.as_str()),
            "node.hostname" => Some(node.hostname.as_str()),
            _ => node.labels.get(self.key.strip_prefix("node.labels.")?).map(String::as_str),
        };
        Some(found.is_some_and(|found| found.eq_ignore_ascii_case(self.value)))
    }
}

impl Bound {
    /// Compares the services with the present nodes. `own` is the new manager, which counts as present whatever state
    /// is reported for it so early.
    pub fn find(view: &ManagerView, recorded: &Inventory, old: &str, own: &str) -> Self {
        let is_here = |node: &&Node| node.id == own || node.is_ready();
        let here: Vec<&Node> = view.nodes.iter().filter(is_here).collect();
        let mut bound = Self::default();
        for service in &view.services {
            bound.look_at(service, &here);
        }
        bound.left_behind.extend(labels(view, recorded, old, own));
        bound
    }

    /// Adds a service. A constraint that cannot be parsed binds it to nothing.
    fn look_at(&mut self, service: &Value, here: &[&Node]) {
        let name = text(service, "/Spec/Name");
        for constraint in items(service, "/Spec/TaskTemplate/Placement/Constraints").filter_map(Value::as_str) {
            let unmet =
                Constraint::parse(constraint).is_some_and(|it| here.iter().all(|node| it.accepts(node) == Some(false)));
            if unmet {
                self.unplaceable.push(format!("service {name} wants {constraint}, and no node that is here is that"));
            }
        }
        let mounts = items(service, "/Spec/TaskTemplate/ContainerSpec/Mounts");
        let volumes = mounts.filter(|mount| text(mount, "/Type") == "volume").map(|mount| text(mount, "/Source"));
        for volume in volumes.filter(|source| !source.is_empty()).collect::<BTreeSet<_>>() {
            self.left_behind.push(format!("service {name} uses the volume {volume}; what it held is on the old nodes"));
        }
        let ports = items(service, "/Spec/EndpointSpec/Ports");
        for port in ports.filter(|port| text(port, "/PublishMode") == "host") {
            let port = port.pointer("/PublishedPort").and_then(Value::as_u64).unwrap_or_default();
            self.left_behind.push(format!(
                "service {name} publishes port {port} on its nodes themselves; clients knew the old ones"
            ));
        }
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// Lists labels of the old node that the new one lacks, with the commands that set them.
fn labels(view: &ManagerView, recorded: &Inventory, old: &str, own: &str) -> Option<String> {
    let old = recorded.nodes.iter().find(|node| node.id == old)?;
    let empty = BTreeMap::new();
    let has = view.node(own).map_or(&empty, |node| &node.labels);
    let labels = old.labels.as_ref().unwrap_or(&empty).iter();
    let lacking: Vec<String> = labels
        .filter(|(key, value)| has.get(*key) != Some(value))
        .map(|(key, value)| format!("--label-add '{key}={value}'"))
        .collect();
    (!lacking.is_empty()).then(|| {
        format!("{} had labels that its successor lacks: docker node update {} {own}", old.hostname, lacking.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::engine::view::testing::view_of;
    use swarm_state::inventory::{self, Cluster};

    fn node(id: &str, hostname: &str, label: Option<(&str, &str)>) -> Node {
        let labels = label.map(|(key, value)| [(key.to_owned(), value.to_owned())].into()).unwrap_or_default();
        Node { id: id.to_owned(), hostname: hostname.to_owned(), labels, ..Node::default() }
    }

    #[test]
    fn constraints_are_held_against_the_nodes_that_are_here() {
        let here = node("new", "M2", Some(("zone", "one")));
        for (text, accepted) in [
            ("node.hostname==m2", Some(true)),
            ("node.hostname == m1", Some(false)),
            ("node.id==old", Some(false)),
            ("node.id==new", Some(true)),
            ("node.labels.zone==one", Some(true)),
            ("node.labels.zone==two", Some(false)),
            ("node.labels.disk==ssd", Some(false)),
            ("node.role==manager", None),
            ("engine.labels.os==x", None),
        ] {
            assert_eq!(Constraint::parse(text).expect("is one").accepts(&here), accepted, "{text}");
        }
        assert_eq!(Constraint::parse("node.hostname!=m1"), None);
    }

    fn service(constraint: &str) -> Value {
        json!({ "Spec": {
            "Name": "db",
            "TaskTemplate": {
                "Placement": { "Constraints": [constraint] },
                "ContainerSpec": { "Mounts": [{ "Type": "volume", "Source": "data" }, { "Type": "tmpfs" }] },
            },
            "EndpointSpec": { "Ports": [{ "PublishMode": "host", "PublishedPort": 8080 }] },
        }})
    }

    #[test]
    fn what_was_bound_to_a_node_that_is_gone_is_told() {
        let mut recorded = swarm_state::Inventory::empty(Cluster::default());
        let labels = Some([("zone".to_owned(), "one".to_owned())].into());
        let old = inventory::Node { id: "old".into(), hostname: "m1".into(), labels, ..inventory::Node::default() };
        recorded.nodes = vec![old];
        let view = |label| ManagerView {
            services: vec![service("node.labels.zone==one")],
            ..view_of(Cluster::default(), vec![node("new", "m2", label)])
        };
        let bound = Bound::find(&view(None), &recorded, "old", "new");
        assert_eq!(bound.unplaceable.len(), 1, "{bound:?}");
        let left = bound.left_behind.join("; ");
        for wanted in ["volume data", "port 8080", "docker node update --label-add 'zone=one' new"] {
            assert!(left.contains(wanted), "{wanted} in {left}");
        }
        let bound = Bound::find(&view(Some(("zone", "one"))), &recorded, "old", "new");
        assert_eq!((bound.unplaceable.len(), bound.left_behind.len()), (0, 2), "{bound:?}");
    }
}

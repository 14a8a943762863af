//! What of a swarm was bound to nodes that are gone, and does not come back with its state.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{EndpointPortConfigPublishModeEnum, MountType, Node, NodeState, Service};
use serde::Serialize;

use crate::{host::engine::ManagerView, swarm::Inventory};

/// In words, one line a fact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Services whose tasks no node that is here may run.
    pub unplaceable: Vec<String>,
    /// What stayed on the old node: contents of volumes, ports of its address, labels.
    pub left_behind: Vec<String>,
}

/// What a placement constraint asks of a node.
#[derive(Debug, PartialEq, Eq)]
struct Constraint<'a> {
    key: &'a str,
    value: &'a str,
}

impl<'a> Constraint<'a> {
    /// `None` for what excludes nodes, which new nodes satisfy.
    fn parse(text: &'a str) -> Option<Self> {
        let (key, value) = text.split_once("==")?;
        Some(Self { key: key.trim(), value: value.trim() })
    }

    /// Without regard to case, as the engine does it (swarmkit `manager/constraint`). `None` for what nodes say of
    /// their engine, platform or address.
    fn accepts(&self, node: &Node) -> Option<bool> {
        let spec = node.spec.as_ref();
        let description = node.description.as_ref();
        let found = match self.key.to_ascii_lowercase().as_str() {
            "node.id" => node.id.as_deref(),
            "node.hostname" => description.and_then(|it| it.hostname.as_deref()),
            _ => {
                let label = self.key.strip_prefix("node.labels.")?;
                spec.and_then(|it| it.labels.as_ref()?.get(label)).map(String::as_str)
            }
        };
        Some(found.is_some_and(|found| found.eq_ignore_ascii_case(self.value)))
    }
}

impl Bound {
    /// `own` is the new manager, which is here whatever its state says so soon.
    pub fn find(view: &ManagerView, recorded: &Inventory, old: &str, own: &str) -> Self {
        let is_ready = |node: &&Node| node.status.as_ref().and_then(|it| it.state) == Some(NodeState::READY);
        let is_here = |node: &&Node| node.id.as_deref() == Some(own) || is_ready(node);
        let here: Vec<&Node> = view.nodes.iter().filter(is_here).collect();
        let mut bound = Self::default();
        for service in &view.services {
            bound.look_at(service, &here);
        }
        bound.left_behind.extend(labels(view, recorded, old, own));
        bound
    }

    fn look_at(&mut self, service: &Service, here: &[&Node]) {
        let Some(spec) = &service.spec else { return };
        let name = spec.name.as_deref().unwrap_or_default();
        let template = spec.task_template.as_ref();
        let constraints = template.and_then(|it| it.placement.as_ref()?.constraints.as_deref()).unwrap_or_default();
        for text in constraints {
            let unmet =
                Constraint::parse(text).is_some_and(|it| here.iter().all(|node| it.accepts(node) == Some(false)));
            if unmet {
                self.unplaceable.push(format!("service {name} wants {text}, and no node that is here is that"));
            }
        }
        let mounts = template.and_then(|it| it.container_spec.as_ref()?.mounts.as_deref()).unwrap_or_default();
        let volumes = mounts.iter().filter(|mount| mount.typ == Some(MountType::VOLUME));
        let volumes: BTreeSet<&str> = volumes.filter_map(|mount| mount.source.as_deref()).collect();
        for volume in volumes {
            self.left_behind.push(format!("service {name} uses the volume {volume}; what it held is on the old nodes"));
        }
        let ports = spec.endpoint_spec.as_ref().and_then(|it| it.ports.as_deref()).unwrap_or_default();
        for port in ports.iter().filter(|it| it.publish_mode == Some(EndpointPortConfigPublishModeEnum::HOST)) {
            let port = port.published_port.unwrap_or_default();
            self.left_behind.push(format!(
                "service {name} publishes port {port} on its nodes themselves; clients knew the old ones"
            ));
        }
    }
}

/// Those of the old node that the new one lacks, with what sets them.
fn labels(view: &ManagerView, recorded: &Inventory, old: &str, own: &str) -> Option<String> {
    let old = recorded.nodes.iter().find(|node| node.id == old)?;
    let none = std::collections::HashMap::new();
    let has = view.node(own).and_then(|node| node.spec.as_ref()?.labels.as_ref()).unwrap_or(&none);
    let empty = BTreeMap::new();
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
    use bollard::models::{
        EndpointPortConfig, EndpointSpec, Mount, NodeDescription, NodeSpec, ServiceSpec, Swarm, TaskSpec,
        TaskSpecContainerSpec, TaskSpecPlacement,
    };

    use super::*;
    use crate::swarm::inventory::{self, Cluster};

    fn node(id: &str, hostname: &str, label: Option<(&str, &str)>) -> Node {
        let labels = label.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        Node {
            id: Some(id.to_owned()),
            description: Some(NodeDescription { hostname: Some(hostname.to_owned()), ..NodeDescription::default() }),
            spec: Some(NodeSpec { labels, ..NodeSpec::default() }),
            ..Node::default()
        }
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

    fn service(constraint: &str) -> Service {
        let placement =
            TaskSpecPlacement { constraints: Some(vec![constraint.to_owned()]), ..TaskSpecPlacement::default() };
        let volume = Mount { typ: Some(MountType::VOLUME), source: Some("data".to_owned()), ..Mount::default() };
        let container = TaskSpecContainerSpec { mounts: Some(vec![volume]), ..TaskSpecContainerSpec::default() };
        let port = EndpointPortConfig {
            publish_mode: Some(EndpointPortConfigPublishModeEnum::HOST),
            published_port: Some(8080),
            ..EndpointPortConfig::default()
        };
        let template = TaskSpec { placement: Some(placement), container_spec: Some(container), ..TaskSpec::default() };
        let endpoint = EndpointSpec { ports: Some(vec![port]), ..EndpointSpec::default() };
        let spec = ServiceSpec {
            name: Some("db".to_owned()),
            task_template: Some(template),
            endpoint_spec: Some(endpoint),
            ..ServiceSpec::default()
        };
        Service { spec: Some(spec), ..Service::default() }
    }

    #[test]
    fn what_was_bound_to_a_node_that_is_gone_is_told() {
        let mut recorded = crate::inspection::tests::inventory_of(Cluster::default());
        let labels = Some([("zone".to_owned(), "one".to_owned())].into());
        let old = inventory::Node { id: "old".into(), hostname: "m1".into(), labels, ..inventory::Node::default() };
        recorded.nodes = vec![old];
        let view = |label| ManagerView {
            cluster: Swarm::default(),
            nodes: vec![node("new", "m2", label)],
            services: vec![service("node.labels.zone==one")],
            networks: Vec::new(),
            secrets: Vec::new(),
            configs: Vec::new(),
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

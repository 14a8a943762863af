//! The objects of a swarm that can be brought back one by one, by name.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use swarm_state::inventory::{Inventory, ObjectKind};
use swarmdr_archive::untrusted::shown;

/// Label by which the command line of Docker knows the objects of a stack (docker/cli
/// `cli/compose/convert/compose.go`, `LabelNamespace`).
pub const STACK: &str = "com.docker.stack.namespace";

/// A service, network, secret or config, without its spec or value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub kind: ObjectKind,
    pub id: String,
    pub name: String,
    /// Name of the stack that it belongs to.
    pub stack: Option<String>,
}

impl Object {
    /// Lists the objects that can be brought back, sorted by kind, name and id. The ingress network is not one of them,
    /// since each swarm has its own.
    pub fn all_of(inventory: &Inventory) -> Vec<Self> {
        let networks = inventory.networks.iter().filter(|network| !network.ingress);
        let services = inventory.services.iter().map(|it| Self::of(ObjectKind::Service, &it.id, &it.name, &it.labels));
        let mut all: Vec<Self> = services
            .chain(networks.map(|it| Self::of(ObjectKind::Network, &it.id, &it.name, &it.labels)))
            .chain(inventory.secrets.iter().map(|it| Self::of(ObjectKind::Secret, &it.id, &it.name, &it.labels)))
            .chain(inventory.configs.iter().map(|it| Self::of(ObjectKind::Config, &it.id, &it.name, &it.labels)))
            .collect();
        all.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
        all
    }

    fn of(kind: ObjectKind, id: &str, name: &str, labels: &Option<BTreeMap<String, String>>) -> Self {
        let stack = labels.as_ref().and_then(|labels| labels.get(STACK)).filter(|stack| !stack.is_empty());
        Self { kind, id: id.to_owned(), name: name.to_owned(), stack: stack.cloned() }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, shown(&self.name))
    }
}

#[cfg(test)]
pub mod tests {
    use swarm_state::inventory::{Cluster, Config, Network, Node, Secret, Service, Volume};

    use super::*;

    /// An object whose id is made of its kind and its name.
    pub fn object(kind: ObjectKind, name: &str, stack: Option<&str>) -> Object {
        Object { kind, id: format!("id-of-{kind}-{name}"), name: name.to_owned(), stack: stack.map(str::to_owned) }
    }

    fn labels(stack: &str) -> Option<BTreeMap<String, String>> {
        Some(BTreeMap::from([(STACK.to_owned(), stack.to_owned())]))
    }

    #[test]
    fn only_what_can_be_brought_back_is_listed() {
        let mut inventory = Inventory::empty(Cluster::default());
        let id = |name: &str| format!("id-of-{name}");
        inventory.services = vec![
            Service { id: id("service-web"), name: "web".into(), labels: labels("shop"), ..Service::default() },
            Service { id: id("service-alone"), name: "alone".into(), labels: labels(""), ..Service::default() },
        ];
        inventory.networks = vec![
            Network { name: "ingress".into(), ingress: true, ..Network::default() },
            Network { id: id("network-net"), name: "net".into(), ..Network::default() },
        ];
        inventory.secrets = vec![Secret { id: id("secret-key"), name: "key".into(), ..Secret::default() }];
        inventory.configs = vec![Config { id: id("config-conf"), name: "conf".into(), ..Config::default() }];
        inventory.nodes = vec![Node::default()];
        inventory.volumes = Some(vec![Volume::default()]);
        let expected = [
            object(ObjectKind::Service, "alone", None),
            object(ObjectKind::Service, "web", Some("shop")),
            object(ObjectKind::Network, "net", None),
            object(ObjectKind::Secret, "key", None),
            object(ObjectKind::Config, "conf", None),
        ];
        assert_eq!(Object::all_of(&inventory), expected);
    }
}

//! Object-by-object comparison of two inventories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cluster, Config, Inventory, Network, Node, Secret, Service, Volume};

/// One thing in which two inventories differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What sort of object.
    pub kind: ObjectKind,
    /// Its id.
    pub id: String,
    /// Its name; host name for nodes.
    pub name: String,
    /// What differs.
    pub change: Change,
}

/// Sort of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// The cluster as a whole.
    Cluster,
    /// A node.
    Node,
    /// A service.
    Service,
    /// A network of swarm scope.
    Network,
    /// A secret.
    Secret,
    /// A config.
    Config,
    /// A cluster volume.
    Volume,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// In the first inventory only.
    Missing,
    /// In the second inventory only.
    Extra,
    /// In both, but not the same.
    Changed {
        /// Name of the field, as in the JSON form.
        field: String,
        /// In the first inventory.
        recorded: String,
        /// In the second inventory.
        actual: String,
    },
}

/// What in `actual` is not as `recorded`: the check after a restore. Looks at what an operator wrote (ids, names,
/// specs), not at what a running swarm changes by itself (states, addresses, version indexes, tasks), and only
/// at fields that both sides know. Sorted by kind and id.
pub fn compare(recorded: &Inventory, actual: &Inventory) -> Vec<Difference> {
    differences(recorded, actual, Depth::Specs)
}

/// As [`compare()`], and also what changes by itself: for two backups of one cluster.
pub fn diff(before: &Inventory, after: &Inventory) -> Vec<Difference> {
    differences(before, after, Depth::All)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Specs,
    All,
}

/// One comparable field: name, and value unless the source does not know it.
struct Field {
    name: &'static str,
    value: Option<String>,
    depth: Depth,
}

trait Object {
    const KIND: ObjectKind;
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    fn fields(&self) -> Vec<Field>;
}

fn differences(a: &Inventory, b: &Inventory, depth: Depth) -> Vec<Difference> {
    let cluster = |i: &Inventory| vec![i.cluster.clone()];
    let mut found = list_differences(&cluster(a), &cluster(b), depth);
    found.extend(list_differences(&a.nodes, &b.nodes, depth));
    found.extend(list_differences(&a.services, &b.services, depth));
    found.extend(list_differences(&a.networks, &b.networks, depth));
    found.extend(list_differences(&a.secrets, &b.secrets, depth));
    found.extend(list_differences(&a.configs, &b.configs, depth));
    if let (Some(a), Some(b)) = (&a.volumes, &b.volumes) {
        found.extend(list_differences(a, b, depth));
    }
    found
}

fn list_differences<T: Object>(a: &[T], b: &[T], depth: Depth) -> Vec<Difference> {
    let a: BTreeMap<&str, &T> = a.iter().map(|object| (object.id(), object)).collect();
    let b: BTreeMap<&str, &T> = b.iter().map(|object| (object.id(), object)).collect();
    let ids: BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
    let mut found = Vec::new();
    for id in ids {
        match (a.get(id), b.get(id)) {
            (Some(object), None) => found.push(difference(*object, Change::Missing)),
            (None, Some(object)) => found.push(difference(*object, Change::Extra)),
            (Some(a), Some(b)) => found.extend(changes(*a, *b, depth)),
            (None, None) => unreachable!("the id came from one of the lists"),
        }
    }
    found
}

fn difference<T: Object>(object: &T, change: Change) -> Difference {
    Difference { kind: T::KIND, id: object.id().to_owned(), name: object.name().to_owned(), change }
}

fn changes<T: Object>(a: &T, b: &T, depth: Depth) -> Vec<Difference> {
    let mut found = Vec::new();
    for (a_field, b_field) in a.fields().into_iter().zip(b.fields()) {
        let (Some(recorded), Some(actual)) = (a_field.value, b_field.value) else {
            continue;
        };
        let wanted = a_field.depth == Depth::Specs || depth == Depth::All;
        if wanted && recorded != actual {
            let field = a_field.name.to_owned();
            found.push(difference(b, Change::Changed { field, recorded, actual }));
        }
    }
    found
}

fn spec(name: &'static str, value: impl ToString) -> Field {
    Field { name, value: Some(value.to_string()), depth: Depth::Specs }
}

fn spec_if_known(name: &'static str, value: Option<impl ToString>) -> Field {
    Field { name, value: value.map(|v| v.to_string()), depth: Depth::Specs }
}

fn moving(name: &'static str, value: Option<impl ToString>) -> Field {
    Field { name, value: value.map(|v| v.to_string()), depth: Depth::All }
}

fn labels(labels: Option<&BTreeMap<String, String>>) -> Field {
    let text = labels.map(|labels| {
        let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(", ")
    });
    spec_if_known("labels", text)
}

impl Object for Cluster {
    const KIND: ObjectKind = ObjectKind::Cluster;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        let pools = self.default_address_pools.as_ref().map(|pools| pools.join(", "));
        let cas = self.external_cas.as_ref().map(|cas| cas.join(", "));
        let tokens = self.join_token_digests.as_ref();
        vec![
            spec("name", &self.name),
            spec_if_known("autolock", self.autolock),
            spec_if_known("root_ca_digest", self.root_ca_digest.as_ref()),
            spec_if_known("force_rotate", self.force_rotate),
            spec_if_known("external_cas", cas),
            spec_if_known("data_path_port", self.data_path_port),
            spec_if_known("default_address_pools", pools),
            spec_if_known("subnet_size", self.subnet_size),
            spec_if_known("node_cert_expiry_seconds", self.node_cert_expiry_seconds),
            spec_if_known("join_token_digests.worker", tokens.map(|t| &t.worker)),
            spec_if_known("join_token_digests.manager", tokens.map(|t| &t.manager)),
            spec_if_known("snapshot_interval", self.snapshot_interval),
            moving("root_rotation", self.root_rotation),
            moving("version_index", self.version_index),
        ]
    }
}

impl Object for Node {
    const KIND: ObjectKind = ObjectKind::Node;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.hostname
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("hostname", &self.hostname),
            spec("role", &self.role),
            spec("availability", &self.availability),
            labels(self.labels.as_ref()),
            moving("addr", self.addr.as_ref()),
            moving("state", self.state.as_ref()),
            moving("engine_version", self.engine_version.as_ref()),
            moving("manager_addr", self.manager_addr.as_ref()),
        ]
    }
}

impl Object for Service {
    const KIND: ObjectKind = ObjectKind::Service;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec("image", &self.image),
            spec("mode", &self.mode),
            spec_if_known("replicas", self.replicas),
            spec("networks", self.networks.join(", ")),
            spec("secrets", self.secrets.join(", ")),
            spec("configs", self.configs.join(", ")),
            labels(self.labels.as_ref()),
            moving("spec_version", self.spec_version),
            moving("version_index", self.version_index),
        ]
    }
}

impl Object for Network {
    const KIND: ObjectKind = ObjectKind::Network;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        let allocated = self.is_allocated();
        // An engine that runs tasks on a network of its own host (macvlan and the like) lists subnets that the swarm
        // itself knows nothing of.
        let is_told = allocated == Some(true) && (self.driver == "overlay" || !self.subnets.is_empty());
        let subnets = is_told.then(|| self.subnets.join(", "));
        vec![
            spec("name", &self.name),
            spec_if_known("driver", Some(&self.driver).filter(|driver| !driver.is_empty())),
            spec_if_known("allocated", allocated),
            spec_if_known("subnets", subnets),
            spec("attachable", self.attachable),
            spec("ingress", self.ingress),
            spec("internal", self.internal),
            labels(self.labels.as_ref()),
        ]
    }
}

impl Network {
    /// One with subnets has them from the allocator.
    fn is_allocated(&self) -> Option<bool> {
        self.allocated.or((!self.subnets.is_empty()).then_some(true))
    }
}

impl Object for Secret {
    const KIND: ObjectKind = ObjectKind::Secret;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec_if_known("size", self.size),
            labels(self.labels.as_ref()),
            moving("version_index", self.version_index),
        ]
    }
}

impl Object for Config {
    const KIND: ObjectKind = ObjectKind::Config;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec_if_known("size", self.size),
            labels(self.labels.as_ref()),
            moving("version_index", self.version_index),
        ]
    }
}

impl Object for Volume {
    const KIND: ObjectKind = ObjectKind::Volume;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec_if_known("driver", self.driver.as_ref()),
            moving("version_index", self.version_index),
        ]
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, name, change } = self;
        match change {
            Change::Missing => write!(f, "{kind} `{name}` ({id}) is missing"),
            Change::Extra => write!(f, "{kind} `{name}` ({id}) is new"),
            Change::Changed { field, recorded, actual } => {
                write!(f, "{kind} `{name}` ({id}): {field} was `{recorded}`, is `{actual}`")
            }
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Service => "service",
            Self::Network => "network",
            Self::Secret => "secret",
            Self::Config => "config",
            Self::Volume => "volume",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::inventory::INVENTORY_VERSION;

    fn inventory() -> Inventory {
        let service = |id: &str, name: &str| Service {
            id: id.to_owned(),
            name: name.to_owned(),
            image: "web:1".to_owned(),
            replicas: Some(2),
            version_index: Some(10),
            ..Service::default()
        };
        Inventory {
            version: INVENTORY_VERSION,
            cluster: Cluster { id: "c".to_owned(), autolock: Some(true), ..Cluster::default() },
            raft: None,
            nodes: vec![Node { id: "n".to_owned(), state: Some("ready".to_owned()), ..Node::default() }],
            services: vec![service("s1", "web"), service("s2", "db")],
            networks: Vec::new(),
            secrets: vec![Secret { id: "x".to_owned(), size: Some(5), ..Secret::default() }],
            configs: Vec::new(),
            volumes: None,
            tasks: BTreeMap::new(),
        }
    }

    fn shown(differences: &[Difference]) -> Vec<String> {
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn differences_are_named_object_by_object() {
        let mut actual = inventory();
        actual.services[0].image = "web:2".to_owned();
        actual.services[1].id = "s3".to_owned();
        actual.cluster.autolock = Some(false);
        let expected = [
            "cluster `` (c): autolock was `true`, is `false`",
            "service `web` (s1): image was `web:1`, is `web:2`",
            "service `db` (s2) is missing",
            "service `db` (s3) is new",
        ];
        assert_eq!(shown(&compare(&inventory(), &actual)), expected);
    }

    #[test]
    fn what_one_side_cannot_know_is_no_difference() {
        let mut actual = inventory();
        actual.secrets[0].size = None;
        actual.cluster.autolock = None;
        actual.volumes = Some(vec![Volume { id: "v".to_owned(), ..Volume::default() }]);
        assert_eq!(compare(&inventory(), &actual), []);
        assert_eq!(compare(&actual, &inventory()), []);
    }

    #[test]
    fn a_network_that_is_not_allocated_has_neither_driver_nor_subnets_in_the_api() {
        let with = |driver: &str, subnets: &[&str], allocated| {
            let subnets = subnets.iter().map(|subnet| (*subnet).to_owned()).collect();
            let network =
                Network { id: "o".to_owned(), driver: driver.to_owned(), subnets, allocated, ..Network::default() };
            Inventory { networks: vec![network], ..inventory() }
        };
        let (log_none, api_none) = (with("overlay", &[], Some(false)), with("", &[], Some(false)));
        let some = with("overlay", &["10.0.9.0/24"], Some(true));
        let (old_none, old_some) = (with("overlay", &[], None), with("overlay", &["10.0.9.0/24"], None));
        // The same in two sources, and in an inventory from before the field.
        for (recorded, actual) in
            [(&log_none, &api_none), (&old_none, &api_none), (&old_some, &some), (&old_none, &some)]
        {
            assert_eq!(shown(&compare(recorded, actual)), [""; 0], "{:?} {:?}", recorded.networks, actual.networks);
        }
        let got_it = "network `` (o): allocated was `false`, is `true`";
        assert_eq!(shown(&compare(&log_none, &some)), [got_it]);
        let lost_it = "network `` (o): allocated was `true`, is `false`";
        for recorded in [&some, &old_some] {
            assert_eq!(shown(&compare(recorded, &api_none)), [lost_it]);
        }
        let moved = with("overlay", &["10.0.8.0/24"], Some(true));
        assert_eq!(shown(&compare(&some, &moved)), ["network `` (o): subnets was `10.0.9.0/24`, is `10.0.8.0/24`"]);
        let emptied = with("overlay", &[], Some(true));
        assert_eq!(compare(&some, &emptied).len(), 1, "an overlay without its subnets is another one");
        let (local, seen) = (with("macvlan", &[], Some(true)), with("macvlan", &["192.0.2.0/24"], Some(true)));
        assert_eq!(compare(&local, &seen), []);
    }

    #[test]
    fn what_changes_by_itself_shows_in_a_diff_only() {
        let mut actual = inventory();
        actual.nodes[0].state = Some("down".to_owned());
        actual.services[0].version_index = Some(11);
        assert_eq!(compare(&inventory(), &actual), []);
        assert_eq!(
            shown(&diff(&inventory(), &actual)),
            ["node `` (n): state was `ready`, is `down`", "service `web` (s1): version_index was `10`, is `11`"]
        );
    }

    #[test]
    fn the_json_form_is_stable_and_leaves_out_what_is_unknown() {
        let json = serde_json::to_value(inventory()).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["services"][0]["image"], "web:1");
        for absent in ["raft", "volumes"] {
            assert_eq!(json.get(absent), None, "{absent}");
        }
        assert_eq!(json["nodes"][0].get("addr"), None);
        assert_eq!(serde_json::from_value::<Inventory>(json).unwrap(), inventory());
    }
}

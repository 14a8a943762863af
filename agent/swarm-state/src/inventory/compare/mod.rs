//! Object-by-object comparison of two inventories.

mod difference;
mod object;

use std::collections::{BTreeMap, BTreeSet};

use super::Inventory;
use object::Object;

pub use difference::{Change, Difference, ObjectKind};

/// Returns the differences of `actual` from `recorded`, for the check after a restore. Compares what an operator wrote
/// (ids, names, specs), but not what a running swarm changes by itself (states, addresses, version indexes, tasks), and
/// only fields that both sides know. The result is sorted by kind and id.
pub fn compare(recorded: &Inventory, actual: &Inventory) -> Vec<Difference> {
    differences(recorded, actual, Depth::Specs)
}

/// Returns the differences as [`compare()`] does, and also those in fields that change by themselves: for two backups
/// of one cluster.
pub fn diff(before: &Inventory, after: &Inventory) -> Vec<Difference> {
    differences(before, after, Depth::All)
}

/// Extent of a comparison, and of a field: whether it changes by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Specs,
    All,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Cluster, INVENTORY_VERSION, Network, Node, Secret, Service, Volume};

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
        // The same network from two sources, and from an inventory that is older than the field.
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

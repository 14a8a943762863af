//! Differences between two inspections, with one entry per object.

mod fields;
mod show;
mod specs;

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use swarm_state::{
    Inventory,
    inventory::{Change, Difference, ObjectKind, diff},
    specs::Item,
};
use swarmdr_archive::{ClusterId, NodeId};

use super::{Basis, Position, Seen, show::short_image};
use crate::{
    archive::removals::{
        missing::missing,
        object::Object,
        rotation,
        undelete::{Origin, Undelete},
    },
    host::files::space::human_bytes,
    outcome::count::count,
};
use fields::FieldChange;

/// Stable JSON form of `diff --json`.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub before: Side,
    pub after: Side,
    /// False if the two are states of different swarms, which have no object in common.
    pub same_swarm: bool,
    /// Changes, sorted by kind, then by name.
    pub changes: Vec<ObjectChange>,
    /// Other problems that the operator should look at: in the vaults, or with the unlock keys.
    pub findings: Vec<String>,
    /// The command that brings back what was removed; absent if it could bring back nothing of that, and if `before` is a
    /// directory, since it takes backups only.
    pub undelete: Option<Undelete>,
}

/// One of the two states that are compared.
#[derive(Debug, Serialize)]
pub struct Side {
    pub source: String,
    /// Absent for a directory.
    pub id: Option<String>,
    pub created_at: Option<Timestamp>,
    pub hostname: Option<String>,
    pub node_id: NodeId,
    pub cluster_id: ClusterId,
    pub basis: Basis,
    pub raft: Option<Position>,
}

/// One object that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectChange {
    pub kind: ObjectKind,
    /// Id of the object, of the later one if it was rotated.
    pub id: String,
    pub name: String,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum What {
    Added {
        /// Short description of the object, for a person.
        detail: String,
    },
    Removed {
        /// Short description of the object, for a person.
        detail: String,
    },
    Changed {
        fields: Vec<FieldChange>,
    },
    /// Only the version differs. The object was written, perhaps by the engine itself, which does this to services
    /// whenever it starts. A change in a field that is not read here looks like this too.
    Written {
        before: String,
        after: String,
    },
    /// Another object replaced the one with this name; see [`rotation`].
    Rotated {
        from_id: String,
        from_name: String,
    },
}

impl Comparison {
    /// Compares two inspections. Returns an error if one of them has no inventory.
    pub fn of(before: &Seen, after: &Seen) -> Result<Self> {
        let (a, b) = (before.require_inventory()?, after.require_inventory()?);
        let (from, to) = (Side::of(before), Side::of(after));
        let mut findings: Vec<String> = before.findings.iter().chain(&after.findings).cloned().collect();
        findings.sort();
        findings.dedup();
        let same_swarm = from.cluster_id == to.cluster_id;
        let changes = changes((a, &before.items), (b, &after.items));
        // Nothing was removed from a swarm that is another one.
        let undelete = origin(before).filter(|_| same_swarm).and_then(|origin| undelete(origin, a, b));
        Ok(Self { before: from, after: to, same_swarm, changes, findings, undelete })
    }
}

impl ObjectChange {
    fn is_written(&self) -> bool {
        matches!(self.what, What::Written { .. })
    }
}

impl Side {
    fn of(seen: &Seen) -> Self {
        let manifest = seen.backup.as_ref().map(|backup| &backup.head.manifest);
        Self {
            source: seen.source.clone(),
            id: manifest.map(|manifest| manifest.id.to_string()),
            created_at: manifest.map(|manifest| manifest.created_at),
            hostname: seen.hostname(),
            node_id: seen.own.node.clone(),
            cluster_id: seen.own.cluster.clone(),
            basis: seen.basis,
            raft: seen.position(),
        }
    }
}

/// The backup that was inspected; `None` for a directory, and for a path that cannot be written as text.
fn origin(seen: &Seen) -> Option<Origin<'_>> {
    let stored = seen.backup.as_ref()?;
    match &stored.file {
        Some(path) => path.to_str().map(Origin::File),
        None => Some(Origin::Id(stored.head.manifest.id)),
    }
}

fn undelete(origin: Origin<'_>, before: &Inventory, after: &Inventory) -> Option<Undelete> {
    let had = Object::all_of(before);
    Undelete::of(origin, &missing(&had, &Object::all_of(after)), &had)
}

/// Changes, sorted by kind, then by name. A side without items has not been replayed, or lacks some.
fn changes(
    (before, before_items): (&Inventory, &[Item]),
    (after, after_items): (&Inventory, &[Item]),
) -> Vec<ObjectChange> {
    let found = diff(before, after);
    let mut all: Vec<ObjectChange> = Vec::new();
    for difference in &found {
        match &difference.change {
            Change::Missing => all.push(whole(difference, What::Removed { detail: detail(before, difference) })),
            Change::Extra => all.push(whole(difference, What::Added { detail: detail(after, difference) })),
            Change::Changed { field, recorded, actual } => {
                let change = FieldChange::of(field, (recorded, before), (actual, after));
                match all.last_mut() {
                    Some(ObjectChange { kind, id, what: What::Changed { fields }, .. })
                        if *kind == difference.kind && *id == difference.id =>
                    {
                        fields.push(change);
                    }
                    _ => all.push(whole(difference, What::Changed { fields: vec![change] })),
                }
            }
        }
    }
    specs::add(&mut all, before_items, after_items);
    for kind in [ObjectKind::Secret, ObjectKind::Config] {
        join_rotated(&mut all, kind);
    }
    all.retain_mut(|change| {
        let What::Changed { fields } = &mut change.what else {
            return true;
        };
        fields::drop_versions_if_explained(fields);
        if let [FieldChange { before, after, .. }] = fields.as_slice()
            && fields::only_version(fields)
        {
            change.what = What::Written { before: before.clone(), after: after.clone() };
        }
        change.kind != ObjectKind::Cluster || !change.is_written()
    });
    all.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
    all
}

fn whole(difference: &Difference, what: What) -> ObjectChange {
    ObjectChange { kind: difference.kind, id: difference.id.clone(), name: difference.name.clone(), what }
}

/// Joins the entry of a removed object and the entry of the one that replaces it into one.
fn join_rotated(all: &mut Vec<ObjectChange>, kind: ObjectKind) {
    let positions = |wanted: fn(&What) -> bool| -> Vec<usize> {
        let of_kind = all.iter().enumerate().filter(|(_, change)| change.kind == kind && wanted(&change.what));
        of_kind.map(|(at, _)| at).collect()
    };
    let gone = positions(|what| matches!(what, What::Removed { .. }));
    let new = positions(|what| matches!(what, What::Added { .. }));
    let names = |positions: &[usize]| -> Vec<&str> { positions.iter().map(|at| all[*at].name.as_str()).collect() };
    let mut joined = BTreeSet::new();
    for (from, to) in rotation::pairs(&names(&gone), &names(&new)) {
        let (from, to) = (gone[from], new[to]);
        let (from_id, from_name) = (all[from].id.clone(), all[from].name.clone());
        all[to].what = What::Rotated { from_id, from_name };
        joined.insert(from);
    }
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        !joined.contains(&(at - 1))
    });
}

fn detail(inventory: &Inventory, difference: &Difference) -> String {
    let id = &difference.id;
    let size = |size: Option<u64>| size.map(human_bytes);
    let words = match difference.kind {
        ObjectKind::Service => inventory.services.iter().find(|it| it.id == *id).map(|it| {
            let replicas = it.replicas.map_or_else(String::new, |number| format!(", {}", count(number, "replica")));
            format!("{}, {}{replicas}", short_image(&it.image), it.mode)
        }),
        ObjectKind::Node => inventory.nodes.iter().find(|it| it.id == *id).map(|it| {
            let addr = it.addr.as_ref().map_or_else(String::new, |addr| format!(", {addr}"));
            format!("{}, {}{addr}", it.role, it.availability)
        }),
        ObjectKind::Network => {
            let network = inventory.networks.iter().find(|it| it.id == *id);
            network.map(|it| format!("{} {}", it.driver, it.subnets.join(", ")))
        }
        ObjectKind::Secret => inventory.secrets.iter().find(|it| it.id == *id).and_then(|it| size(it.size)),
        ObjectKind::Config => inventory.configs.iter().find(|it| it.id == *id).and_then(|it| size(it.size)),
        ObjectKind::Volume => {
            let volume = inventory.volumes.iter().flatten().find(|it| it.id == *id);
            volume.and_then(|it| it.driver.clone())
        }
        ObjectKind::Cluster => None,
    };
    words.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_state::inventory::{Cluster, Config, Node, Secret, Service};

    fn inventory_changes(before: &Inventory, after: &Inventory) -> Vec<ObjectChange> {
        changes((before, &[]), (after, &[]))
    }

    fn secret(id: &str, name: &str) -> Secret {
        Secret { id: id.into(), name: name.into(), size: Some(8), ..Secret::default() }
    }

    fn service(id: &str, replicas: u64, secret: &str, version: u64) -> Service {
        Service {
            id: id.into(),
            name: format!("name-of-{id}"),
            image: "nginx:1".into(),
            mode: "replicated".into(),
            replicas: Some(replicas),
            secrets: vec![secret.into()],
            version_index: Some(version),
            ..Service::default()
        }
    }

    fn cluster(version: u64) -> Cluster {
        Cluster { id: "c1".into(), name: "default".into(), version_index: Some(version), ..Cluster::default() }
    }

    fn sides() -> (Inventory, Inventory) {
        let (mut a, mut b) = (Inventory::empty(cluster(3)), Inventory::empty(cluster(9)));
        a.secrets = vec![secret("s1", "db-password"), secret("s3", "unused")];
        b.secrets = vec![secret("s2", "db-password-v2"), secret("s4", "other")];
        a.configs = vec![Config { id: "f1".into(), name: "site".into(), ..Config::default() }];
        b.configs = vec![Config { id: "f2".into(), name: "site".into(), ..Config::default() }];
        a.services = vec![service("w1", 2, "s1", 10), service("w2", 1, "s3", 11), service("w4", 1, "s3", 12)];
        b.services = vec![service("w1", 4, "s2", 20), service("w3", 1, "s4", 21), service("w4", 1, "s3", 22)];
        // A user updated w1 and w5; w4 was only written by the engine.
        a.services.push(service("w5", 1, "s3", 13));
        b.services.push(service("w5", 1, "s3", 23));
        (b.services[0].spec_version, b.services[3].spec_version) = (Some(19), Some(22));
        a.services.iter_mut().for_each(|service| service.spec_version = Some(0));
        b.services[2].spec_version = Some(0);
        b.nodes = vec![Node {
            id: "n2".into(),
            hostname: "m2".into(),
            role: "worker".into(),
            availability: "active".into(),
            ..Node::default()
        }];
        (a, b)
    }

    #[test]
    fn each_object_is_named_once_and_rotated_ones_are_one() {
        let (a, b) = sides();
        let lines: Vec<String> = inventory_changes(&a, &b).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "+ node m2: worker, active",
                "~ service name-of-w1: replicas 2 -> 4; secrets db-password -> db-password-v2",
                "- service name-of-w2: nginx:1, replicated, 1 replica",
                "+ service name-of-w3: nginx:1, replicated, 1 replica",
                "= service name-of-w4: version 12 -> 22",
                "~ service name-of-w5: something that is not listed here, as environment, command, mounts or limits \
                 (spec version 0 -> 22)",
                "~ secret db-password-v2: rotated from db-password (s1 -> s2)",
                "+ secret other: 8 B",
                "- secret unused: 8 B",
                "~ config site: rotated under the same name (f1 -> f2)",
            ]
        );
    }

    #[test]
    fn a_state_does_not_differ_from_itself_nor_from_a_later_version_of_the_cluster_alone() {
        let (a, _) = sides();
        assert_eq!(inventory_changes(&a, &a), []);
        assert_eq!(inventory_changes(&a, &Inventory { cluster: cluster(99), ..a.clone() }), []);
        let locked = Cluster { autolock: Some(true), ..cluster(99) };
        let mut before = a.clone();
        before.cluster.autolock = Some(false);
        let found = inventory_changes(&before, &Inventory { cluster: locked, ..a });
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["~ cluster default: autolock false -> true"]
        );
    }

    #[test]
    fn the_command_brings_back_what_was_removed_and_not_what_was_rotated() {
        let (a, b) = sides();
        let id = "20261121T031500Z-1a2b3c4d";
        let command = |before, after| undelete(Origin::Id(id.parse().expect("is an id")), before, after);
        let line = command(&a, &b).expect("is missing").to_string();
        assert_eq!(line, format!("swarmdr-agent undelete {id} --service name-of-w2 --secret unused"));
        let removed =
            inventory_changes(&a, &b).into_iter().filter(|change| matches!(change.what, What::Removed { .. }));
        assert_eq!(removed.map(|change| change.name).collect::<Vec<_>>(), ["name-of-w2", "unused"]);
        // A node that is gone is not brought back.
        let without_node = Inventory { nodes: Vec::new(), ..b.clone() };
        assert_eq!((command(&b, &without_node), command(&a, &a)), (None, None));
    }

    #[test]
    fn the_json_form_is_flat() {
        let (a, b) = sides();
        let json = serde_json::to_value(inventory_changes(&a, &b)).expect("is JSON");
        let rotated = json.as_array().expect("is a list").iter().find(|it| it["change"] == "rotated");
        let wanted = serde_json::json!({
            "kind": "secret", "id": "s2", "name": "db-password-v2", "change": "rotated",
            "from_id": "s1", "from_name": "db-password"
        });
        assert_eq!(rotated, Some(&wanted));
        let changed = json.as_array().expect("is a list").iter().find(|it| it["id"] == "w1").expect("is there");
        assert_eq!(changed["fields"][0], serde_json::json!({ "field": "replicas", "before": "2", "after": "4" }));
    }
}

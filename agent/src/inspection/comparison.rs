//! What changed from one look to another, one entry an object.

mod fields;
mod show;

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::{Basis, Position, Seen, rotation, show::short_image};
use crate::{
    fault::Fault,
    host::space::human_bytes,
    swarm::{
        Inventory,
        inventory::{Change, Difference, ObjectKind, diff},
    },
};
use fields::FieldChange;

/// The stable JSON form of `diff --json`.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub before: Side,
    pub after: Side,
    /// False if the two are states of different swarms, which have no object in common.
    pub same_swarm: bool,
    /// By kind, then by name.
    pub changes: Vec<ObjectChange>,
    /// What else was met in the vaults.
    pub findings: Vec<String>,
}

/// What is compared.
#[derive(Debug, Serialize)]
pub struct Side {
    pub source: String,
    /// Absent for a directory.
    pub id: Option<String>,
    pub created_at: Option<Timestamp>,
    pub hostname: Option<String>,
    pub node_id: String,
    pub cluster_id: String,
    pub basis: Basis,
    pub raft: Option<Position>,
}

/// One object that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectChange {
    pub kind: ObjectKind,
    /// Of the later one if it was rotated.
    pub id: String,
    pub name: String,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum What {
    Added {
        /// A few words on the object, for a person.
        detail: String,
    },
    Removed {
        /// A few words on the object, for a person.
        detail: String,
    },
    Changed {
        fields: Vec<FieldChange>,
    },
    /// Written, perhaps by the engine itself, which does so to services whenever it starts: only the version
    /// differs. A change of something that is not read here looks like this too.
    Written {
        before: String,
        after: String,
    },
    /// Another object took the place of one with this name; see [`rotation`].
    Rotated {
        from_id: String,
        from_name: String,
    },
}

impl Comparison {
    /// Both sides must have been read as far as their inventories.
    pub fn of(before: &Seen, after: &Seen) -> Result<Self> {
        let (a, b) = (inventory(before)?, inventory(after)?);
        let (from, to) = (Side::of(before), Side::of(after));
        let mut findings: Vec<String> = before.findings.iter().chain(&after.findings).cloned().collect();
        findings.sort();
        findings.dedup();
        let same_swarm = from.cluster_id == to.cluster_id;
        Ok(Self { before: from, after: to, same_swarm, changes: changes(a, b), findings })
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
        let (cluster_id, node_id) = seen.ids();
        Self {
            source: seen.source.clone(),
            id: manifest.map(|manifest| manifest.id.to_string()),
            created_at: manifest.map(|manifest| manifest.created_at),
            hostname: seen.hostname(),
            node_id,
            cluster_id,
            basis: seen.basis,
            raft: seen.position(),
        }
    }
}

fn inventory(seen: &Seen) -> Result<&Inventory> {
    let cannot = |why: &str| Fault::usage(format!("{} cannot be compared: {why}", seen.source));
    seen.inventory.as_ref().ok_or_else(|| {
        let unproven = seen.examined.as_ref().and_then(super::restorable::obstacle);
        match (seen.basis, unproven) {
            (Basis::Manifest, _) => cannot("it is encrypted, and no identity was given")
                .advice("name the file that opens it with --identity")
                .into(),
            (_, Some(why)) => {
                Fault::failed(format!("{} cannot be compared", seen.source)).because(anyhow::Error::msg(why)).into()
            }
            (_, None) => cannot("it is autolocked, and no unlock key was given")
                .advice("name a file that holds the key with --unlock-key")
                .into(),
        }
    })
}

/// By kind, then by name. The version of the cluster object alone is left out: the engine raises it twice a day,
/// whenever it renews the keys of its networks.
fn changes(before: &Inventory, after: &Inventory) -> Vec<ObjectChange> {
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

/// Makes one entry of an object that went and the one that came for it.
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
            let replicas = it.replicas.map_or_else(String::new, |count| format!(", {count} replicas"));
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
    use crate::inspection::tests::inventory_of;
    use crate::swarm::inventory::{Cluster, Config, Node, Secret, Service};

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
        let (mut a, mut b) = (inventory_of(cluster(3)), inventory_of(cluster(9)));
        a.secrets = vec![secret("s1", "db-password"), secret("s3", "unused")];
        b.secrets = vec![secret("s2", "db-password-v2"), secret("s4", "other")];
        a.configs = vec![Config { id: "f1".into(), name: "site".into(), ..Config::default() }];
        b.configs = vec![Config { id: "f2".into(), name: "site".into(), ..Config::default() }];
        a.services = vec![service("w1", 2, "s1", 10), service("w2", 1, "s3", 11), service("w4", 1, "s3", 12)];
        b.services = vec![service("w1", 4, "s2", 20), service("w3", 1, "s4", 21), service("w4", 1, "s3", 22)];
        // Somebody updated w1 and w5; w4 was only written by the engine.
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
        let lines: Vec<String> = changes(&a, &b).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "+ node m2: worker, active",
                "~ service name-of-w1: replicas 2 -> 4; secrets db-password -> db-password-v2",
                "- service name-of-w2: nginx:1, replicated, 1 replicas",
                "+ service name-of-w3: nginx:1, replicated, 1 replicas",
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
        assert_eq!(changes(&a, &a), []);
        assert_eq!(changes(&a, &Inventory { cluster: cluster(99), ..a.clone() }), []);
        let locked = Cluster { autolock: Some(true), ..cluster(99) };
        let mut before = a.clone();
        before.cluster.autolock = Some(false);
        let found = changes(&before, &Inventory { cluster: locked, ..a });
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["~ cluster default: autolock false -> true"]
        );
    }

    #[test]
    fn the_json_form_is_flat() {
        let (a, b) = sides();
        let json = serde_json::to_value(changes(&a, &b)).expect("is JSON");
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

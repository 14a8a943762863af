//! Values of one field on both sides, with names instead of ids.

use serde::Serialize;
use swarm_state::Inventory;

/// Field that changes whenever an object is written; it does not say what was changed in it.
const VERSION: &str = "version_index";
/// Field that changes when the spec of a service was changed by a user.
pub const SPEC_VERSION: &str = "spec_version";

/// One changed field of an object that exists on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Name of the field in the JSON form of an inventory.
    pub field: String,
    pub before: String,
    pub after: String,
}

impl FieldChange {
    /// Makes an entry in which the objects that a service refers to are named, with their ids too if the names alone
    /// would be equal.
    pub fn of(field: &str, before: (&str, &Inventory), after: (&str, &Inventory)) -> Self {
        let by_name = (named(field, before, false), named(field, after, false));
        let (before, after) = match by_name.0 == by_name.1 {
            true => (named(field, before, true), named(field, after, true)),
            false => by_name,
        };
        Self { field: field.to_owned(), before, after }
    }

    pub fn is_version(&self) -> bool {
        self.field == VERSION
    }
}

/// Drops the versions if another field explains them: `version_index` if any other field changed, `spec_version` if a
/// field that is not a version changed.
pub fn drop_versions_if_explained(fields: &mut Vec<FieldChange>) {
    for version in [VERSION, SPEC_VERSION] {
        if fields.iter().any(|change| change.field != version) {
            fields.retain(|change| change.field != version);
        }
    }
}

pub fn only_version(fields: &[FieldChange]) -> bool {
    fields.iter().all(FieldChange::is_version)
}

fn named(field: &str, (value, inventory): (&str, &Inventory), with_id: bool) -> String {
    let name = |id: &str| match field {
        "secrets" => inventory.secrets.iter().find(|it| it.id == id).map(|it| it.name.clone()),
        "configs" => inventory.configs.iter().find(|it| it.id == id).map(|it| it.name.clone()),
        "networks" => inventory.networks.iter().find(|it| it.id == id).map(|it| it.name.clone()),
        _ => None,
    };
    if !matches!(field, "secrets" | "configs" | "networks") {
        return value.to_owned();
    }
    let mut names: Vec<String> = value
        .split(", ")
        .filter(|id| !id.is_empty())
        .map(|id| match name(id) {
            Some(name) if with_id => format!("{name} ({id})"),
            Some(name) => name,
            None => id.to_owned(),
        })
        .collect();
    names.sort();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_state::inventory::{Cluster, Network};

    #[test]
    fn ids_are_shown_where_names_do_not_tell() {
        let with = |id: &str| {
            let mut inventory = Inventory::empty(Cluster::default());
            inventory.networks = vec![Network { id: id.into(), name: "backend".into(), ..Network::default() }];
            inventory
        };
        let (a, b) = (with("x1"), with("x2"));
        let change = FieldChange::of("networks", ("x1", &a), ("x2, y", &b));
        assert_eq!((change.before.as_str(), change.after.as_str()), ("backend", "backend, y"));
        let change = FieldChange::of("networks", ("x1", &a), ("x2", &b));
        assert_eq!((change.before.as_str(), change.after.as_str()), ("backend (x1)", "backend (x2)"));
    }
}

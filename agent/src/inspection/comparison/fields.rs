//! Values of one field on both sides, with names in place of ids.

use serde::Serialize;

use crate::swarm::Inventory;

/// Says that an object was written, not what was changed in it.
const VERSION: &str = "version_index";
/// Says that somebody changed the spec of a service.
pub const SPEC_VERSION: &str = "spec_version";

/// One field of an object that is on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// As in the JSON form of an inventory.
    pub field: String,
    pub before: String,
    pub after: String,
}

impl FieldChange {
    /// What a service refers to is named; by id too where the names alone would be the same.
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

/// A new version says nothing beside the field that made it, nor that of an object beside that of its spec.
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
    use crate::inspection::tests::inventory_of;
    use crate::swarm::inventory::{Cluster, Network};

    #[test]
    fn ids_are_shown_where_names_do_not_tell() {
        let with = |id: &str| {
            let mut inventory = inventory_of(Cluster::default());
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

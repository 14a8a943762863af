//! What a replay keeps of objects beside the inventory, if a caller wants it.

use std::collections::HashMap;

use super::Kind;
use crate::{
    inventory::ObjectKind,
    specs::{Item, Values},
};

/// What is kept.
#[derive(Debug)]
pub(crate) enum Kept {
    /// Every object with its spec, by kind and id.
    Items(HashMap<(ObjectKind, String), Item>),
    /// The values of some objects.
    Values(Values),
}

impl Kept {
    pub(super) fn put(&mut self, kind: Kind, id: &str, object: &[u8]) {
        let Some(kind) = kind_of_item(kind) else { return };
        match self {
            Self::Items(items) => {
                if let Some(item) = Item::read(kind, id, object) {
                    items.insert((kind, id.to_owned()), item);
                }
            }
            Self::Values(values) => values.put(kind, id, object),
        }
    }

    pub(super) fn remove(&mut self, kind: Kind, id: &str) {
        let Some(kind) = kind_of_item(kind) else { return };
        match self {
            Self::Items(items) => drop(items.remove(&(kind, id.to_owned()))),
            Self::Values(values) => values.remove(kind, id),
        }
    }

    /// Returns the items sorted by kind, name and id; none if values were kept.
    pub(crate) fn into_items(self) -> Vec<Item> {
        let Self::Items(items) = self else { return Vec::new() };
        let mut items: Vec<Item> = items.into_values().collect();
        items.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
        items
    }

    /// Returns the values; none if items were kept.
    pub(crate) fn into_values(self) -> Values {
        match self {
            Self::Values(values) => values,
            Self::Items(_) => Values::default(),
        }
    }
}

/// Returns the kind of an object that has a spec of its own.
fn kind_of_item(kind: Kind) -> Option<ObjectKind> {
    Some(match kind {
        Kind::Service => ObjectKind::Service,
        Kind::Network => ObjectKind::Network,
        Kind::Secret => ObjectKind::Secret,
        Kind::Config => ObjectKind::Config,
        Kind::Volume => ObjectKind::Volume,
        Kind::Node | Kind::Task | Kind::Cluster | Kind::Resource | Kind::Extension => return None,
    })
}

//! Objects of a state by their ids.

use std::collections::HashMap;

use swarm_state::{inventory::ObjectKind, specs::Item};

/// All objects of a state, to be found by id without a search.
#[derive(Debug)]
pub struct Index<'a>(HashMap<(ObjectKind, &'a str), &'a Item>);

impl<'a> Index<'a> {
    pub fn of(items: &'a [Item]) -> Self {
        Self(items.iter().map(|item| ((item.kind, item.id.as_str()), item)).collect())
    }

    pub fn get(&self, kind: ObjectKind, id: &str) -> Option<&'a Item> {
        self.0.get(&(kind, id)).copied()
    }
}

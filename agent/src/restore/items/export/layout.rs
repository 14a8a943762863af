//! Which objects are exported, and where each one goes.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{index::Index, names::is_key};
use crate::restore::items::{
    references,
    selection::{Selection, stack_of},
};

/// The objects of an export. Swarm's copies of the engine's own networks, which every engine has, are in none of these.
#[derive(Debug, Default)]
pub struct Layout<'a> {
    /// In the order of their names.
    pub stacks: Vec<Stack<'a>>,
    /// What belongs to no stack, or to one that has no service that a stack file could hold.
    pub alone: Vec<&'a Item>,
    /// What is not wholly known to this version, and is not exported.
    pub unknown: Vec<&'a Item>,
}

/// A stack with at least one service that a stack file can hold.
#[derive(Debug)]
pub struct Stack<'a> {
    pub name: &'a str,
    /// Services with their keys in a stack file.
    pub services: Vec<(&'a str, &'a Item)>,
    /// Its networks, secrets and configs.
    pub objects: Vec<&'a Item>,
}

impl<'a> Stack<'a> {
    pub fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = &'a Item> {
        self.objects.iter().copied().filter(move |item| item.kind == kind)
    }
}

impl<'a> Layout<'a> {
    /// Returns where everything goes that is meant: what was picked, or all if nothing was, with what services refer
    /// to.
    pub fn of(items: &'a [Item], selection: &Selection, index: &Index<'a>) -> Result<Self> {
        let picked: Vec<&Item> = match selection.is_empty() {
            true => items.iter().collect(),
            false => with_references(items, selection.pick(items)?, index),
        };
        let (unknown, known): (Vec<_>, Vec<_>) =
            picked.into_iter().filter(|item| !item.is_predefined).partition(|item| !item.unknown.is_empty());
        let mut services: BTreeMap<&str, Vec<(&str, &Item)>> = BTreeMap::new();
        for item in &known {
            if let Some((stack, key)) = place_in_stack(item) {
                services.entry(stack).or_default().push((key, item));
            }
        }
        let mut objects: HashMap<&str, Vec<&Item>> = HashMap::new();
        let mut alone = Vec::new();
        for item in known {
            match stack_of(item).filter(|stack| services.contains_key(stack)) {
                Some(stack) if is_object(item.kind) => objects.entry(stack).or_default().push(item),
                _ if place_in_stack(item).is_some() => {}
                _ => alone.push(item),
            }
        }
        let stack = |(name, services)| Stack { name, services, objects: objects.remove(name).unwrap_or_default() };
        Ok(Self { stacks: services.into_iter().map(stack).collect(), alone, unknown })
    }

    /// Returns all objects that are exported.
    pub fn all(&self) -> impl Iterator<Item = &'a Item> {
        let of_stack = |stack: &Stack<'a>| {
            let services = stack.services.iter().map(|(_, item)| *item);
            services.chain(stack.objects.iter().copied()).collect::<Vec<_>>()
        };
        self.stacks.iter().flat_map(of_stack).chain(self.alone.iter().copied())
    }
}

fn is_object(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Network | ObjectKind::Secret | ObjectKind::Config)
}

/// Returns stack and key of a service that a stack file can hold. `docker stack deploy` makes the name of a service
/// from both (docker/cli `cli/compose/convert/compose.go`, `Namespace.Scope`), so another name cannot be had from it;
/// and it knows no services but those of containers.
pub fn place_in_stack(item: &Item) -> Option<(&str, &str)> {
    let is_container = item.kind == ObjectKind::Service && item.spec["TaskTemplate"]["ContainerSpec"].is_object();
    let stack = stack_of(item).filter(|_| is_container)?;
    let key = item.name.strip_prefix(stack)?.strip_prefix('_')?;
    is_key(key).then_some((stack, key))
}

/// Adds the networks, secrets, configs and cluster volumes that the picked services refer to. Keeps the order of the
/// state.
fn with_references<'a>(items: &'a [Item], picked: Vec<&'a Item>, index: &Index<'a>) -> Vec<&'a Item> {
    let mut wanted: HashSet<(ObjectKind, &str)> = HashSet::new();
    let mut volumes: HashSet<&str> = HashSet::new();
    for item in picked {
        wanted.insert((item.kind, &item.id));
        if item.kind == ObjectKind::Service {
            let named = references::all(&item.spec).into_iter().filter_map(|(kind, id)| index.get(kind, &id));
            wanted.extend(named.map(|item| (item.kind, item.id.as_str())));
            volumes.extend(cluster_volumes(&item.spec));
        }
    }
    let is_volume = |item: &Item| item.kind == ObjectKind::Volume && volumes.contains(item.name.as_str());
    items.iter().filter(|item| wanted.contains(&(item.kind, item.id.as_str())) || is_volume(item)).collect()
}

fn cluster_volumes(spec: &Value) -> impl Iterator<Item = &str> {
    let mounts = spec["TaskTemplate"]["ContainerSpec"]["Mounts"].as_array().into_iter().flatten();
    mounts.filter(|mount| mount["Type"] == "cluster").filter_map(|mount| mount["Source"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_state::specs::Unknown;

    use super::*;
    use crate::restore::items::selection::STACK;

    fn item(kind: ObjectKind, name: &str, stack: &str) -> Item {
        let container = json!({
            "Secrets": [{ "SecretID": "id-of-key" }],
            "Mounts": [{ "Type": "cluster", "Source": "disk" }],
        });
        let task = json!({ "ContainerSpec": container, "Networks": [{ "Target": "id-of-net" }, { "Target": "gone" }] });
        let spec = json!({ "Name": name, "Labels": { STACK: stack }, "TaskTemplate": task });
        Item::test(kind, &format!("id-of-{name}"), name, spec)
    }

    fn items() -> Vec<Item> {
        use ObjectKind::{Config, Network, Secret, Service, Volume};
        let unknown = Unknown::Field { message: "ServiceSpec".to_owned(), field: 99 };
        vec![
            item(Service, "alone", ""),
            item(Service, "other", "shop"),
            item(Service, "shop_new", "shop"),
            item(Service, "shop_web", "shop"),
            item(Network, "host", ""),
            item(Network, "net", "shop"),
            item(Secret, "key", "gone"),
            item(Config, "file", "shop"),
            item(Volume, "disk", ""),
        ]
        .into_iter()
        .map(|item| match item.name.as_str() {
            "shop_new" => Item { unknown: vec![unknown.clone()], ..item },
            "host" => Item { is_predefined: true, ..item },
            _ => item,
        })
        .collect()
    }

    fn names(items: &[&Item]) -> Vec<String> {
        items.iter().map(|item| item.name.clone()).collect()
    }

    #[test]
    fn each_object_goes_to_one_place() {
        let items = items();
        let layout = Layout::of(&items, &Selection::default(), &Index::of(&items)).expect("is laid out");
        assert_eq!(layout.stacks.len(), 1);
        let stack = &layout.stacks[0];
        assert_eq!((stack.name, stack.services[0].0, stack.services.len()), ("shop", "web", 1));
        assert_eq!(names(&stack.objects), ["net", "file"]);
        assert_eq!(names(&layout.alone), ["alone", "other", "key", "disk"]);
        assert_eq!(names(&layout.unknown), ["shop_new"]);
        assert_eq!(layout.all().count(), items.len() - 2);
    }

    #[test]
    fn a_picked_service_brings_what_it_refers_to() {
        let items = items();
        let selection = Selection { services: vec!["shop_web".to_owned()], ..Selection::default() };
        let layout = Layout::of(&items, &selection, &Index::of(&items)).expect("is laid out");
        assert_eq!(names(&layout.stacks[0].objects), ["net"]);
        assert_eq!(names(&layout.alone), ["key", "disk"]);
        let unknown = Selection { services: vec!["nothing".to_owned()], ..Selection::default() };
        Layout::of(&items, &unknown, &Index::of(&items)).expect_err("is not there");
    }
}

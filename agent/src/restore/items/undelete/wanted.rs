//! The objects that come back: those that were asked for, and everything that they refer to.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{living::Living, references, request::Request, request::require_name};
use crate::outcome::failure::Failure;

/// One object that comes back.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub item: &'a Item,
    /// Name that it gets unless that is taken.
    pub name: String,
    /// True if it was not asked for, and a service that comes back refers to it.
    pub is_dependency: bool,
}

/// All objects that come back, each after those that it refers to.
#[derive(Debug, Default)]
pub struct Chosen<'a> {
    pub all: Vec<Wanted<'a>>,
    /// Names of what was asked for and is never brought back.
    pub left_out: Vec<String>,
}

/// Chooses the objects. Errors: a name that the backup does not have, a new name for several objects or one that no
/// engine takes, and an object that swarm makes by itself.
pub fn choose<'a>(items: &'a [Item], request: &Request, living: &Living) -> Result<Chosen<'a>> {
    if !request.all_missing && request.selection.is_empty() {
        return Err(Failure::usage("nothing was named that should come back")
            .advice("name a stack: --stack NAME")
            .into());
    }
    let picked = match request.all_missing {
        true => items.iter().filter(|item| is_missing(item, living)).collect(),
        false => request.selection.pick(items)?,
    };
    if let Some(own) = picked.iter().find(|item| is_of_swarm(item)) {
        let what = format!("the {} is made by the swarm itself and is not brought back", own.described());
        return Err(Failure::usage(what).advice("leave it out").into());
    }
    let (volumes, picked): (Vec<_>, Vec<_>) = picked.into_iter().partition(|item| item.kind == ObjectKind::Volume);
    let all = with_references(items, picked, named_anew(request)?)?;
    Ok(Chosen { all, left_out: volumes.into_iter().map(Item::described).collect() })
}

/// Whether neither its id nor its name lives.
fn is_missing(item: &Item, living: &Living) -> bool {
    let lives = living.with_id(item.kind, &item.id).is_some() || living.named(item.kind, &item.name).is_some();
    item.kind != ObjectKind::Volume && !is_of_swarm(item) && !lives
}

/// Whether it is the routing mesh, or swarm's copy of one of the engine's own networks.
pub fn is_of_swarm(item: &Item) -> bool {
    item.is_predefined || item.kind == ObjectKind::Network && item.spec["Ingress"] == true
}

fn named_anew(request: &Request) -> Result<Option<&str>> {
    match &request.new_name {
        Some(_) if request.all_missing => {
            Err(Failure::usage("--as names one object, and --all-missing may mean several").into())
        }
        name => Ok(name.as_deref()),
    }
}

fn with_references<'a>(items: &'a [Item], picked: Vec<&'a Item>, new_name: Option<&str>) -> Result<Vec<Wanted<'a>>> {
    if let Some(name) = new_name {
        match picked.as_slice() {
            [one] => require_name(one.kind, name)?,
            several => {
                let what = format!("--as names one object, and {} were asked for", several.len());
                return Err(Failure::usage(what).advice("name it by its kind, as with --service NAME").into());
            }
        }
    }
    let name = |item: &Item| new_name.map_or_else(|| item.name.clone(), str::to_owned);
    let mut all: Vec<Wanted<'_>> =
        picked.iter().map(|item| Wanted { item, name: name(item), is_dependency: false }).collect();
    let mut seen: HashSet<(ObjectKind, &str)> = picked.iter().map(|item| (item.kind, item.id.as_str())).collect();
    let known: HashMap<(ObjectKind, &str), &Item> =
        items.iter().map(|item| ((item.kind, item.id.as_str()), item)).collect();
    for service in picked.iter().filter(|item| item.kind == ObjectKind::Service) {
        for (kind, id) in references::all(&service.spec) {
            let Some(item) = known.get(&(kind, id.as_str())).copied() else { continue };
            if !is_of_swarm(item) && seen.insert((kind, item.id.as_str())) {
                all.push(Wanted { item, name: item.name.clone(), is_dependency: true });
            }
        }
    }
    all.sort_by_key(|wanted| (rank(wanted.item.kind), wanted.item.name.clone(), wanted.item.id.clone()));
    Ok(all)
}

/// Place in the order in which objects are created.
fn rank(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Network => 0,
        ObjectKind::Secret => 1,
        ObjectKind::Config => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::living::testing, *};
    use crate::{
        outcome::{exit::Exit, failure::Rendered},
        restore::items::selection::Selection,
    };

    fn items() -> Vec<Item> {
        let web = json!({ "Name": "web", "TaskTemplate": {
            "Networks": [{ "Target": "n1" }, { "Target": "h1" }],
            "ContainerSpec": { "Secrets": [{ "SecretID": "s1" }], "Configs": [{ "ConfigID": "c1" }] },
        } });
        let ingress = Item::test(ObjectKind::Network, "i1", "ingress", json!({ "Name": "ingress", "Ingress": true }));
        vec![
            Item::test(ObjectKind::Service, "w1", "web", web),
            Item::test(ObjectKind::Service, "o1", "other", json!({ "Name": "other" })),
            Item::test(ObjectKind::Config, "c1", "conf", json!({})),
            Item::test(ObjectKind::Network, "n1", "back", json!({})),
            Item { is_predefined: true, ..Item::test(ObjectKind::Network, "h1", "host", json!({})) },
            ingress,
            Item::test(ObjectKind::Secret, "s1", "key", json!({})),
            Item::test(ObjectKind::Volume, "v1", "data", json!({})),
        ]
    }

    fn services(names: &[&str]) -> Request {
        let services = names.iter().map(|name| (*name).to_owned()).collect();
        Request { selection: Selection { services, ..Selection::default() }, ..Request::default() }
    }

    fn names(request: &Request, living: &Living) -> Vec<String> {
        let items = items();
        let chosen = choose(&items, request, living).expect("are there");
        chosen.all.iter().map(|it| format!("{} {} {}", it.item.kind, it.name, it.is_dependency)).collect()
    }

    #[test]
    fn a_service_brings_what_it_refers_to_first() {
        let expected = ["network back true", "secret key true", "config conf true", "service web false"];
        assert_eq!(names(&services(&["web"]), &Living::default()), expected);
    }

    #[test]
    fn what_is_missing_has_neither_an_id_nor_a_name_that_lives() {
        let all = Request { all_missing: true, ..Request::default() };
        let living = Living::of(
            vec![testing::secret("s1", "renamed"), testing::service("x1", json!({ "Name": "WEB" }))],
            Vec::new(),
        );
        assert_eq!(names(&all, &living), ["network back false", "config conf false", "service other false"]);
    }

    #[test]
    fn a_new_name_is_for_one_object() {
        let request = |names: &[&str], name: &str| Request { new_name: Some(name.to_owned()), ..services(names) };
        let named = names(&request(&["web"], "web-2"), &Living::default());
        assert_eq!(named.last().map(String::as_str), Some("service web-2 false"));
        let all = Request { all_missing: true, ..request(&[], "web-2") };
        for wrong in [request(&["web", "other"], "web-2"), request(&["web"], "../x"), all, Request::default()] {
            let items = items();
            let rendered = Rendered::of(&choose(&items, &wrong, &Living::default()).expect_err("is wrong"));
            assert_eq!(rendered.exit, Exit::Usage, "{rendered}");
        }
    }

    #[test]
    fn what_swarm_makes_itself_is_not_brought_back() {
        let selection = Selection { networks: vec!["ingress".to_owned()], ..Selection::default() };
        let items = items();
        let request = Request { selection, ..Request::default() };
        let rendered = Rendered::of(&choose(&items, &request, &Living::default()).expect_err("is swarm's own"));
        assert_eq!(rendered.exit, Exit::Usage);
    }
}

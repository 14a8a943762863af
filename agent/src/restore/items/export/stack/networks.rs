//! Networks in a stack file: their definitions, and what attaches services to them.

use std::collections::HashSet;

use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{
    document::Document,
    holdable::{labels, mapping, unique},
    translation::Translation,
};
use crate::restore::items::{
    export::{
        rest::Rest,
        script::network::attachment,
        yaml::{Map, Node},
    },
    selection::stack_of,
};

/// Names of networks to which `docker stack deploy` adds no alias (docker `container.NetworkMode.IsUserDefined`).
const WITHOUT_ALIASES: [&str; 4] = ["default", "bridge", "host", "none"];

/// Version of the format that has `driver_opts` for services; earlier ones refuse it.
const WITH_DRIVER_OPTIONS: u64 = 13;

/// Returns what defines a network of this stack, with the subnets that were asked for; `None` if a stack file cannot
/// hold all of it (docker/cli `cli/compose/convert/compose.go`, `Networks`).
pub fn definition(network: &Item, stack: &str) -> Option<Map> {
    let mut rest = Rest::of("", network.spec.clone());
    let mut map = Map::default();
    map.set_some("name", rest.text("Name"));
    // `docker network create` and the command line make networks of the swarm only.
    rest.any("Scope");
    map.set_some("driver", rest.text("Driver"));
    map.set_filled("driver_opts", mapping(&mut rest, "Options"));
    map.set_some("attachable", rest.flag("Attachable"));
    map.set_some("internal", rest.flag("Internal"));
    let mut ipam = rest.part("IPAM");
    map.set_filled("ipam", addresses(&mut ipam));
    map.set_filled("labels", labels(&mut rest, stack, &[]));
    (ipam.into_leaves().is_empty() && rest.into_leaves().is_empty()).then_some(map)
}

fn addresses(ipam: &mut Rest) -> Map {
    let mut map = Map::default();
    map.set_some("driver", ipam.text("Driver"));
    let mut subnets = Vec::new();
    let mut refused = Vec::new();
    for config in ipam.list("Config") {
        let mut of_one = Rest::of("", config.clone());
        match (of_one.text("Subnet"), of_one.into_leaves().is_empty()) {
            (Some(subnet), true) => {
                let mut map = Map::default();
                map.set("subnet", subnet);
                subnets.push(Node::Map(map));
            }
            _ => refused.push(config),
        }
    }
    ipam.put("Config", refused);
    map.set_filled("config", subnets);
    map
}

/// Takes the networks of a service.
pub fn attached(task: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let list = task.list("Networks");
    let path = task.path("Networks");
    if list.is_empty() {
        in_none(path, of);
        return Map::default();
    }
    let mut networks = Map::default();
    let mut seen = HashSet::new();
    for value in list {
        let id = value["Target"].as_str().unwrap_or_default().to_owned();
        let network = of.document.index.get(ObjectKind::Network, &id);
        match network {
            None => of.left.because(&path, value, "the backup has no network with this id"),
            Some(_) if !seen.insert(id) => of.left.because(&path, value, "a second time"),
            Some(network) => {
                let key = declared(network, of.document);
                networks.name(key, one(&path, value, network, of));
            }
        }
    }
    networks
}

fn in_none(path: String, of: &mut Translation<'_, '_>) {
    let network = of.document.default_network();
    let why = format!("it is in no network, and `docker stack deploy` attaches it to {network}");
    of.left.because(path, Value::Null, why);
    of.update.option("network-rm", &network);
}

/// Returns the key of a network, and defines it if it is one of this stack that the file can hold.
fn declared(network: &Item, document: &mut Document<'_>) -> String {
    if network.is_predefined {
        return document.refer_to_predefined(network);
    }
    if let Some(key) = document.key(ObjectKind::Network, &network.name) {
        return key.to_owned();
    }
    let own = stack_of(network) == Some(document.stack) && network.unknown.is_empty();
    match own.then(|| definition(network, document.stack)).flatten() {
        Some(definition) => document.define(ObjectKind::Network, &network.name, definition),
        None => document.refer(ObjectKind::Network, &network.name),
    }
}

/// Returns how a service is attached to one network. The command line adds the key of the service as the last alias, so
/// the last one with this name is left to it.
fn one(path: &str, value: Value, network: &Item, of: &mut Translation<'_, '_>) -> Node {
    let as_it_was = attachment(&network.name, &value);
    let mut rest = Rest::of(format!("{path}[{}]", network.name), value);
    rest.any("Target");
    let mut aliases = rest.texts("Aliases");
    let has_aliases = !WITHOUT_ALIASES.contains(&network.name.as_str());
    match aliases.iter().rposition(|alias| alias == of.key) {
        Some(at) if has_aliases => drop(aliases.remove(at)),
        None if has_aliases => {
            let why = format!("`docker stack deploy` adds the alias {}", of.key);
            of.left.because(rest.path("Aliases"), aliases.clone(), why);
            of.update.option("network-rm", &network.name);
            of.update.option("network-add", as_it_was.0);
        }
        _ => {}
    }
    rest.put("Aliases", aliases);
    let mut map = Map::default();
    map.set_filled("aliases", unique(&mut rest, "Aliases"));
    let options = mapping(&mut rest, "DriverOpts");
    if !options.is_empty() {
        of.document.need(WITH_DRIVER_OPTIONS);
    }
    map.set_filled("driver_opts", options);
    of.left.rest(rest);
    if map.is_empty() { Node::Null } else { Node::Map(map) }
}

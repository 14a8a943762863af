//! A service in a stack file: what docker/cli's `cli/compose/convert/service.go` makes of it is the spec again.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use swarm_state::specs::Item;

use super::{
    deploy,
    document::Document,
    files,
    holdable::{self, labels, mapping, unique},
    mounts, networks,
    translation::Translation,
};
use crate::restore::items::export::{
    command::Command,
    defaults,
    left_out::LeftOut,
    rest::Rest,
    units::duration,
    yaml::{Map, Node},
};

/// Version of the format that has `start_interval`; earlier ones refuse it.
const WITH_START_INTERVAL: u64 = 12;

/// Puts a service into the document. Returns what is left out of it.
///
/// `spec` is that of the item, with the image that is wanted.
pub fn put(key: &str, item: &Item, mut spec: Value, document: &mut Document<'_>) -> LeftOut {
    defaults::drop_from(&mut spec);
    document.with_registry_auth |= item.has_registry_auth;
    let update = Command::new("docker service update");
    let mut of = Translation { key, document, left: LeftOut::of(item), update };
    let mut rest = Rest::of("", spec);
    let mut task = rest.part("TaskTemplate");
    let mut container = task.part("ContainerSpec");
    let mut map = Map::default();
    process(&mut container, &mut map, &mut of);
    surroundings(&mut container, &mut map, &mut of);
    privileges(&mut container, &mut map, &mut of);
    map.set_filled("secrets", files::secrets(&mut container, &mut of));
    map.set_filled("configs", files::configs(&mut container, &mut of));
    map.set_filled("volumes", mounts::all(&mut container, &mut of));
    map.set_filled("networks", networks::attached(&mut task, &mut of));
    let mut endpoint = rest.part("EndpointSpec");
    map.set_filled("ports", ports(&mut endpoint, &mut of));
    map.set_filled("logging", logging(&mut task, &mut of));
    let own = labels(&mut rest, of.document.stack, &defaults::LABELS_OF_DEPLOY);
    map.set_filled("deploy", deploy::section(own, &mut rest, &mut task, &mut endpoint, &mut of));
    afterwards(&container, &mut of.update);
    for part in [container, task, endpoint, rest] {
        of.left.rest(part);
    }
    of.document.service(key, map);
    finished(of, item)
}

fn finished(of: Translation<'_, '_>, item: &Item) -> LeftOut {
    let Translation { mut left, mut update, .. } = of;
    if update.has_options() {
        update.operand(&item.name);
        left.command = Some(update);
    }
    left
}

/// What runs.
fn process(container: &mut Rest, map: &mut Map, of: &mut Translation<'_, '_>) {
    map.set_some("image", container.text("Image"));
    map.set_filled("entrypoint", container.texts("Command"));
    map.set_filled("command", container.texts("Args"));
    map.set_filled("environment", environment(container, of));
    map.set_some("working_dir", container.text("Dir"));
    map.set_some("user", container.text("User"));
    map.set_some("init", container.flag("Init"));
    map.set_some("tty", container.flag("TTY"));
    map.set_some("stdin_open", container.flag("OpenStdin"));
    map.set_some("stop_signal", container.text("StopSignal"));
    map.set_some("stop_grace_period", container.integer("StopGracePeriod").map(duration));
    let check = healthcheck(container, of);
    map.set_filled("healthcheck", check);
}

/// What it runs in.
fn surroundings(container: &mut Rest, map: &mut Map, of: &mut Translation<'_, '_>) {
    map.set_some("hostname", container.text("Hostname"));
    map.set_some("read_only", container.flag("ReadOnly"));
    map.set_some("isolation", container.text("Isolation"));
    map.set_filled("labels", labels(container, of.document.stack, &[]));
    map.set_filled("extra_hosts", hosts(container));
    let mut dns = container.part("DNSConfig");
    map.set_filled("dns", unique(&mut dns, "Nameservers"));
    map.set_filled("dns_search", unique(&mut dns, "Search"));
    let options = dns.texts("Options");
    of.update.options("dns-option-add", &options);
    dns.put("Options", options);
    of.left.rest(dns);
    map.set_filled("sysctls", mapping(container, "Sysctls"));
    map.set_filled("ulimits", ulimits(container, of));
}

/// What it may do.
fn privileges(container: &mut Rest, map: &mut Map, of: &mut Translation<'_, '_>) {
    map.set_filled("cap_add", unique(container, "CapabilityAdd"));
    map.set_filled("cap_drop", unique(container, "CapabilityDrop"));
    let mut privileges = container.part("Privileges");
    let mut credentials = privileges.part("CredentialSpec");
    map.set_filled("credential_spec", files::credentials(&mut credentials, container, of));
    of.left.rest(credentials);
    of.left.rest(privileges);
}

/// Adds the options that set what the file cannot hold and what stays in `container`. The flags of `docker service
/// update` are in docker/cli `cli/command/service/update.go`; it has none for privileges.
fn afterwards(container: &Rest, update: &mut Command) {
    let groups = container.peek("Groups").and_then(Value::as_array).into_iter().flatten();
    update.options("group-add", groups.filter_map(Value::as_str));
    // From 27.1 on. The schema of stack files has it too, and the command line ignores it there: its type names no such
    // key for the decoder (docker/cli `cli/compose/types/types.go`, `OomScoreAdj`).
    update.option_some("oom-score-adj", container.peek("OomScoreAdj").map(Value::to_string));
}

/// Takes the variables. Of several with one name the last one counts, as for the process.
///
/// One without a value is taken from the shell of whoever deploys, and so is one whose value is empty (docker/cli
/// `cli/compose/loader/loader.go`, `updateEnvironment`).
fn environment(container: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut last: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut refused = Vec::new();
    for variable in container.texts("Env").into_iter().rev() {
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (variable.as_str(), None),
        };
        if !holdable::is_key(name) || last.contains_key(name) {
            refused.push(variable);
            continue;
        }
        if value.is_none_or(str::is_empty) {
            of.document.from_shell.insert(name.to_owned());
        }
        last.insert(name.to_owned(), value.map(str::to_owned));
    }
    refused.reverse();
    container.put("Env", refused);
    let mut map = Map::default();
    last.into_iter().for_each(|(name, value)| map.name(name, value.map_or(Node::Null, Node::Text)));
    map
}

fn healthcheck(container: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut check = container.part("Healthcheck");
    let mut map = Map::default();
    map.set_filled("test", check.texts("Test"));
    for (key, name) in [("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod")] {
        map.set_some(key, check.integer(name).map(duration));
    }
    if let Some(interval) = check.integer("StartInterval") {
        of.document.need(WITH_START_INTERVAL);
        map.set("start_interval", duration(interval));
    }
    map.set_some("retries", check.natural("Retries"));
    of.left.rest(check);
    map
}

/// Takes entries of `/etc/hosts`: an address, and after a space the names. The command line splits `names:address`,
/// newer ones at an equals sign before that (docker/cli `cli/compose/loader/loader.go`, `transformHostsList`).
fn hosts(container: &mut Rest) -> Node {
    let mut held: Vec<String> = Vec::new();
    let mut refused = Vec::new();
    for entry in container.texts("Hosts") {
        let split = entry.split_once(' ').filter(|(_, names)| !names.is_empty() && !names.contains([':', '=']));
        match split.map(|(address, names)| format!("{names}:{address}")) {
            Some(mapped) if !held.contains(&mapped) && !entry.contains(['=', '[']) => held.push(mapped),
            _ => refused.push(entry),
        }
    }
    container.put("Hosts", refused);
    held.into()
}

/// Takes limits of resources; the schema takes names of small letters, each once.
fn ulimits(container: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut held: BTreeMap<String, Map> = BTreeMap::new();
    let mut refused = Vec::new();
    for ulimit in container.list("Ulimits") {
        let name = ulimit["Name"].as_str().unwrap_or_default();
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
        match (ulimit["Soft"].as_i64(), ulimit["Hard"].as_i64()) {
            (Some(soft), Some(hard)) if is_name && !held.contains_key(name) => {
                let mut map = Map::default();
                map.set("soft", soft);
                map.set("hard", hard);
                held.insert(name.to_owned(), map);
            }
            _ => refused.push(ulimit),
        }
    }
    if !refused.is_empty() {
        of.left.field(container.path("Ulimits"), json!(refused));
    }
    let mut map = Map::default();
    held.into_iter().for_each(|(name, limits)| map.name(name, limits));
    map
}

/// Takes the published ports; each is written out, so that no default matters. Ports have no names there.
fn ports(endpoint: &mut Rest, of: &mut Translation<'_, '_>) -> Vec<Node> {
    let path = endpoint.path("Ports");
    let mut held: Vec<Node> = Vec::new();
    for port in endpoint.list("Ports") {
        let mut rest = Rest::of(format!("{path}[{}]", port["TargetPort"]), port.clone());
        let mut map = Map::default();
        map.set_some("target", rest.natural("TargetPort"));
        map.set_some("published", rest.natural("PublishedPort"));
        map.set_some("protocol", rest.text("Protocol"));
        map.set_some("mode", rest.text("PublishMode"));
        of.left.rest(rest);
        let map = Node::Map(map);
        match held.contains(&map) {
            true => of.left.because(&path, port, "a second time"),
            false => held.push(map),
        }
    }
    held
}

fn logging(task: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut driver = task.part("LogDriver");
    let mut map = Map::default();
    map.set_some("driver", driver.text("Name"));
    map.set_filled("options", mapping(&mut driver, "Options"));
    of.left.rest(driver);
    map
}

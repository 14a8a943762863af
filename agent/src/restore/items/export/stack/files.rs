//! Secrets and configs in a stack file: their definitions, and the references to them.

use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{
    document::Document,
    holdable::{labels, mapping},
    translation::Translation,
};
use crate::restore::items::export::{
    left_out::LeftOut,
    rest::Rest,
    yaml::{Map, Node},
};

/// Defines a secret or a config of this stack in the document. `file` is the path of its content, from the stack file
/// on; a secret of a driver has none.
pub fn define(item: &Item, file: Option<&str>, document: &mut Document<'_>) -> LeftOut {
    let mut left = LeftOut::of(item);
    let mut rest = Rest::of("", item.spec.clone());
    let mut map = Map::default();
    map.set_some("name", rest.text("Name"));
    map.set_some("file", file);
    let mut driver = rest.part("Driver");
    map.set_some("driver", driver.text("Name"));
    map.set_filled("driver_opts", mapping(&mut driver, "Options"));
    let mut templating = rest.part("Templating");
    map.set_some("template_driver", templating.text("Name"));
    map.set_filled("labels", labels(&mut rest, document.stack, &[]));
    for part in [driver, templating, rest] {
        left.rest(part);
    }
    document.define(item.kind, &item.name, map);
    left
}

/// Takes the secrets of a service.
pub fn secrets(container: &mut Rest, of: &mut Translation<'_, '_>) -> Vec<Node> {
    references(ObjectKind::Secret, "Secret", container, of)
}

/// Takes the configs of a service.
pub fn configs(container: &mut Rest, of: &mut Translation<'_, '_>) -> Vec<Node> {
    references(ObjectKind::Config, "Config", container, of)
}

fn references(kind: ObjectKind, word: &str, container: &mut Rest, of: &mut Translation<'_, '_>) -> Vec<Node> {
    let list = format!("{word}s");
    let mut refused = Vec::new();
    let mut held = Vec::new();
    for value in container.list(&list) {
        let target = value["File"]["Name"].as_str().filter(|target| !target.is_empty());
        match (name_of(kind, word, &value, of.document), target) {
            (Some(name), Some(_)) => {
                let mut rest = Rest::of(format!("{}[{name}]", container.path(&list)), value);
                held.push(reference(&of.document.refer(kind, &name), word, &mut rest));
                of.left.rest(rest);
            }
            _ => refused.push(value),
        }
    }
    container.put(&list, refused);
    held
}

/// Returns the name of what is referred to: the one in the backup, else the one in the reference.
fn name_of(kind: ObjectKind, word: &str, value: &Value, document: &Document<'_>) -> Option<String> {
    let item = value[format!("{word}ID")].as_str().and_then(|id| document.index.get(kind, id));
    let named = value[format!("{word}Name")].as_str().filter(|name| !name.is_empty());
    item.map(|item| item.name.clone()).or_else(|| named.map(str::to_owned))
}

/// Writes out what has a default: the command line takes the key for the target, and 0444 for the mode.
fn reference(key: &str, word: &str, rest: &mut Rest) -> Node {
    rest.any(&format!("{word}ID"));
    rest.any(&format!("{word}Name"));
    let mut file = rest.part("File");
    let mut map = Map::default();
    map.set("source", key);
    map.set_some("target", file.text("Name"));
    map.set_some("uid", file.text("UID"));
    map.set_some("gid", file.text("GID"));
    map.set_some("mode", file.natural("Mode").map(Node::Mode));
    rest.put("File", file.into_fields());
    map.into()
}

/// Takes the credentials of a Windows service. A config that holds them is among its configs too, and the command line
/// puts it there by itself. It finds the config only if the key is the name, with or without that of the stack before
/// it (docker/cli `cli/compose/convert/service.go`, `convertCredentialSpec`).
pub fn credentials(credentials: &mut Rest, container: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut map = Map::default();
    map.set_some("file", credentials.text("File"));
    map.set_some("registry", credentials.text("Registry"));
    let Some(id) = credentials.text("Config") else { return map };
    let Some(config) = of.document.index.get(ObjectKind::Config, &id) else {
        credentials.put("Config", id);
        return map;
    };
    let key = of.document.refer(ObjectKind::Config, &config.name);
    if key != config.name && key != of.document.short(&config.name) {
        credentials.put("Config", id);
        return map;
    }
    map.set("config", key);
    let is_its_own = |value: &Value| value["ConfigID"] == id.as_str() && value["Runtime"].is_object();
    let others: Vec<Value> = container.list("Configs").into_iter().filter(|value| !is_its_own(value)).collect();
    container.put("Configs", others);
    map
}

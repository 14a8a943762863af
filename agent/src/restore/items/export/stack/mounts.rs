//! Mounts of a service in a stack file, and the volumes that they name.

use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::{
    holdable::{labels, mapping},
    translation::Translation,
};
use crate::restore::items::{
    export::{
        rest::Rest,
        script::mount,
        yaml::{Map, Node},
    },
    selection::STACK,
};

/// Version of the format that makes command lines before 27 refuse a file with `subpath`, which they would ignore.
const WITH_SUBPATH: u64 = 13;

/// Version of the format that came to the command line with cluster volumes; 20.10 fails half-way with an earlier one.
const WITH_CLUSTER_VOLUMES: u64 = 10;

/// Takes all mounts (docker/cli `cli/compose/convert/volume.go`). One that the file cannot hold as it is comes with the
/// option that replaces it.
pub fn all(container: &mut Rest, of: &mut Translation<'_, '_>) -> Vec<Node> {
    let path = container.path("Mounts");
    let mut held = Vec::new();
    for value in container.list("Mounts") {
        let before = of.left.fields.len();
        let whole = value.clone();
        let place = format!("{path}[{}]", value["Target"].as_str().unwrap_or_default());
        if let Some(map) = one(Rest::of(place, value), of) {
            held.push(map.into());
        }
        if of.left.fields.len() > before {
            of.update.option("mount-add", mount::option(&whole).0);
        }
    }
    held
}

fn one(mut rest: Rest, of: &mut Translation<'_, '_>) -> Option<Map> {
    let kind = rest.text("Type").unwrap_or_default();
    let source = rest.text("Source").unwrap_or_default();
    let mut map = Map::default();
    map.set("type", kind.as_str());
    if kind == "cluster" {
        of.document.need(WITH_CLUSTER_VOLUMES);
    }
    let key = match kind.as_str() {
        "bind" | "npipe" if is_absolute(&source) => Some(source.clone()),
        "tmpfs" if source.is_empty() => None,
        "volume" if source.is_empty() => None,
        "volume" => Some(volume(&mut rest, &source, &mut map, of)),
        "cluster" if source.starts_with("group:") => Some(source.clone()),
        "cluster" if !source.is_empty() => {
            of.document.others.insert(format!("{} `{source}`", ObjectKind::Volume));
            Some(of.document.refer(ObjectKind::Volume, &source))
        }
        _ => {
            rest.put("Type", kind);
            rest.put("Source", source);
            of.left.rest(rest);
            return None;
        }
    };
    map.set_some("source", key);
    map.set_some("target", rest.text("Target"));
    map.set_some("read_only", rest.flag("ReadOnly"));
    let mut bind = rest.part("BindOptions");
    let mut options = Map::default();
    options.set_some("propagation", bind.text("Propagation"));
    map.set_filled("bind", options);
    let mut tmpfs = rest.part("TmpfsOptions");
    let mut options = Map::default();
    options.set_some("size", tmpfs.natural("SizeBytes"));
    map.set_filled("tmpfs", options);
    for part in [bind, tmpfs, rest] {
        of.left.rest(part);
    }
    Some(map)
}

/// Whether the command line leaves the path as it is: it takes others from the directory of the file, or from `~`.
fn is_absolute(path: &str) -> bool {
    let windows = path.as_bytes().get(1) == Some(&b':') || path.starts_with("\\\\");
    path.starts_with('/') || windows
}

/// Takes the options of a volume with a name, and returns its key. Its labels and its driver are part of a definition
/// that all services share; without any, and without the label of the stack, it is one that somebody else makes.
fn volume(rest: &mut Rest, name: &str, map: &mut Map, of: &mut Translation<'_, '_>) -> String {
    let whole = rest.peek("VolumeOptions").cloned();
    let mut options = rest.part("VolumeOptions");
    let mut own = Map::default();
    own.set_some("nocopy", options.flag("NoCopy"));
    if let Some(subpath) = options.text("Subpath") {
        of.document.need(WITH_SUBPATH);
        of.document.ignored_by_27 = true;
        own.set("subpath", subpath);
    }
    map.set_filled("volume", own);
    let of_stack = whole.as_ref().is_some_and(|whole| whole["Labels"][STACK] == of.document.stack);
    let mut definition = Map::default();
    definition.set("name", name);
    let mut driver = options.part("DriverConfig");
    let mut more = Map::default();
    more.set_some("driver", driver.text("Name"));
    more.set_filled("driver_opts", mapping(&mut driver, "Options"));
    more.set_filled("labels", labels(&mut options, of.document.stack, &[]));
    let path = rest.path("VolumeOptions");
    if !of_stack && !more.is_empty() {
        of.left.because(format!("{path}.Labels"), Value::Null, format!("`docker stack deploy` adds the label {STACK}"));
    }
    of.left.rest(driver);
    of.left.rest(options);
    if !of_stack && more.is_empty() && of.document.volume(name).is_none() {
        return of.document.refer(ObjectKind::Volume, name);
    }
    definition.append(more);
    match of.document.volume(name) {
        Some(other) if *other != definition => {
            of.left.because(path, whole.unwrap_or_default(), "another mount defines this volume in another way");
            of.document.refer(ObjectKind::Volume, name)
        }
        _ => of.document.define(ObjectKind::Volume, name, definition),
    }
}

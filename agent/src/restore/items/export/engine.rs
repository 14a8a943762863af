//! `_engine`: each object as the body of the request of the Engine API that creates it, with nothing left out.
//!
//! Ids belong to one swarm, so references hold names: that of a network is in `Target`, where the API takes both.
//! Secrets and configs have a name beside their id, and the id is left away; whoever sends the body has to put the id
//! of the living object there. Contents of secrets and configs are no part of these files, nor are registry
//! credentials.

use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{Options, index::Index, names::FileNames, planned::Planned};
use crate::{outcome::terminal, restore::items::references};

/// Name of the directory.
pub const FOLDER: &str = "_engine";

/// Names of the files of each kind.
#[derive(Debug, Default)]
pub struct Engine {
    services: FileNames,
    networks: FileNames,
    secrets: FileNames,
    configs: FileNames,
    volumes: FileNames,
}

impl Engine {
    /// Makes the files of one object. `with_content` adds the content of a config or a secret beside it.
    pub fn plan(&mut self, item: &Item, index: &Index<'_>, options: &Options, with_content: bool) -> Planned {
        let mut planned = Planned::default();
        let (folder, names) = match item.kind {
            ObjectKind::Service => ("services", &mut self.services),
            ObjectKind::Network => ("networks", &mut self.networks),
            ObjectKind::Secret => ("secrets", &mut self.secrets),
            ObjectKind::Config => ("configs", &mut self.configs),
            ObjectKind::Volume => ("volumes", &mut self.volumes),
            ObjectKind::Cluster | ObjectKind::Node => return planned,
        };
        let name = names.give(&item.name);
        let spec = with_names(options.spec_of(item), index);
        // A value is always JSON.
        let text = terminal::json(&spec).unwrap_or_default();
        planned.text(&[FOLDER, folder, &format!("{name}.json")], text + "\n");
        if with_content && has_content(item, options.with_secrets) {
            planned.value(&[FOLDER, folder, &format!("{name}.data")], item);
        }
        planned
    }
}

fn has_content(item: &Item, with_secrets: bool) -> bool {
    match item.kind {
        ObjectKind::Config => true,
        ObjectKind::Secret => with_secrets && !item.spec["Driver"].is_object(),
        _ => false,
    }
}

/// Replaces ids by names. An id that the backup does not know stays.
fn with_names(mut spec: Value, index: &Index<'_>) -> Value {
    let name_of = |kind, id: &str| index.get(kind, id).map(|item| item.name.clone());
    references::name(&mut spec, name_of);
    for (place, id, name) in [
        ("/TaskTemplate/ContainerSpec/Secrets", "SecretID", "SecretName"),
        ("/TaskTemplate/ContainerSpec/Configs", "ConfigID", "ConfigName"),
    ] {
        for reference in list(&mut spec, place).filter_map(Value::as_object_mut) {
            if reference.get(id) == reference.get(name) {
                reference.remove(id);
            }
        }
    }
    for secret in list(&mut spec, "/ClusterVolumeSpec/Secrets") {
        if let Some(name) = secret["Secret"].as_str().and_then(|id| name_of(ObjectKind::Secret, id)) {
            secret["Secret"] = name.into();
        }
    }
    spec
}

fn list<'a>(spec: &'a mut Value, place: &str) -> impl Iterator<Item = &'a mut Value> {
    spec.pointer_mut(place).and_then(Value::as_array_mut).into_iter().flatten().filter(|entry| entry.is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_hold_names_and_everything_else_is_as_it_was() {
        let named = |kind, id: &str, name: &str| Item::test(kind, id, name, json!({ "Name": name }));
        let items = [
            named(ObjectKind::Network, "n1", "net"),
            named(ObjectKind::Secret, "s1", "key"),
            named(ObjectKind::Config, "c1", "file"),
        ];
        let index = Index::of(&items);
        let spec = json!({ "TaskTemplate": {
            "ContainerSpec": {
                "Secrets": [{ "SecretID": "s1", "SecretName": "key", "File": { "Mode": 256 } }],
                "Configs": [{ "ConfigID": "gone", "ConfigName": "old" }],
                "Privileges": { "CredentialSpec": { "Config": "c1" }, "NoNewPrivileges": true },
            },
            "Networks": [{ "Target": "n1", "Aliases": ["web"] }, { "Target": "gone" }],
        } });
        let expected = json!({ "TaskTemplate": {
            "ContainerSpec": {
                "Secrets": [{ "SecretName": "key", "File": { "Mode": 256 } }],
                "Configs": [{ "ConfigID": "gone", "ConfigName": "old" }],
                "Privileges": { "CredentialSpec": { "Config": "file" }, "NoNewPrivileges": true },
            },
            "Networks": [{ "Target": "net", "Aliases": ["web"] }, { "Target": "gone" }],
        } });
        assert_eq!(with_names(spec, &index), expected);
        let volume = json!({ "ClusterVolumeSpec": { "Secrets": [{ "Key": "k", "Secret": "s1" }] } });
        assert_eq!(with_names(volume, &index)["ClusterVolumeSpec"]["Secrets"][0]["Secret"], "key");
    }

    #[test]
    fn contents_are_beside_the_specs_only_if_they_are_wanted() {
        let items = [
            Item::test(ObjectKind::Secret, "s1", "key", json!({ "Name": "key" })),
            Item::test(ObjectKind::Config, "c1", "file", json!({ "Name": "file" })),
        ];
        let index = Index::of(&items);
        let values = |with_secrets, with_content| {
            let options = Options { with_secrets, ..Options::default() };
            let mut engine = Engine::default();
            let planned = items.iter().map(|item| engine.plan(item, &index, &options, with_content));
            planned.flat_map(|planned| planned.values).map(|value| value.path.join("/")).collect::<Vec<_>>()
        };
        assert!(values(true, false).is_empty());
        assert_eq!(values(false, true), ["_engine/configs/file.data"]);
        assert_eq!(values(true, true), ["_engine/secrets/key.data", "_engine/configs/file.data"]);
    }
}

//! References of a service to networks, secrets and configs: ids of one swarm, which mean nothing in another one.

use serde_json::Value;
use swarm_state::inventory::ObjectKind;

/// Lists in which a service refers to objects: the place, the kind, the field with the id and that with the name.
const LISTS: [(&str, ObjectKind, &str, Option<&str>); 3] = [
    ("/TaskTemplate/Networks", ObjectKind::Network, "Target", None),
    ("/TaskTemplate/ContainerSpec/Secrets", ObjectKind::Secret, "SecretID", Some("SecretName")),
    ("/TaskTemplate/ContainerSpec/Configs", ObjectKind::Config, "ConfigID", Some("ConfigName")),
];

/// The id of the config with the credentials of a Windows container; it is among the configs too.
const CREDENTIAL_SPEC: &str = "/TaskTemplate/ContainerSpec/Privileges/CredentialSpec/Config";

/// An object that a reference points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub id: String,
    pub name: String,
}

/// Replaces every reference in the spec of a service by what `other` returns for its kind and id; one for which it
/// returns `None` stays. The engine wants id and name of one living object (swarmkit `manager/controlapi/service.go`,
/// `checkSecretExistence`). The name of the file in the container is another field, and stays.
pub fn replace(spec: &mut Value, mut other: impl FnMut(ObjectKind, &str) -> Option<Target>) {
    for (place, kind, id_field, name_field) in LISTS {
        for entry in spec.pointer_mut(place).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(target) = entry[id_field].as_str().and_then(|id| other(kind, id)) else { continue };
            entry[id_field] = target.id.into();
            if let Some(field) = name_field {
                entry[field] = target.name.into();
            }
        }
    }
    if let Some(config) = spec.pointer_mut(CREDENTIAL_SPEC)
        && let Some(target) = config.as_str().filter(|id| !id.is_empty()).and_then(|id| other(ObjectKind::Config, id))
    {
        *config = target.id.into();
    }
}

/// Returns kind and id of everything that the service refers to, each once.
pub fn all(spec: &Value) -> Vec<(ObjectKind, String)> {
    let mut found = Vec::new();
    for (place, kind, id_field, _) in LISTS {
        let entries = spec.pointer(place).and_then(Value::as_array).into_iter().flatten();
        found.extend(entries.filter_map(|entry| Some((kind, entry[id_field].as_str()?.to_owned()))));
    }
    let config = spec.pointer(CREDENTIAL_SPEC).and_then(Value::as_str).filter(|id| !id.is_empty());
    found.extend(config.map(|id| (ObjectKind::Config, id.to_owned())));
    let mut seen = std::collections::HashSet::new();
    found.retain(|reference| seen.insert(reference.clone()));
    found
}

/// Writes names in the place of ids.
pub fn name(spec: &mut Value, mut name_of: impl FnMut(ObjectKind, &str) -> Option<String>) {
    replace(spec, |kind, id| name_of(kind, id).map(|name| Target { id: name.clone(), name }));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> Value {
        json!({ "TaskTemplate": {
            "Networks": [{ "Target": "n1", "Aliases": ["n1"] }, { "Target": "h1" }],
            "ContainerSpec": {
                "Secrets": [{ "SecretID": "s1", "SecretName": "key", "File": { "Name": "key" } }],
                "Configs": [
                    { "ConfigID": "c1", "ConfigName": "conf", "File": { "Name": "/conf" } },
                    { "ConfigID": "c2", "ConfigName": "cred", "Runtime": {} },
                ],
                "Privileges": { "CredentialSpec": { "Config": "c2", "File": "", "Registry": "" } },
            },
        } })
    }

    #[test]
    fn every_reference_is_found_and_replaced_by_id_and_name() {
        let found: Vec<String> = all(&spec()).into_iter().map(|(kind, id)| format!("{kind} {id}")).collect();
        assert_eq!(found, ["network n1", "network h1", "secret s1", "config c1", "config c2"]);
        let mut other = spec();
        replace(&mut other, |_, id| {
            let (id, name) = (format!("new-{id}"), format!("name-of-{id}"));
            (id != "new-h1").then_some(Target { id, name })
        });
        let expected = json!({ "TaskTemplate": {
            "Networks": [{ "Target": "new-n1", "Aliases": ["n1"] }, { "Target": "h1" }],
            "ContainerSpec": {
                "Secrets": [{ "SecretID": "new-s1", "SecretName": "name-of-s1", "File": { "Name": "key" } }],
                "Configs": [
                    { "ConfigID": "new-c1", "ConfigName": "name-of-c1", "File": { "Name": "/conf" } },
                    { "ConfigID": "new-c2", "ConfigName": "name-of-c2", "Runtime": {} },
                ],
                "Privileges": { "CredentialSpec": { "Config": "new-c2", "File": "", "Registry": "" } },
            },
        } });
        assert_eq!(other, expected);
    }

    #[test]
    fn a_service_without_references_stays_as_it_is() {
        for spec in [json!({}), json!({ "TaskTemplate": { "ContainerSpec": { "Secrets": null, "Configs": [] } } })] {
            let mut other = spec.clone();
            name(&mut other, |_, id| Some(id.to_owned()));
            assert_eq!(other, spec);
            assert!(all(&spec).is_empty());
        }
    }
}

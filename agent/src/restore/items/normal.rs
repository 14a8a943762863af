//! The form in which specs are compared: without what one version writes for "nothing" and another leaves out.

use serde_json::{Map, Value};

/// Fields with names and values of users, of which none is left out: a label may be empty.
const MAPS: [&str; 4] = ["Labels", "Options", "DriverOpts", "Sysctls"];

/// Fields of which `false` is something else than no value at all.
const CHOICES: [&str; 1] = ["Init"];

/// Returns the spec of a service in the form in which it is compared. Engines before 17.06 stored the networks
/// outside of the task.
pub fn service(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let outside = spec.as_object_mut().and_then(|fields| fields.remove("Networks"));
    if let (Some(networks), Some(task)) = (outside, spec["TaskTemplate"].as_object_mut())
        && task.get("Networks").is_none_or(|own| own.as_array().is_none_or(Vec::is_empty))
    {
        task.insert("Networks".to_owned(), networks);
    }
    normal(&spec)
}

/// Returns a spec without `null`, `false`, empty lists and empty maps.
pub fn normal(spec: &Value) -> Value {
    match spec {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, value)| match MAPS.contains(&name.as_str()) {
                true => (name.clone(), value.clone()),
                false => (name.clone(), normal(value)),
            });
            Value::Object(kept.filter(|(name, value)| !is_nothing(name, value)).collect::<Map<_, _>>())
        }
        Value::Array(values) => values.iter().map(normal).collect(),
        other => other.clone(),
    }
}

fn is_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(false) => !CHOICES.contains(&name),
        Value::Array(values) => values.is_empty(),
        // `Mode.Global` and `Configs.Runtime` are empty and say something.
        Value::Object(fields) => fields.is_empty() && (MAPS.contains(&name) || name == "ConfigFrom"),
        // Of a network that has no addresses yet the engine returns an IPAM without a driver.
        Value::String(text) => text.is_empty() && matches!(name, "Network" | "Driver"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_the_same_in_all_its_forms() {
        let full = json!({
            "Labels": {}, "Mode": { "Global": {} }, "TTY": false, "Init": false, "Env": [], "DNSConfig": null,
            "Privileges": { "NoNewPrivileges": false }, "ConfigFrom": { "Network": "" }, "Replicas": 0,
            "Networks": [{ "Target": "n1", "DriverOpts": {} }], "IPAM": { "Driver": "" },
        });
        let expected = json!({
            "Mode": { "Global": {} }, "Init": false, "Privileges": {}, "Replicas": 0,
            "Networks": [{ "Target": "n1" }], "IPAM": {},
        });
        assert_eq!(normal(&full), expected);
        let labels = json!({ "Labels": { "empty": "", "traefik.enable": "false" } });
        assert_eq!(normal(&labels), labels);
    }

    #[test]
    fn networks_outside_of_the_task_are_those_of_the_task() {
        let old = json!({ "Name": "web", "Networks": [{ "Target": "n1" }], "TaskTemplate": { "Networks": [] } });
        let new = json!({ "Name": "web", "TaskTemplate": { "Networks": [{ "Target": "n1" }] } });
        assert_eq!(service(&old), service(&new));
    }
}

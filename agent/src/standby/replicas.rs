//! Services that ran with fewer replicas while their site was a standby: a label says how many they are to have.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use crate::host::engine::objects::{NewObject, Objects};

/// Label of a service with its number of replicas once the site serves.
pub const LABEL: &str = "swarmdr.replicas";

/// A service that gets its replicas back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scaled {
    pub service: String,
    pub from: u64,
    pub to: u64,
    #[serde(skip)]
    id: String,
    #[serde(skip)]
    version: u64,
    /// Its spec with them, and without the label.
    #[serde(skip)]
    spec: Value,
}

/// Reads what the label of a service asks for; `None` if it has none. An error is a sentence about a label that cannot be
/// followed.
fn wanted(service: &Value) -> Result<Option<Scaled>, String> {
    let spec = &service["Spec"];
    let name = spec["Name"].as_str().unwrap_or_default();
    let Some(label) = spec["Labels"][LABEL].as_str() else { return Ok(None) };
    let to: u64 =
        label.parse().map_err(|_| format!("the label {LABEL} of the service {name} is `{label}`, and no number"))?;
    let from = spec["Mode"]["Replicated"]["Replicas"].as_u64();
    let from = from.ok_or_else(|| format!("the service {name} has the label {LABEL} and is not replicated"))?;
    let (Some(id), Some(version)) = (service["ID"].as_str(), service["Version"]["Index"].as_u64()) else {
        return Err(format!("the engine does not describe the service {name}"));
    };
    let mut changed = spec.clone();
    changed["Mode"]["Replicated"]["Replicas"] = to.into();
    // Who scales it afterwards does not want it scaled again by the next run.
    if let Some(labels) = changed["Labels"].as_object_mut() {
        labels.remove(LABEL);
    }
    Ok(Some(Scaled { service: name.to_owned(), from, to, id: id.to_owned(), version, spec: changed }))
}

/// Scales each service that has the label, and takes the label away. Returns those, and a sentence for each that could not
/// be scaled.
pub async fn scale_back(objects: &Objects) -> Result<(Vec<Scaled>, Vec<String>)> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for service in objects.services().await? {
        let scaled = match wanted(&service) {
            Ok(None) => continue,
            Ok(Some(scaled)) => scaled,
            Err(why) => {
                failed.push(why);
                continue;
            }
        };
        let new = NewObject { kind: ObjectKind::Service, spec: &scaled.spec, content: None, registry_auth: None };
        match objects.update_service(&scaled.id, scaled.version, new).await {
            Ok(()) => done.push(scaled),
            Err(error) => failed.push(format!(
                "the service {} has {} replicas, and could not be scaled to {}: {error:#}",
                scaled.service, scaled.from, scaled.to
            )),
        }
    }
    Ok((done, failed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(label: Value, mode: Value) -> Value {
        json!({
            "ID": "w1", "Version": { "Index": 7 },
            "Spec": { "Name": "web", "Labels": { LABEL: label, "other": "x" }, "Mode": mode, "New": [1] },
        })
    }

    #[test]
    fn only_the_replicas_and_the_label_change() {
        let scaled = wanted(&service(json!("6"), json!({ "Replicated": { "Replicas": 0 } })));
        let scaled = scaled.expect("can be followed").expect("has one");
        assert_eq!((scaled.from, scaled.to, scaled.version), (0, 6, 7));
        let expected = json!({ "Name": "web", "Labels": { "other": "x" }, "Mode": { "Replicated": { "Replicas": 6 } }, "New": [1] });
        assert_eq!(scaled.spec, expected);
        assert_eq!(wanted(&json!({ "Spec": { "Name": "web", "Labels": {} } })), Ok(None));
    }

    #[test]
    fn a_label_that_cannot_be_followed_is_told() {
        for wrong in [
            service(json!("all"), json!({ "Replicated": { "Replicas": 0 } })),
            service(json!("-1"), json!({ "Replicated": { "Replicas": 0 } })),
            service(json!("3"), json!({ "Global": {} })),
        ] {
            assert!(wanted(&wrong).expect_err("is wrong").contains("web"), "{wrong}");
        }
    }
}

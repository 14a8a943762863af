//! Proof that single objects can be brought back: each spec that was read from the raft log is the one that the booted
//! engine has.

use std::collections::HashMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use swarm_state::{
    inventory::ObjectKind,
    specs::{Item, differences},
};

use crate::{
    host::engine::{Engine, objects::Objects},
    restore::items::normal,
};

/// Kinds of objects that an engine lists with their specs.
const KINDS: [ObjectKind; 4] = [ObjectKind::Network, ObjectKind::Secret, ObjectKind::Config, ObjectKind::Service];

/// Fields of a listed network that belong to no spec, or that only some versions have.
const OF_NO_SPEC: [&str; 7] = ["Id", "Created", "EnableIPv4", "ConfigOnly", "Containers", "Peers", "Services"];

/// Whether `undelete` and `export` would bring back what the backup has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemsOutcome {
    /// True if each spec is the one that the engine returned.
    Proven,
    /// Some are not, or not wholly known to this version: the report names them.
    Differ,
}

impl ItemsOutcome {
    pub fn of(problems: &[String]) -> Self {
        if problems.is_empty() { Self::Proven } else { Self::Differ }
    }
}

/// Compares all specs with those of the engine. Returns a line for each object that is not the same; values are not in it.
pub async fn compare(engine: &Engine, items: &[Item]) -> Result<Vec<String>> {
    let objects = engine.objects().await?;
    let mut problems = Vec::new();
    for kind in KINDS {
        let listed = listed(&objects, kind).await?;
        let own = items.iter().filter(|item| item.kind == kind && !item.is_predefined);
        problems.extend(own.filter_map(|item| problem(item, listed.get(&item.id))));
    }
    Ok(problems)
}

/// Returns the specs of a kind by id, in the form in which they are compared.
async fn listed(objects: &Objects, kind: ObjectKind) -> Result<HashMap<String, Value>> {
    let all = objects.list(kind).await?.into_iter().filter_map(|object| {
        let id = object["ID"].as_str().or(object["Id"].as_str())?.to_owned();
        Some((id, compared(kind, &spec(kind, object))))
    });
    Ok(all.collect())
}

fn spec(kind: ObjectKind, mut object: Value) -> Value {
    if kind != ObjectKind::Network {
        return object["Spec"].take();
    }
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|field, _| !OF_NO_SPEC.contains(&field.as_str()));
    }
    object
}

fn compared(kind: ObjectKind, spec: &Value) -> Value {
    match kind {
        ObjectKind::Service => normal::service(spec),
        _ => normal::normal(spec),
    }
}

fn problem(item: &Item, listed: Option<&Value>) -> Option<String> {
    let what = item.described();
    let Some(listed) = listed else {
        return Some(format!("{what} could not be compared: the booted engine does not list it"));
    };
    if !item.unknown.is_empty() {
        return Some(format!("{what} is not wholly known to this version: {}", item.unknown_parts()));
    }
    let found = differences(&compared(item.kind, &item.listed), listed);
    let paths: Vec<&str> = found.iter().map(|difference| difference.path.as_str()).collect();
    (!paths.is_empty()).then(|| format!("{what} has another spec in the booted engine: {}", paths.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_state::specs::Unknown;

    use super::*;

    fn item(spec: Value) -> Item {
        Item::test(ObjectKind::Service, "s1", "web", spec)
    }

    #[test]
    fn the_same_spec_in_another_form_is_the_same() {
        let own = item(json!({ "Name": "web", "Labels": {}, "Mode": { "Global": {} } }));
        let listed = json!({ "Name": "web", "Mode": { "Global": {} }, "TaskTemplate": null });
        assert_eq!(problem(&own, Some(&compared(ObjectKind::Service, &listed))), None);
    }

    #[test]
    fn what_differs_is_named_by_its_path_and_never_shown() {
        let with = |env: &str| json!({ "TaskTemplate": { "ContainerSpec": { "Env": [env] } } });
        let told = problem(&item(with("A=planted")), Some(&with("A=other"))).expect("differs");
        assert_eq!(told, "service `web` (s1) has another spec in the booted engine: TaskTemplate.ContainerSpec.Env");
        let newer = Item {
            unknown: vec![Unknown::Field { message: "ContainerSpec".to_owned(), field: 31 }],
            ..item(with("A=1"))
        };
        let told = problem(&newer, Some(&with("A=1"))).expect("is not wholly known");
        assert!(told.ends_with("field 31 of ContainerSpec"), "{told}");
        assert!(problem(&newer, None).expect("is missing").contains("does not list it"));
    }
}

//! Changed fields of specs, beside those that an inventory lists.

use std::collections::HashMap;

use swarm_state::{
    inventory::ObjectKind,
    specs::{Item, differences},
};

use super::{ObjectChange, What, fields::FieldChange};

/// Name of the field for the credentials with which a service's image is pulled. Their values are not shown.
pub const REGISTRY_AUTH: &str = "registry_auth";

/// Fields that an inventory lists under a name of its own: the start of the path in a spec, and that name. An empty name
/// is that of any kind of object.
const LISTED: [(&str, &str); 12] = [
    ("Name", ""),
    ("Labels", ""),
    ("Driver", ""),
    ("Internal", ""),
    ("Attachable", ""),
    ("Ingress", ""),
    ("TaskTemplate.ContainerSpec.Image", ""),
    ("Mode.Replicated", ""),
    ("Mode.ReplicatedJob.TotalCompletions", ""),
    ("TaskTemplate.Networks", "networks"),
    ("TaskTemplate.ContainerSpec.Secrets", "secrets"),
    ("TaskTemplate.ContainerSpec.Configs", "configs"),
];

/// Adds the changed fields of objects that both sides have.
pub fn add(all: &mut Vec<ObjectChange>, before: &[Item], after: &[Item]) {
    let before: HashMap<(ObjectKind, &str), &Item> =
        before.iter().map(|item| ((item.kind, item.id.as_str()), item)).collect();
    let places: HashMap<(ObjectKind, String), usize> =
        all.iter().enumerate().map(|(at, change)| ((change.kind, change.id.clone()), at)).collect();
    for item in after.iter().filter(|item| !item.is_predefined) {
        let Some(earlier) = before.get(&(item.kind, item.id.as_str())) else { continue };
        let at = places.get(&(item.kind, item.id.clone())).copied();
        let listed: &[FieldChange] = match at.map(|at| &all[at].what) {
            Some(What::Changed { fields }) => fields,
            _ => &[],
        };
        let more = changed(earlier, item, listed);
        match at {
            _ if more.is_empty() => {}
            Some(at) => {
                if let What::Changed { fields } = &mut all[at].what {
                    fields.extend(more);
                }
            }
            None => {
                let (id, name) = (item.id.clone(), item.name.clone());
                all.push(ObjectChange { kind: item.kind, id, name, what: What::Changed { fields: more } });
            }
        }
    }
}

fn changed(before: &Item, after: &Item, listed: &[FieldChange]) -> Vec<FieldChange> {
    let found = differences(&before.spec, &after.spec).into_iter();
    let found = found.filter(|difference| !is_listed(&difference.path, listed));
    let fields = found.map(|it| FieldChange { field: it.path, before: it.before, after: it.after });
    fields.chain(registry_auth(before, after)).collect()
}

fn is_listed(path: &str, listed: &[FieldChange]) -> bool {
    LISTED.iter().any(|(start, name)| {
        let within = path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        within && (name.is_empty() || listed.iter().any(|change| change.field == *name))
    })
}

fn registry_auth(before: &Item, after: &Item) -> Option<FieldChange> {
    if before.kind != ObjectKind::Service || before.value == after.value {
        return None;
    }
    let shown = |item: &Item| if item.has_registry_auth { "set" } else { "" };
    let (before, after) = match (shown(before), shown(after)) {
        ("set", "set") => ("set", "set, to another value"),
        shown => shown,
    };
    Some(FieldChange { field: REGISTRY_AUTH.to_owned(), before: before.to_owned(), after: after.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use swarm_state::specs::ValueDigest;

    use super::*;

    fn service(spec: Value, auth: Option<&str>) -> Item {
        let value = auth.map(|auth| ValueDigest::of(auth.as_bytes()));
        Item { has_registry_auth: auth.is_some(), value, ..Item::test(ObjectKind::Service, "s1", "web", spec) }
    }

    fn shown(before: Item, after: Item, mut all: Vec<ObjectChange>) -> Vec<String> {
        add(&mut all, &[before], &[after]);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_an_inventory_lists_is_not_shown_twice() {
        let spec = |env: &str, replicas: u64, secret: &str| {
            let container = json!({ "Image": "web:1", "Env": [env], "Secrets": [{ "SecretID": secret }] });
            let mode = json!({ "Replicated": { "Replicas": replicas } });
            json!({ "Name": "web", "Mode": mode, "TaskTemplate": { "ContainerSpec": container } })
        };
        let change =
            |field: &str| FieldChange { field: field.to_owned(), before: "a".to_owned(), after: "b".to_owned() };
        let listed = |fields: &[&str]| {
            let fields = fields.iter().map(|field| change(field)).collect();
            let what = What::Changed { fields };
            vec![ObjectChange { kind: ObjectKind::Service, id: "s1".to_owned(), name: "web".to_owned(), what }]
        };
        let (before, after) = (service(spec("A=1", 1, "x"), None), service(spec("A=2", 2, "y"), None));
        let all = shown(before.clone(), after, listed(&["replicas", "secrets"]));
        assert_eq!(all, ["~ service web: replicas a -> b; secrets a -> b; ContainerSpec.Env A=1 -> A=2"]);
        // The same secret, but another file: the inventory does not list that.
        let all = shown(before.clone(), service(spec("A=1", 1, "y"), None), Vec::new());
        let secrets = r#"~ service web: ContainerSpec.Secrets {"SecretID":"x"} -> {"SecretID":"y"}"#;
        assert_eq!(all, [secrets]);
        assert!(shown(before.clone(), before, Vec::new()).is_empty());
    }

    #[test]
    fn other_registry_credentials_are_named_and_not_shown() {
        for (before, after, expected) in [
            (Some("old"), Some("new"), "set -> set, to another value"),
            (None, Some("new"), "(none) -> set"),
            (Some("old"), None, "set -> (none)"),
        ] {
            let all = shown(service(json!({}), before), service(json!({}), after), Vec::new());
            assert_eq!(all, [format!("~ service web: registry credentials {expected}")]);
        }
    }
}

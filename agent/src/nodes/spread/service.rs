//! What a spec of a service says about where its tasks may be.

use serde_json::Value;

/// A replicated service, as far as its placement is concerned.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub replicas: u64,
    pub constraints: Vec<Constraint>,
    /// Labels that tasks are spread over before nodes: `node.labels.zone`.
    pub preferences: Vec<String>,
    /// Pairs of operating system and architecture; any if there are none.
    pub platforms: Vec<(String, String)>,
    pub most_on_a_node: u64,
    pub cpus: u64,
    pub memory: u64,
}

/// `node.labels.zone == a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    pub key: String,
    pub is_equal: bool,
    pub value: String,
}

impl Constraint {
    /// Reads a constraint as swarmkit does (`manager/constraint/constraint.go`); `None` for one that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let equal = text.split_once("==").map(|(key, value)| (key, true, value));
        let (key, is_equal, value) = equal.or_else(|| text.split_once("!=").map(|(key, value)| (key, false, value)))?;
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        (!key.is_empty() && !key.contains(['!', '=', ' '])).then_some(Self { key, is_equal, value })
    }
}

impl Wishes {
    /// Reads the spec of a replicated service; the error is why its placement cannot be judged.
    pub fn of(spec: &Value) -> Result<Self, String> {
        let template = &spec["TaskTemplate"];
        let placement = &template["Placement"];
        let reserved = &template["Resources"]["Reservations"];
        if reserved["GenericResources"].as_array().is_some_and(|all| !all.is_empty()) {
            return Err("it reserves resources of its own kind, whose nodes are not known here".to_owned());
        }
        let mounts = template["ContainerSpec"]["Mounts"].as_array().into_iter().flatten();
        if mounts.clone().any(|mount| mount["Type"] == "cluster") {
            return Err("it uses a cluster volume, whose nodes are not known here".to_owned());
        }
        let constraint = |text: &Value| {
            let text = text.as_str().unwrap_or_default();
            Constraint::parse(text).ok_or_else(|| format!("its constraint `{text}` is not understood"))
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            replicas: spec["Mode"]["Replicated"]["Replicas"].as_u64().unwrap_or_default(),
            constraints: list(&placement["Constraints"]).map(constraint).collect::<Result<_, _>>()?,
            preferences: list(&placement["Preferences"]).map(|it| text(&it["Spread"]["SpreadDescriptor"])).collect(),
            platforms: list(&placement["Platforms"]).map(|it| (text(&it["OS"]), text(&it["Architecture"]))).collect(),
            most_on_a_node: placement["MaxReplicas"].as_u64().unwrap_or_default(),
            cpus: reserved["NanoCPUs"].as_u64().unwrap_or_default(),
            memory: reserved["MemoryBytes"].as_u64().unwrap_or_default(),
        })
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn constraints_are_read_as_the_scheduler_reads_them() {
        for (text, expected) in [
            ("node.role==worker", Some(("node.role", true, "worker"))),
            ("node.labels.zone != a", Some(("node.labels.zone", false, "a"))),
            ("node.labels.a==b!=c", Some(("node.labels.a", true, "b!=c"))),
            ("node.labels.a!=b==c", None),
            ("node.role", None),
            ("==x", None),
        ] {
            let read = Constraint::parse(text);
            let read = read.as_ref().map(|it| (it.key.as_str(), it.is_equal, it.value.as_str()));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_judged_says_why() {
        for (template, why) in [
            (json!({ "Placement": { "Constraints": ["node.role"] } }), "constraint `node.role`"),
            (json!({ "Resources": { "Reservations": { "GenericResources": [{}] } } }), "resources"),
            (json!({ "ContainerSpec": { "Mounts": [{ "Type": "cluster" }] } }), "cluster volume"),
        ] {
            let error = Wishes::of(&json!({ "TaskTemplate": template })).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        let plain = Wishes::of(&json!({ "Mode": { "Replicated": { "Replicas": 3 } }, "TaskTemplate": {} }));
        assert_eq!(plain.expect("is judged").replicas, 3);
    }
}

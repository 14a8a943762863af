//! Labels of the swarm itself, read and written as raw JSON.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::{Engine, swarm_spec::SwarmSpec};

impl Engine {
    /// Returns a label of the swarm that this engine manages.
    pub async fn swarm_label(&self, name: &str) -> Result<Option<String>> {
        Ok(self.swarm_spec().await?.get("Labels").and_then(|labels| labels[name].as_str().map(str::to_owned)))
    }

    /// Sets a label of the swarm; everything else in its spec goes back as it came. Returns true if the swarm did not
    /// have it already.
    pub async fn set_swarm_label(&self, name: &str, value: &str) -> Result<bool> {
        let set = self.update_swarm("", |spec| label(spec, name, value)).await;
        set.with_context(|| format!("failed to give the swarm the label {name}"))
    }
}

/// Sets a label in the spec of a swarm; returns false if it is there already.
fn label(spec: &mut SwarmSpec, name: &str, value: &str) -> Result<bool> {
    let labels = spec.entry("Labels").or_insert(Value::Null);
    if labels.is_null() {
        *labels = Map::new().into();
    }
    ensure!(labels.is_object(), "the labels of the swarm are no object");
    if labels[name] == value {
        return Ok(false);
    }
    labels[name] = value.into();
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_label_changes() {
        let spec =
            |labels: Value| SwarmSpec::from_iter([("New".to_owned(), json!([1])), ("Labels".to_owned(), labels)]);
        for before in [Value::Null, json!({}), json!({ "other": "x" }), json!({ "a": "0", "other": "x" })] {
            let mut changed = spec(before.clone());
            assert!(label(&mut changed, "a", "1").expect("is set"), "{before}");
            let mut expected = before.as_object().cloned().unwrap_or_default();
            expected.insert("a".to_owned(), "1".into());
            assert_eq!(changed, spec(expected.into()));
        }
        assert!(!label(&mut spec(json!({ "a": "1" })), "a", "1").expect("is there"));
        let mut bare = SwarmSpec::new();
        assert!(label(&mut bare, "a", "1").expect("is set"));
        assert_eq!(Value::Object(bare), json!({ "Labels": { "a": "1" } }));
        label(&mut spec(json!([])), "a", "1").expect_err("are no labels");
    }
}

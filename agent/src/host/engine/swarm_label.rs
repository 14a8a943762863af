//! Labels of the swarm itself, read and written as raw JSON.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value};

use super::{
    Engine,
    raw_call::{Refusal, call, get, in_time},
};
use crate::host::wait::{self, Probe};

/// Time limit of an update that keeps conflicting with those of other clients: a leader updates its swarm too while it
/// comes up.
const UPDATE_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

const POLL: std::time::Duration = std::time::Duration::from_millis(100);

impl Engine {
    /// Returns a label of the swarm that this engine manages.
    pub async fn swarm_label(&self, name: &str) -> Result<Option<String>> {
        let swarm = get(self.socket(), "/swarm").await.context("failed to ask the engine for its swarm")?;
        Ok(swarm["Spec"]["Labels"][name].as_str().map(str::to_owned))
    }

    /// Sets a label of the swarm; everything else in its spec goes back as it came. Returns true if the swarm did not
    /// have it already.
    pub async fn set_swarm_label(&self, name: &str, value: &str) -> Result<bool> {
        let attempt = async || match self.try_to_label(name, value).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            done => done.map(Probe::Done),
        };
        wait::until(UPDATE_LIMIT, POLL, "the swarm to take a label", attempt)
            .await
            .with_context(|| format!("failed to give the swarm the label {name}"))
    }

    async fn try_to_label(&self, name: &str, value: &str) -> Result<bool> {
        // The engine's own newest version: with an older one it drops fields without a word.
        let version = self.api_version().await?;
        let swarm = get(self.socket(), &format!("{version}/swarm")).await?;
        let Some((index, spec)) = labelled(&swarm, name, value)? else { return Ok(false) };
        let body = Bytes::from(serde_json::to_vec(&spec)?);
        in_time(call(self.socket(), Method::POST, &format!("{version}/swarm/update?version={index}"), body)).await?;
        Ok(true)
    }
}

/// Returns the version and the new spec of a swarm; `None` if it has the label already.
fn labelled(swarm: &Value, name: &str, value: &str) -> Result<Option<(u64, Value)>> {
    let index = swarm.pointer("/Version/Index").and_then(Value::as_u64).context("the swarm has no version")?;
    let mut spec = swarm.get("Spec").cloned().context("the swarm has no spec")?;
    let labels = spec.as_object_mut().context("its spec is no object")?.entry("Labels").or_insert(Value::Null);
    if labels.is_null() {
        *labels = Map::new().into();
    }
    ensure!(labels.is_object(), "its labels are no object");
    if labels[name] == value {
        return Ok(None);
    }
    labels[name] = value.into();
    Ok(Some((index, spec)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_label_changes() {
        let swarm = |labels: Value| json!({ "Version": { "Index": 7 }, "Spec": { "New": [1], "Labels": labels } });
        for before in [Value::Null, json!({}), json!({ "other": "x" }), json!({ "a": "0", "other": "x" })] {
            let (index, spec) = labelled(&swarm(before.clone()), "a", "1").expect("reads").expect("changes");
            let mut expected = before.as_object().cloned().unwrap_or_default();
            expected.insert("a".to_owned(), "1".into());
            assert_eq!((index, spec), (7, json!({ "New": [1], "Labels": expected })));
        }
        assert_eq!(labelled(&swarm(json!({ "a": "1" })), "a", "1").expect("reads"), None);
        let (_, spec) =
            labelled(&json!({ "Version": { "Index": 7 }, "Spec": {} }), "a", "1").expect("reads").expect("is");
        assert_eq!(spec, json!({ "Labels": { "a": "1" } }));
        labelled(&json!({}), "a", "1").expect_err("is no swarm");
        labelled(&swarm(json!([])), "a", "1").expect_err("are no labels");
    }
}

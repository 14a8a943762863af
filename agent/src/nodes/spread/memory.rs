//! What a service remembers of its last spread, so that the next run does not restart it for nothing.
//!
//! A label on the service has it, and comes with the update itself: whoever leads next sees it, and a run that is killed
//! right after the update has made both or none. A label of a service is no part of its tasks. Where it is lost, as by
//! `docker stack deploy`, which sets the labels of its file, a service is updated once more at worst.

use serde_json::{Value, json};
use swarmdr_archive::Digest;

/// The label: the counter of the service's forced updates with that update, a slash, and a digest of the nodes that could
/// have had the tasks.
pub const LABEL: &str = "swarmdr.spread";

/// Digits of the digest that are kept.
const DIGITS: usize = 16;

/// Whether the last forced update of the service was one for the same nodes, whose ids are sorted. With another counter
/// somebody has made one more.
pub fn has_tried(spec: &Value, nodes: &[String]) -> bool {
    spec["Labels"][LABEL] == value(counter(spec), nodes)
}

/// Raises the counter of forced updates, which alone makes every task count as changed (swarmkit
/// `manager/orchestrator/task.go`, `IsTaskDirty`), and notes for which nodes.
pub fn force(spec: &mut Value, nodes: &[String]) {
    let next = counter(spec) + 1;
    spec["TaskTemplate"]["ForceUpdate"] = next.into();
    if !spec["Labels"].is_object() {
        spec["Labels"] = json!({});
    }
    spec["Labels"][LABEL] = value(next, nodes).into();
}

fn counter(spec: &Value) -> u64 {
    spec["TaskTemplate"]["ForceUpdate"].as_u64().unwrap_or_default()
}

fn value(counter: u64, nodes: &[String]) -> String {
    let digest = Digest::of(nodes.join("\n").as_bytes()).to_string();
    format!("{counter}/{}", &digest[..DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn an_update_is_remembered_with_its_nodes_and_changes_nothing_else() {
        let before = json!({
            "Name": "web", "Labels": { "own": "x" },
            "TaskTemplate": { "ContainerSpec": { "Unknown": 1 }, "ForceUpdate": 4 },
        });
        let mut spec = before.clone();
        force(&mut spec, &nodes(&["a", "b"]));
        assert!(has_tried(&spec, &nodes(&["a", "b"])) && !has_tried(&before, &nodes(&["a", "b"])));
        assert!(!has_tried(&spec, &nodes(&["a", "b", "c"])), "there is another node");
        assert_eq!(spec["TaskTemplate"], json!({ "ContainerSpec": { "Unknown": 1 }, "ForceUpdate": 5 }));
        assert_eq!(spec["Labels"]["own"], "x");
        let mut again = spec.clone();
        again["TaskTemplate"]["ForceUpdate"] = 6.into();
        assert!(!has_tried(&again, &nodes(&["a", "b"])), "somebody has forced one more");
    }

    #[test]
    fn a_service_without_labels_and_counter_gets_both() {
        for mut spec in [json!({ "TaskTemplate": {} }), json!({ "Labels": null, "TaskTemplate": {} })] {
            force(&mut spec, &nodes(&["a"]));
            assert_eq!(spec["TaskTemplate"]["ForceUpdate"], 1);
            assert!(has_tried(&spec, &nodes(&["a"])), "{spec}");
        }
    }
}

//! Whether the services of a swarm run: on nodes that are there, and not by what the state recorded.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use serde_json::Value;

use crate::{
    host::{engine::objects::Objects, wait},
    outcome::count::count,
};

const POLL: Duration = Duration::from_millis(500);

/// Waits until every service runs, for `limit`. Returns a sentence for each that does not.
pub async fn settle(objects: &Objects, limit: Duration) -> Result<Vec<String>> {
    let mut missing = look(objects).await;
    let settled = wait::poll(limit, POLL, async || {
        missing = look(objects).await;
        missing.as_ref().is_ok_and(Vec::is_empty).then_some(())
    });
    settled.await;
    missing
}

async fn look(objects: &Objects) -> Result<Vec<String>> {
    let nodes = objects.nodes().await?;
    let ready = ready_nodes(&nodes);
    let mut missing = Vec::new();
    for service in objects.services().await? {
        let Some(wanted) = least(&service) else { continue };
        let tasks = objects.tasks(service["ID"].as_str().unwrap_or_default()).await?;
        let running = running(&tasks, &ready);
        if running < wanted {
            let name = service["Spec"]["Name"].as_str().unwrap_or_default();
            let why = last_error(&tasks).map_or_else(String::new, |why| format!(": {why}"));
            missing.push(format!("the service {name} runs with {running} of {}{why}", count(wanted, "task")));
        }
    }
    Ok(missing)
}

fn ready_nodes(nodes: &[Value]) -> BTreeSet<&str> {
    nodes.iter().filter(|node| node["Status"]["State"] == "ready").filter_map(|node| node["ID"].as_str()).collect()
}

/// Returns the number of tasks that a service has to have; `None` for jobs and for what runs once.
fn least(service: &Value) -> Option<u64> {
    let spec = &service["Spec"];
    if spec["TaskTemplate"]["RestartPolicy"]["Condition"] == "none" {
        return None;
    }
    match (spec["Mode"]["Replicated"]["Replicas"].as_u64(), spec["Mode"].get("Global")) {
        (Some(0), _) | (None, None) => None,
        (Some(replicas), _) => Some(replicas),
        // On how many nodes it may run is the scheduler's business.
        (None, Some(_)) => Some(1),
    }
}

fn running(tasks: &[Value], ready: &BTreeSet<&str>) -> u64 {
    let runs = |task: &&Value| {
        task["Status"]["State"] == "running"
            && task["DesiredState"] == "running"
            && task["NodeID"].as_str().is_some_and(|node| ready.contains(node))
    };
    tasks.iter().filter(runs).count() as u64
}

/// Returns why the newest task that does not run does not.
fn last_error(tasks: &[Value]) -> Option<&str> {
    let failed = tasks.iter().filter(|task| task["Status"]["Err"].as_str().is_some_and(|text| !text.is_empty()));
    failed.max_by_key(|task| task["Status"]["Timestamp"].as_str())?["Status"]["Err"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tasks_of_nodes_that_are_gone_do_not_count() {
        let nodes =
            [json!({ "ID": "a", "Status": { "State": "ready" } }), json!({ "ID": "b", "Status": { "State": "down" } })];
        let task = |node: &str, state: &str, desired: &str| json!({ "NodeID": node, "DesiredState": desired, "Status": { "State": state, "Timestamp": "1" } });
        let tasks = [
            task("a", "running", "running"),
            task("b", "running", "running"),
            task("a", "running", "shutdown"),
            task("a", "pending", "running"),
        ];
        assert_eq!(running(&tasks, &ready_nodes(&nodes)), 1);
    }

    #[test]
    fn what_ends_by_itself_need_not_run() {
        let service = |mode: Value, condition: &str| json!({ "Spec": { "Mode": mode, "TaskTemplate": { "RestartPolicy": { "Condition": condition } } } });
        for (service, expected) in [
            (service(json!({ "Replicated": { "Replicas": 3 } }), "any"), Some(3)),
            (service(json!({ "Replicated": { "Replicas": 0 } }), "any"), None),
            (service(json!({ "Replicated": { "Replicas": 3 } }), "none"), None),
            (service(json!({ "Global": {} }), "any"), Some(1)),
            (service(json!({ "ReplicatedJob": {} }), "any"), None),
        ] {
            assert_eq!(least(&service), expected, "{service}");
        }
    }

    #[test]
    fn the_newest_error_is_told() {
        let task = |at: &str, error: &str| json!({ "Status": { "Timestamp": at, "Err": error } });
        let tasks = [task("2", "no such image"), task("1", "an old one"), task("3", "")];
        assert_eq!(last_error(&tasks), Some("no such image"));
    }
}

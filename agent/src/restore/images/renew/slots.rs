//! Slots of a service whose tasks have come to their end, and would be started again by an update.
//!
//! The swarm makes a new task in the moment in which it takes one for over, unless the restart policy forbids that. A slot
//! that is left with tasks that are over counts as changed with every update, whatever that changes: a login is ignored only
//! for tasks that run (swarmkit `manager/orchestrator/restart/restart.go`, `UpdatableTasksInSlot`, and `task.go`,
//! `IsTaskDirty`; seen on 20.10, 26.1 and 28.5: a migration that had ended ran again).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::living::Obstacle;

/// Desired states of tasks that are to run, or to come to their end by themselves.
const WANTED: [&str; 11] = [
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "running",
    "complete",
    "",
];

/// Whether the restart policy of a service lets a task be the last one of its slot.
pub fn may_end(spec: &Value) -> bool {
    let policy = &spec["TaskTemplate"]["RestartPolicy"];
    let condition = policy["Condition"].as_str().unwrap_or_default();
    !matches!(condition, "" | "any") || policy["MaxAttempts"].as_u64().unwrap_or_default() > 0
}

/// Returns the reason to leave a service with these tasks alone, if its restart policy lets tasks end.
pub fn obstacle(tasks: &[Value]) -> Option<Obstacle> {
    let mut slots: BTreeMap<(u64, &str), Vec<&Value>> = BTreeMap::new();
    for task in tasks {
        let slot = task["Slot"].as_u64().unwrap_or_default();
        let node = if slot == 0 { task["NodeID"].as_str().unwrap_or_default() } else { "" };
        slots.entry((slot, node)).or_default().push(task);
    }
    match slots.values().filter(|tasks| has_ended(tasks)).count() {
        0 => None,
        ended if ended == slots.len() => Some(Obstacle::Ended),
        _ => Some(Obstacle::PartlyEnded),
    }
}

/// Whether the newest task has run and is the last one. One that was rejected has not run: it is tried again with the new
/// login.
fn has_ended(tasks: &[&Value]) -> bool {
    if tasks.iter().any(|task| is_wanted(task)) {
        return false;
    }
    let made = |task: &Value| task["CreatedAt"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let newest = tasks.iter().max_by_key(|task| made(task));
    newest.is_some_and(|task| matches!(task["Status"]["State"].as_str(), Some("complete" | "failed")))
}

fn is_wanted(task: &Value) -> bool {
    WANTED.contains(&task["DesiredState"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_policy_that_gives_up_lets_tasks_end() {
        for (policy, expected) in [
            (json!(null), false),
            (json!({}), false),
            (json!({ "Condition": "any", "Delay": 5 }), false),
            (json!({ "Condition": "any", "MaxAttempts": 0 }), false),
            (json!({ "Condition": "any", "MaxAttempts": 3 }), true),
            (json!({ "MaxAttempts": 3 }), true),
            (json!({ "Condition": "on-failure" }), true),
            (json!({ "Condition": "none" }), true),
        ] {
            assert_eq!(may_end(&json!({ "TaskTemplate": { "RestartPolicy": policy } })), expected, "{policy}");
        }
    }

    #[test]
    fn a_slot_has_ended_with_its_newest_task() {
        let at = |second: u32, slot: u64, node: &str, wanted: &str, is: &str| {
            let made = format!("2026-11-21T12:00:{second:02}.5Z");
            json!({ "CreatedAt": made, "Slot": slot, "NodeID": node, "DesiredState": wanted, "Status": { "State": is } })
        };
        let one = |second: u32, wanted: &str, is: &str| at(second, 1, "n1", wanted, is);
        let on = |node: &str, is: &str| at(0, 0, node, if is == "running" { is } else { "shutdown" }, is);
        for (tasks, expected) in [
            (vec![], None),
            (vec![one(0, "shutdown", "complete")], Some(Obstacle::Ended)),
            (vec![one(0, "shutdown", "failed")], Some(Obstacle::Ended)),
            (vec![one(0, "shutdown", "rejected")], None),
            (vec![one(9, "shutdown", "complete"), one(1, "shutdown", "rejected")], Some(Obstacle::Ended)),
            (vec![one(1, "shutdown", "complete"), one(9, "shutdown", "rejected")], None),
            (vec![one(0, "shutdown", "failed"), one(1, "running", "running")], None),
            (vec![one(0, "shutdown", "failed"), one(1, "ready", "ready")], None),
            // The swarm has not yet taken it for over.
            (vec![one(0, "running", "failed")], None),
            (vec![one(0, "shutdown", "complete"), at(0, 2, "n1", "running", "running")], Some(Obstacle::PartlyEnded)),
            (vec![on("n1", "complete"), on("n2", "complete")], Some(Obstacle::Ended)),
            (vec![on("n1", "complete"), on("n2", "running")], Some(Obstacle::PartlyEnded)),
            (vec![on("n1", "shutdown"), on("n2", "running")], None),
        ] {
            assert_eq!(obstacle(&tasks), expected, "{tasks:?}");
        }
    }
}

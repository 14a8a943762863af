//! Tasks that a slot has too many.
//!
//! An update with `start-first` makes a new task while the old one counts still. If that one fails at the same moment, as
//! one does whose image cannot be pulled, the swarm restarts it from the new spec: two tasks of the slot run, and nothing
//! ends the second (swarmkit `manager/orchestrator/update/updater.go` and `restart/restart.go`; seen on 26.1). The next
//! update takes a slot with two tasks for one to work on, and keeps one of those that run (`isSlotDirty`,
//! `useExistingTask`).

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::living::LivingService;
use crate::host::{
    engine::{
        Refusal,
        objects::{NewObject, Objects},
    },
    wait,
};

/// Time that updates may take before their slots are looked at. After that they are pulling still, or wait between tasks.
const LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(500);

/// Waits until the updates of these services have ended, and ends tasks that are too many by an update with the same
/// spec, which restarts none of the others.
pub async fn end(objects: &Objects, services: &[String]) -> Result<()> {
    let mut left = services.to_vec();
    let ended = wait::poll(LIMIT, POLL, async || {
        let now = std::mem::take(&mut left);
        for id in now {
            match look(objects, &id).await {
                Ok(true) => {}
                Ok(false) => left.push(id),
                Err(error) => return Some(Err(error)),
            }
        }
        left.is_empty().then_some(Ok(()))
    });
    ended.await.unwrap_or(Ok(()))
}

/// Returns whether the service needs no further look.
async fn look(objects: &Objects, id: &str) -> Result<bool> {
    let object = objects.one(ObjectKind::Service, id).await?;
    if matches!(object["UpdateStatus"]["State"].as_str(), Some("updating" | "paused")) {
        return Ok(object["UpdateStatus"]["State"] == "paused");
    }
    let tasks = objects.tasks_to_run(id).await?;
    if let Some(service) = LivingService::of(&object)?
        && has_surplus(&tasks)
    {
        tracing::warn!("two tasks of one slot of the service {} run: ending one", service.name);
        let new = NewObject { kind: ObjectKind::Service, spec: &service.spec, content: None, registry_auth: None };
        return match objects.update_service(id, service.version, new).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(false),
            updated => updated.map(|()| true),
        };
    }
    Ok(true)
}

/// Whether a slot, or a node of a global service, has two tasks.
fn has_surplus(tasks: &[Value]) -> bool {
    let mut slots: BTreeMap<(u64, &str), u32> = BTreeMap::new();
    for task in tasks {
        let slot = task["Slot"].as_u64().unwrap_or_default();
        let node = if slot == 0 { task["NodeID"].as_str().unwrap_or_default() } else { "" };
        *slots.entry((slot, node)).or_default() += 1;
    }
    slots.values().any(|tasks| *tasks > 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slot_has_one_task_and_so_has_a_node() {
        let slot = |slot: u64| json!({ "Slot": slot, "NodeID": "n1" });
        let on = |node: &str| json!({ "NodeID": node });
        for (tasks, expected) in [
            (vec![], false),
            (vec![slot(1), slot(2)], false),
            (vec![slot(1), slot(2), slot(1)], true),
            (vec![on("n1"), on("n2")], false),
            (vec![on("n1"), on("n1")], true),
        ] {
            assert_eq!(has_surplus(&tasks), expected, "{tasks:?}");
        }
    }
}

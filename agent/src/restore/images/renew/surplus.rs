//! Tasks that a slot has too many.
//!
//! An update with `start-first` makes a new task while the old one counts still. If that one fails at the same moment, as
//! one does whose image cannot be pulled, the swarm restarts it from the new spec: two tasks of the slot run, and nothing
//! ends the second (swarmkit `manager/orchestrator/update/updater.go` and `restart/restart.go`; seen on 26.1). The next
//! update takes a slot with two tasks for one to work on, and keeps one of those that run (`isSlotDirty`,
//! `useExistingTask`).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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

/// Time in which an update has begun, and between two looks.
const POLL: Duration = Duration::from_secs(2);

/// Services whose slots are looked at.
#[derive(Debug, Default)]
pub struct Suspects {
    /// Updated by this run: their tasks are waited for.
    pub updated: BTreeSet<String>,
    /// Updated earlier.
    pub others: BTreeSet<String>,
}

impl Suspects {
    /// Waits until the services that were updated run, and ends tasks that are too many by an update with the same spec,
    /// which restarts none of the others.
    pub async fn end_surplus(mut self, objects: &Objects) -> Result<()> {
        if !self.updated.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        let ended = wait::poll(LIMIT, POLL, async || self.look(objects).await.transpose());
        ended.await.unwrap_or(Ok(()))
    }

    /// Looks at the services once; `None` if some have to be looked at again.
    async fn look(&mut self, objects: &Objects) -> Result<Option<()>> {
        if self.updated.is_empty() && self.others.is_empty() {
            return Ok(Some(()));
        }
        let others = std::mem::take(&mut self.others);
        for object in objects.services().await? {
            let Some(service) = LivingService::of(&object)? else { continue };
            if service.obstacle().is_some_and(|obstacle| obstacle.stays()) {
                self.updated.remove(&service.id);
            }
            let is_updated = self.updated.contains(&service.id);
            let is_calm = service.obstacle().is_none() && (!is_updated || runs(&object));
            if is_calm && (is_updated || others.contains(&service.id)) && end_one(objects, &service).await? {
                self.updated.remove(&service.id);
            }
        }
        Ok(self.updated.is_empty().then_some(()))
    }
}

fn runs(object: &Value) -> bool {
    let tasks = |field: &str| object["ServiceStatus"][field].as_u64().unwrap_or_default();
    tasks("RunningTasks") >= tasks("DesiredTasks")
}

/// Ends tasks of a service that are too many. Returns false if somebody else changed it meanwhile.
async fn end_one(objects: &Objects, service: &LivingService) -> Result<bool> {
    if !has_surplus(&objects.tasks(&service.id).await?) {
        return Ok(true);
    }
    tracing::warn!("two tasks of one slot of the service {} run: ending one", service.name);
    let new = NewObject { kind: ObjectKind::Service, spec: &service.spec, content: None, registry_auth: None };
    match objects.update_service(&service.id, service.version, new).await {
        Err(error) if Refusal::is_out_of_sequence(&error) => Ok(false),
        updated => updated.map(|()| true),
    }
}

/// Whether a slot, or a node of a global service, has two tasks that run or are about to.
fn has_surplus(tasks: &[Value]) -> bool {
    let mut slots: BTreeMap<(u64, &str), u32> = BTreeMap::new();
    for task in tasks.iter().filter(|task| is_wanted(task)) {
        let slot = task["Slot"].as_u64().unwrap_or_default();
        let node = if slot == 0 { task["NodeID"].as_str().unwrap_or_default() } else { "" };
        *slots.entry((slot, node)).or_default() += 1;
    }
    slots.values().any(|tasks| *tasks > 1)
}

/// A task that is restarted after a delay is to be `ready` until then.
fn is_wanted(task: &Value) -> bool {
    const OVER: [&str; 6] = ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"];
    let state = task["Status"]["State"].as_str().unwrap_or_default();
    matches!(task["DesiredState"].as_str(), Some("ready" | "running")) && !OVER.contains(&state)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slot_has_one_task_and_so_has_a_node() {
        let task = |slot: u64, node: &str, wanted: &str, is: &str| json!({ "Slot": slot, "NodeID": node, "DesiredState": wanted, "Status": { "State": is } });
        let slot = |number: u64| task(number, "n1", "running", "running");
        let on = |node: &str| task(0, node, "running", "running");
        for (tasks, expected) in [
            (vec![], false),
            (vec![slot(1), slot(2)], false),
            (vec![slot(1), slot(2), slot(1)], true),
            (vec![slot(1), task(1, "n2", "ready", "new")], true),
            (vec![slot(1), task(1, "n1", "shutdown", "running"), task(1, "n1", "running", "rejected")], false),
            (vec![on("n1"), on("n2")], false),
            (vec![on("n1"), on("n1")], true),
        ] {
            assert_eq!(has_surplus(&tasks), expected, "{tasks:?}");
        }
    }
}

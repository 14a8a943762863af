//! The forced update of one service.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{KIND, memory};
use crate::{
    host::{
        engine::{Refusal, objects::NewObject},
        wait::{self, Probe},
    },
    nodes::roster::Led,
    restore::images::renew::living::LivingService,
};

/// Time limit of an update that keeps conflicting with what the swarm itself writes.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_secs(1);

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Done,
    Failed { why: String },
}

/// Begins the update, for the nodes that may have the tasks. Returns whether a rollback had something to go back to, which it has no more; `None` if somebody
/// else changes the service at the same time.
pub async fn begin(led: &Led, id: &str, nodes: &[String]) -> Result<Option<bool>> {
    let mut first: Option<Value> = None;
    let attempt = async || {
        let service = LivingService::of(&led.objects.one(KIND, id).await?)?.context("it runs no containers")?;
        let seen = first.get_or_insert_with(|| service.spec.clone());
        if *seen != service.spec || service.obstacle().is_some() {
            return Ok(Probe::Done(None));
        }
        let mut spec = service.spec.clone();
        memory::force(&mut spec, nodes);
        let new = NewObject { kind: KIND, spec: &spec, content: None, registry_auth: None };
        match led.objects.update_service(id, service.version, new).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            updated => updated.map(|()| Probe::Done(Some(service.can_roll_back))),
        }
    };
    wait::until(BEGIN_LIMIT, POLL, "the swarm to leave the service alone", attempt).await
}

/// Waits until the update has ended and all tasks run.
pub async fn wait(led: &Led, id: &str, limit: Duration) -> Result<Ended> {
    let begun = Instant::now();
    loop {
        let services = led.objects.services().await?;
        let Some(object) = services.iter().find(|object| object["ID"] == *id) else {
            return Ok(Ended::Failed { why: "somebody removed it meanwhile".to_owned() });
        };
        match judge(object) {
            Some(ended) => return Ok(ended),
            None if begun.elapsed() >= limit => {
                let state = object["UpdateStatus"]["State"].as_str().unwrap_or("not begun");
                let why = format!("after {} s its update is `{state}`, and not all of its tasks run", limit.as_secs());
                return Ok(Ended::Failed { why });
            }
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// Returns how an update has ended, once it has: every update begins with no state at all.
fn judge(object: &Value) -> Option<Ended> {
    let status = &object["UpdateStatus"];
    let message = status["Message"].as_str().unwrap_or_default();
    let failed = |what: &str| Some(Ended::Failed { why: format!("{what} ({message})") });
    let tasks = |field: &str| object["ServiceStatus"][field].as_u64().unwrap_or_default();
    match status["State"].as_str().unwrap_or_default() {
        "completed" => (tasks("RunningTasks") >= tasks("DesiredTasks")).then_some(Ended::Done),
        "paused" => failed("the engine paused its update: some tasks are new, the others run as before"),
        "rollback_completed" => failed("the engine rolled its update back"),
        "rollback_paused" => failed("the engine began to roll its update back, and paused that"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_update_ends_when_all_tasks_run() {
        let service = |state: Value, running: u64| {
            json!({
                "UpdateStatus": { "State": state, "Message": "because" },
                "ServiceStatus": { "RunningTasks": running, "DesiredTasks": 3 },
            })
        };
        for (state, running, expected) in [
            (json!(null), 3, "goes on"),
            (json!("updating"), 3, "goes on"),
            (json!("rollback_started"), 3, "goes on"),
            (json!("completed"), 2, "goes on"),
            (json!("completed"), 3, "done"),
            (json!("paused"), 3, "paused its update"),
            (json!("rollback_completed"), 3, "rolled its update back"),
            (json!("rollback_paused"), 3, "paused that"),
        ] {
            match judge(&service(state.clone(), running)) {
                None => assert_eq!(expected, "goes on", "{state}"),
                Some(Ended::Done) => assert_eq!(expected, "done", "{state}"),
                Some(Ended::Failed { why }) => assert!(why.contains(expected) && why.contains("because"), "{why}"),
            }
        }
    }
}

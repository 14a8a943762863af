//! Tasks that wait for an address after nodes were removed.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use serde_json::Value;

use crate::{host::wait, nodes::roster::Led};

/// Time for the allocator to give out what was freed: it tries again with each change, and every five minutes.
const LIMIT: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_secs(1);

/// Message of a task whose node has no address for its load balancer (moby
/// `daemon/cluster/executor/container/controller.go`).
const EXHAUSTED: &str = "ip addresses may be exhausted";

/// Returns the names of the services of which tasks still wait for an address, once that has settled.
pub async fn after(led: &Led) -> Result<Vec<String>> {
    let mut last = BTreeSet::new();
    let settled = wait::poll(LIMIT, POLL, async || match led.objects.all_tasks().await {
        Ok(tasks) => {
            last = tasks.iter().filter(|task| waits(task)).filter_map(service).collect();
            last.is_empty().then_some(Ok(()))
        }
        Err(error) => Some(Err(error)),
    });
    settled.await.unwrap_or(Ok(()))?;
    let services = if last.is_empty() { Vec::new() } else { led.objects.services().await? };
    let named = services.iter().filter(|object| object["ID"].as_str().is_some_and(|id| last.contains(id)));
    Ok(named.filter_map(|object| Some(object["Spec"]["Name"].as_str()?.to_owned())).collect())
}

fn service(task: &Value) -> Option<String> {
    Some(task["ServiceID"].as_str()?.to_owned())
}

/// Whether a task is to run, and has not got what the allocator gives.
fn waits(task: &Value) -> bool {
    let status = &task["Status"];
    let is_wanted = matches!(task["DesiredState"].as_str(), Some("ready" | "running"));
    is_wanted && (status["State"] == "new" || status["Err"].as_str().is_some_and(|error| error.contains(EXHAUSTED)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_waits_while_it_is_new() {
        for (wanted, state, error, expected) in [
            ("running", "new", "", true),
            ("shutdown", "new", "", false),
            ("running", "pending", "", false),
            ("running", "rejected", "node is missing network attachments, ip addresses may be exhausted", true),
            ("running", "running", "", false),
        ] {
            let task = json!({ "DesiredState": wanted, "Status": { "State": state, "Err": error } });
            assert_eq!(waits(&task), expected, "{task}");
        }
    }
}

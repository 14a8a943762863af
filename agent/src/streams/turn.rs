//! Whose turn a stream is: the host on which the task of its service runs.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    config::stream::StreamConfig,
    host::engine::{Engine, containers},
    outcome::{exit::Exit, failure::Failure},
};

/// The task of a service that runs on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Id of its container.
    pub container: String,
}

impl Task {
    /// Finds the one task of the service on this host. Fails with exit code 3 if there is none, and with 4 if there are
    /// several: which of them has the data is not known.
    pub async fn find(engine: &Engine, stream: &StreamConfig, service: &str) -> Result<Self> {
        let running = containers::running(engine.socket()).await;
        let running = running.with_context(|| format!("failed to look for the task of the stream {}", stream.name))?;
        let found = of_service(&running, service);
        match found.as_slice() {
            [container] => Ok(Self { container: container.clone() }),
            [] => Err(Failure::new(
                Exit::NotOurTurn,
                format!("the stream {}: no task of the service {service} runs on this host", stream.name),
            )
            .into()),
            several => Err(Failure::refused(format!(
                "the stream {}: {} tasks of the service {service} run on this host, and which has the data is not known",
                stream.name,
                several.len()
            ))
            .advice("use `command` with a program that chooses one, or let the service have one task per host")
            .into()),
        }
    }
}

/// Returns the ids of the containers that are tasks of this service, by name or id, and run.
fn of_service(listed: &[Value], service: &str) -> Vec<String> {
    let is_task = |container: &&Value| {
        let labels = &container["Labels"];
        let is_of = ["com.docker.swarm.service.name", "com.docker.swarm.service.id"];
        // The names of tasks are their own; a container of an image that was made of one has the labels only.
        let names = container["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let named = names.map(|name| name.trim_start_matches('/'));
        is_of.iter().any(|label| labels[label] == service)
            && labels["com.docker.swarm.task.name"].as_str().is_some_and(|task| named.clone().any(|name| name == task))
            && container["State"] == "running"
    };
    listed.iter().filter(is_task).filter_map(|it| it["Id"].as_str().map(str::to_owned)).collect()
}

/// Fails if the service has no task on this host, or several.
pub async fn require(engine: &Engine, stream: &StreamConfig) -> Result<Option<Task>> {
    match &stream.service {
        None => Ok(None),
        Some(service) => Task::find(engine, stream, service).await.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_is_a_container_that_runs_under_its_own_name() {
        let container = |id: &str, name: &str, service: &str, state: &str| {
            json!({ "Id": id, "Names": [format!("/{name}")], "State": state, "Labels": {
                "com.docker.swarm.service.name": service, "com.docker.swarm.service.id": "s1",
                "com.docker.swarm.task.name": "shop_db.1.x",
            }})
        };
        let listed = [
            container("good", "shop_db.1.x", "shop_db", "running"),
            container("copy", "somebody", "shop_db", "running"),
            container("dead", "shop_db.1.x", "shop_db", "exited"),
            container("other", "shop_db.1.x", "shop_web", "running"),
            json!({ "Id": "plain", "Names": ["/plain"], "State": "running" }),
        ];
        assert_eq!(of_service(&listed, "shop_db"), ["good"]);
        assert_eq!(of_service(&listed, "s1"), ["good", "other"]);
        assert!(of_service(&listed, "shop").is_empty());
    }
}

//! The containers that run on this host, as far as a stop of the engine concerns them.
//!
//! Read as raw JSON: a field that is not understood costs that field, and never ends a backup.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::raw_call::ask;

/// Seconds that a container is given to stop if nothing else is said (moby `container/container_unix.go`).
const DEFAULT_STOP: u64 = 10;

/// A thousand containers with long labels are a few megabytes.
const ANSWER_LIMIT: usize = 64 << 20;

/// For one call about one container.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// What the engine itself writes on the containers of a swarm's tasks.
const TASK_LABELS: [&str; 2] = ["com.docker.swarm.task", "com.docker.swarm.service.id"];

/// A container that runs, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: String,
    /// Run with `--rm`: its end is its removal.
    pub removed_at_end: bool,
    pub paused: bool,
    /// One of a swarm's: the swarm brings it back.
    pub task: Option<String>,
    /// Seconds that the engine waits for it to stop; `None` is for ever.
    pub stop_timeout: Option<u64>,
    /// Somebody said so; else it is what the engine takes by itself.
    pub stop_timeout_given: bool,
}

impl Container {
    /// What a person calls it.
    pub fn label(&self) -> String {
        match &self.task {
            Some(service) => format!("{} (a task of the service {service})", self.name),
            None => self.name.clone(),
        }
    }
}

/// All that run, tasks of a swarm among them; in the order in which they were made.
pub async fn running(socket: &Path) -> Result<Vec<Container>> {
    let mut found = Vec::new();
    let mut listed = list(socket).await?;
    // The engine lists the newest first.
    listed.reverse();
    for id in listed {
        if let Some(container) = inspect(socket, &id).await? {
            found.push(parse(&id, &container));
        }
    }
    Ok(found)
}

/// The ids of those that run now.
pub async fn running_ids(socket: &Path) -> Result<BTreeSet<String>> {
    Ok(list(socket).await?.into_iter().collect())
}

async fn list(socket: &Path) -> Result<Vec<String>> {
    let answer = get(socket, "/containers/json").await.context("failed to list the containers that run")?;
    let listed = answer.as_ref().and_then(Value::as_array).context("the engine's list of containers is no list")?;
    let ids = listed.iter().map(|container| container["Id"].as_str().map(str::to_owned));
    ids.collect::<Option<_>>().context("the engine lists a container without an id")
}

/// `None` if it is gone.
pub async fn inspect(socket: &Path, id: &str) -> Result<Option<Value>> {
    get(socket, &format!("/containers/{id}/json"))
        .await
        .with_context(|| format!("failed to look at the container {id}"))
}

/// When a container that was looked at last ended.
pub fn finished_at(container: &Value) -> Option<Timestamp> {
    container["State"]["FinishedAt"].as_str()?.parse().ok()
}

/// When a container that was looked at was last started.
pub fn started_at(container: &Value) -> Option<Timestamp> {
    container["State"]["StartedAt"].as_str()?.parse().ok()
}

/// The names of those that run now, without the slash that the engine writes before them.
pub async fn running_names(socket: &Path) -> Result<BTreeSet<String>> {
    let answer = get(socket, "/containers/json").await.context("failed to list the containers that run")?;
    let listed = answer.as_ref().and_then(Value::as_array).context("the engine's list of containers is no list")?;
    let names = listed.iter().filter_map(|container| container["Names"].as_array()).flatten().filter_map(Value::as_str);
    Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
}

/// `docker start`; that it runs already is no error.
pub async fn start(socket: &Path, id: &str) -> Result<()> {
    post(socket, id, "start").await
}

/// `docker pause`.
pub async fn pause(socket: &Path, id: &str) -> Result<()> {
    post(socket, id, "pause").await
}

async fn post(socket: &Path, id: &str, verb: &str) -> Result<()> {
    let path = format!("/containers/{id}/{verb}");
    let (status, body) = limited(ask(socket, Method::POST, &path, Bytes::new(), ANSWER_LIMIT)).await?;
    match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::OK => Ok(()),
        status => bail!("the engine answered {status}: {}", String::from_utf8_lossy(&body).trim()),
    }
}

async fn get(socket: &Path, path: &str) -> Result<Option<Value>> {
    let (status, body) = limited(ask(socket, Method::GET, path, Bytes::new(), ANSWER_LIMIT)).await?;
    match status {
        StatusCode::OK => Ok(Some(serde_json::from_slice(&body)?)),
        StatusCode::NOT_FOUND => Ok(None),
        status => bail!("the engine answered {status}: {}", String::from_utf8_lossy(&body).trim()),
    }
}

async fn limited<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(CALL_LIMIT, call).await;
    answer.with_context(|| format!("the engine did not answer within {} s", CALL_LIMIT.as_secs()))?
}

fn parse(id: &str, container: &Value) -> Container {
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let name = container["Name"].as_str().map(|name| name.trim_start_matches('/')).filter(|name| !name.is_empty());
    let labels = &config["Labels"];
    let is_task = TASK_LABELS.iter().any(|label| labels.get(*label).is_some());
    let service = labels["com.docker.swarm.service.name"].as_str().unwrap_or("of a swarm");
    Container {
        id: id.to_owned(),
        name: name.unwrap_or(id).to_owned(),
        restart: host["RestartPolicy"]["Name"].as_str().filter(|name| !name.is_empty()).unwrap_or("no").to_owned(),
        removed_at_end: host["AutoRemove"].as_bool().unwrap_or_default(),
        paused: container["State"]["Paused"].as_bool().unwrap_or_default(),
        task: is_task.then(|| service.to_owned()),
        stop_timeout: match config["StopTimeout"].as_i64() {
            None => Some(DEFAULT_STOP),
            Some(seconds) => u64::try_from(seconds).ok(),
        },
        stop_timeout_given: config["StopTimeout"].is_i64(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub fn named(name: &str) -> Container {
        parse(name, &json!({ "Name": format!("/{name}") }))
    }

    #[test]
    fn what_a_container_does_not_say_is_the_engines_default() {
        let plain = named("web");
        assert_eq!((plain.name.as_str(), plain.restart.as_str()), ("web", "no"));
        assert_eq!(plain.stop_timeout, Some(10));
        assert!(!plain.stop_timeout_given && !plain.removed_at_end && !plain.paused && plain.task.is_none());
        assert_eq!(parse("abc", &json!({ "Name": 7, "Config": [] })).name, "abc");
    }

    #[test]
    fn tasks_policies_and_timeouts_are_read() {
        let container = json!({
            "Name": "/db.1.x", "State": { "Paused": true },
            "Config": { "StopTimeout": 300, "Labels": {
                "com.docker.swarm.task": "", "com.docker.swarm.service.name": "db",
            }},
            "HostConfig": { "RestartPolicy": { "Name": "unless-stopped" }, "AutoRemove": true },
        });
        let task = parse("1", &container);
        assert!(task.stop_timeout_given && task.stop_timeout == Some(300));
        assert_eq!(task.label(), "db.1.x (a task of the service db)");
        assert!(task.removed_at_end && task.paused && task.restart == "unless-stopped");
        assert_eq!(parse("1", &json!({ "Config": { "StopTimeout": -1 } })).stop_timeout, None);
    }
}

//! The containers that run on this host, as far as a stop of the engine concerns them.
//!
//! Read as raw JSON: a field that is not understood costs that field, and never ends a backup.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::raw_call::ask;

/// The engine's default stop timeout in seconds (moby `container/container_unix.go`).
const DEFAULT_STOP: u64 = 10;

/// Largest reply in bytes: a thousand containers with long labels are a few megabytes.
const ANSWER_LIMIT: usize = 64 << 20;

/// Time limit of one call about one container, or of the list. An engine replies from memory, unless the container is
/// stuck.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Time limit of a start, which may have to set up a network of the swarm, and of a pause.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

/// Number of concurrent calls, so that a container that is stuck does not hold up the others.
pub const AT_ONCE: usize = 8;

/// The restart policy of a container that could not be inspected.
pub const UNKNOWN_POLICY: &str = "unknown";

/// The label that the engine writes on the container of a task, with the container's own name as its value (moby
/// `daemon/cluster/executor/container/container.go`, `labels`).
const TASK_NAME: &str = "com.docker.swarm.task.name";

/// The labels that the engine writes beside it, with the name and the id of the service.
const SERVICE_NAME: &str = "com.docker.swarm.service.name";
const SERVICE_ID: &str = "com.docker.swarm.service.id";

/// A container that runs, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: String,
    /// True if it was run with `--rm`.
    pub removed_at_end: bool,
    pub paused: bool,
    /// The service that it is a task of; then the swarm brings it back.
    pub task: Option<String>,
    /// Seconds that the engine waits for it to stop; `None` is for ever.
    pub stop_timeout: Option<u64>,
    /// True if the timeout is a setting, not the engine's default.
    pub stop_timeout_given: bool,
}

impl Container {
    /// The name to show, with the service of a task.
    pub fn label(&self) -> String {
        match &self.task {
            Some(service) => format!("{} (a task of the service {service})", self.name),
            None => self.name.clone(),
        }
    }
}

/// The running containers.
#[derive(Debug, Default)]
pub struct Inspected {
    /// All running containers, tasks of a swarm too, in the order in which they were created.
    pub containers: Vec<Container>,
    /// One sentence for each container that could not be inspected. It is in `containers` too, with what the list says
    /// about it.
    pub unseen: Vec<String>,
}

/// Inspects all running containers within `limit`. Those in `known` are not inspected again. It is an error only if the
/// list cannot be read: one container that is stuck says nothing about the others.
pub async fn inspect_running(socket: &Path, known: &[Container], limit: Duration) -> Result<Inspected> {
    let until = Instant::now() + limit;
    let mut listed = list(socket, limit.min(CALL_LIMIT)).await?;
    // The engine lists the newest first.
    listed.reverse();
    let inspections: Vec<_> = listed.iter().map(|entry| inspect_listed(socket, entry, known, until)).collect();
    let seen: Vec<_> = stream::iter(inspections).buffered(AT_ONCE).collect().await;
    let mut inspected = Inspected::default();
    for (container, unseen) in seen {
        inspected.containers.extend(container);
        inspected.unseen.extend(unseen);
    }
    Ok(inspected)
}

/// Inspects a listed container; two `None` mean that it is gone.
async fn inspect_listed(
    socket: &Path,
    entry: &Value,
    known: &[Container],
    until: Instant,
) -> (Option<Container>, Option<String>) {
    let Some(id) = entry["Id"].as_str() else {
        return (None, Some("the engine lists a container without an id, which was not looked at".to_owned()));
    };
    let paused = entry["State"] == "paused";
    if let Some(known) = known.iter().find(|it| it.id == id) {
        return (Some(Container { paused, ..known.clone() }), None);
    }
    let limit = until.saturating_duration_since(Instant::now()).min(CALL_LIMIT);
    match get(socket, &format!("/containers/{id}/json"), limit).await {
        Ok(Some(seen)) => (Some(parse(id, &seen)), None),
        Ok(None) => (None, None),
        Err(error) => {
            let container = listed_only(id, entry);
            let sentence = format!(
                "the container {} was not looked at, so neither its stop timeout nor its restart policy is known: {error:#}",
                container.label()
            );
            (Some(container), Some(sentence))
        }
    }
}

/// The ids of the containers that run now as tasks of this service, by its name or id.
pub async fn tasks_of(socket: &Path, service: &str) -> Result<Vec<String>> {
    Ok(of_service(&list(socket, CALL_LIMIT).await?, service))
}

/// The ids of the containers that run now.
pub async fn running_ids(socket: &Path) -> Result<BTreeSet<String>> {
    let listed = list(socket, CALL_LIMIT).await?;
    Ok(listed.iter().filter_map(|entry| entry["Id"].as_str().map(str::to_owned)).collect())
}

async fn list(socket: &Path, limit: Duration) -> Result<Vec<Value>> {
    let answer = get(socket, "/containers/json", limit).await.context("failed to list the containers that run")?;
    match answer {
        Some(Value::Array(listed)) => Ok(listed),
        _ => bail!("the engine's list of containers is no list"),
    }
}

/// Inspects a container; `None` if it is gone.
pub async fn inspect(socket: &Path, id: &str) -> Result<Option<Value>> {
    get(socket, &format!("/containers/{id}/json"), CALL_LIMIT)
        .await
        .with_context(|| format!("failed to look at the container {id}"))
}

/// When an inspected container last ended.
pub fn finished_at(container: &Value) -> Option<Timestamp> {
    container["State"]["FinishedAt"].as_str()?.parse().ok()
}

/// When an inspected container was last started.
pub fn started_at(container: &Value) -> Option<Timestamp> {
    container["State"]["StartedAt"].as_str()?.parse().ok()
}

/// The names of the containers that run now, without the slash that the engine writes before them.
pub async fn running_names(socket: &Path) -> Result<BTreeSet<String>> {
    let listed = list(socket, CALL_LIMIT).await?;
    let names = listed.iter().filter_map(|container| container["Names"].as_array()).flatten().filter_map(Value::as_str);
    Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
}

/// Starts a container; that it runs already is no error. Returns false if there is no such container.
pub async fn start(socket: &Path, id: &str, limit: Duration) -> Result<bool> {
    post(socket, id, "start", limit.min(CHANGE_LIMIT)).await
}

/// Pauses a container.
pub async fn pause(socket: &Path, id: &str) -> Result<()> {
    post(socket, id, "pause", CHANGE_LIMIT).await.map(drop)
}

async fn post(socket: &Path, id: &str, verb: &str, limit: Duration) -> Result<bool> {
    let path = format!("/containers/{id}/{verb}");
    let call = ask(socket, Method::POST, &path, Bytes::new(), ANSWER_LIMIT);
    let (status, body) = limited(call, limit).await?;
    match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND if is_of_container(&body, id) => Ok(false),
        status => bail!("the engine answered {status}: {}", String::from_utf8_lossy(&body).trim()),
    }
}

/// True if a 404 is about the container itself: a start returns it for a missing network or device too.
fn is_of_container(body: &[u8], id: &str) -> bool {
    let said = String::from_utf8_lossy(body).to_ascii_lowercase();
    said.contains("no such container") && said.contains(&id.to_ascii_lowercase())
}

async fn get(socket: &Path, path: &str, limit: Duration) -> Result<Option<Value>> {
    let (status, body) = limited(ask(socket, Method::GET, path, Bytes::new(), ANSWER_LIMIT), limit).await?;
    match status {
        StatusCode::OK => Ok(Some(serde_json::from_slice(&body)?)),
        StatusCode::NOT_FOUND => Ok(None),
        status => bail!("the engine answered {status}: {}", String::from_utf8_lossy(&body).trim()),
    }
}

async fn limited<T>(call: impl Future<Output = Result<T>>, limit: Duration) -> Result<T> {
    let answer = tokio::time::timeout(limit, call).await;
    answer.with_context(|| format!("the engine did not answer within {} s", limit.as_secs()))?
}

/// A container as far as the list describes it: name, labels and whether it is paused.
fn listed_only(id: &str, entry: &Value) -> Container {
    let alike = serde_json::json!({
        "Name": entry["Names"][0],
        "Config": { "Labels": entry["Labels"] },
        "HostConfig": { "RestartPolicy": { "Name": UNKNOWN_POLICY } },
        "State": { "Paused": entry["State"] == "paused" },
    });
    parse(id, &alike)
}

/// True if a container with these labels and this name is a task of a swarm. An image that was made of a task's container
/// has the labels too; the name is the task's own.
fn is_task(labels: &Value, name: &str) -> bool {
    labels[TASK_NAME].as_str() == Some(name)
}

fn of_service(listed: &[Value], service: &str) -> Vec<String> {
    let is_wanted = |container: &&Value| {
        let labels = &container["Labels"];
        let mut names = container["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        [SERVICE_NAME, SERVICE_ID].iter().any(|label| labels[label] == service)
            && names.any(|name| is_task(labels, name.trim_start_matches('/')))
            && container["State"] == "running"
    };
    listed.iter().filter(is_wanted).filter_map(|it| it["Id"].as_str().map(str::to_owned)).collect()
}

fn parse(id: &str, container: &Value) -> Container {
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let name = container["Name"].as_str().map(|name| name.trim_start_matches('/')).filter(|name| !name.is_empty());
    let labels = &config["Labels"];
    let is_task = name.is_some_and(|name| is_task(labels, name));
    let service = labels[SERVICE_NAME].as_str().unwrap_or("of a swarm");
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
    use std::future;

    use serde_json::json;

    use super::*;

    pub fn named(name: &str) -> Container {
        parse(name, &json!({ "Name": format!("/{name}") }))
    }

    /// An engine that replies 500 about one container, never about another, and properly about the third.
    pub fn moody(socket: &Path) {
        use tokio::{
            io::{AsyncReadExt, AsyncWriteExt},
            net::UnixListener,
        };
        let listener = UnixListener::bind(socket).expect("binds");
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = vec![0; 1024];
                    let length = client.read(&mut request).await.expect("reads");
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    let labels = json!({ "com.docker.swarm.task.name": "job" });
                    let (status, body) = match request.split(' ').nth(1).expect("has a path") {
                        "/containers/json" => (
                            200,
                            json!([
                                { "Id": "well", "Names": ["/web"], "State": "running" },
                                { "Id": "broken", "Names": ["/db"], "State": "paused" },
                                { "Id": "stuck", "Names": ["/job"], "State": "running", "Labels": labels },
                                { "Names": ["/odd"] },
                            ]),
                        ),
                        "/containers/well/json" => (200, json!({ "Name": "/web", "Config": { "StopTimeout": 30 } })),
                        "/containers/gone/start" => (404, json!({ "message": "No such container: gone" })),
                        "/containers/far/start" => (404, json!({ "message": "network far not found" })),
                        "/containers/stuck/json" => future::pending().await,
                        _ => (500, json!({ "message": "disk on fire" })),
                    };
                    let body = body.to_string();
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                    client.write_all((head + &body).as_bytes()).await.expect("writes");
                });
            }
        });
    }

    #[tokio::test]
    async fn a_container_that_is_stuck_or_broken_is_named_and_ends_nothing() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let socket = dir.path().join("socket");
        moody(&socket);
        let begun = Instant::now();
        let inspected = inspect_running(&socket, &[], Duration::from_millis(300)).await.expect("lists");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let ids: Vec<_> =
            inspected.containers.iter().map(|it| (it.id.as_str(), it.restart.as_str(), it.paused)).collect();
        assert_eq!(ids, [("stuck", UNKNOWN_POLICY, false), ("broken", UNKNOWN_POLICY, true), ("well", "no", false)]);
        assert!(inspected.containers[0].task.is_some(), "the list says that");
        let said = inspected.unseen.join("; ");
        for part in
            ["without an id", "container job (a task", "did not answer within", "container db was not", "disk on"]
        {
            assert!(said.contains(part), "`{part}`: {said}");
        }
        // Known ones are not inspected again, and the list says whether they are paused.
        let known: Vec<_> = inspected.containers.iter().map(|it| Container { paused: false, ..it.clone() }).collect();
        let again = inspect_running(&socket, &known, Duration::from_millis(300)).await.expect("lists");
        assert_eq!((again.containers, again.unseen.len()), (inspected.containers, 1), "the one without an id");
    }

    #[tokio::test]
    async fn a_container_that_is_gone_is_not_one_that_lacks_something() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let socket = dir.path().join("socket");
        moody(&socket);
        assert!(!start(&socket, "gone", CALL_LIMIT).await.expect("is answered"));
        for id in ["far", "broken"] {
            start(&socket, id, CALL_LIMIT).await.expect_err("is no start");
        }
        inspect_running(&dir.path().join("absent"), &[], CALL_LIMIT).await.expect_err("there is no list");
    }

    #[test]
    fn what_a_container_does_not_set_is_the_engines_default() {
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
                "com.docker.swarm.task.name": "db.1.x", "com.docker.swarm.service.name": "db",
            }},
            "HostConfig": { "RestartPolicy": { "Name": "unless-stopped" }, "AutoRemove": true },
        });
        let task = parse("1", &container);
        assert!(task.stop_timeout_given && task.stop_timeout == Some(300));
        assert_eq!(task.label(), "db.1.x (a task of the service db)");
        let mut alike = container.clone();
        alike["Name"] = "/made-of-its-image".into();
        assert_eq!(parse("2", &alike).task, None, "an image keeps the labels of what it was made of");
        assert!(task.removed_at_end && task.paused && task.restart == "unless-stopped");
        assert_eq!(parse("1", &json!({ "Config": { "StopTimeout": -1 } })).stop_timeout, None);
    }

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

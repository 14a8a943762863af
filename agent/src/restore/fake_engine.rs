//! An engine of a swarm on a socket, for tests: it keeps objects in memory, and refuses what a real one refuses.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use swarm_state::inventory::ObjectKind;
use tempfile::TempDir;

use crate::host::engine::{Engine, objects::Objects};

/// The engine; its socket is gone when this is dropped.
pub struct FakeEngine {
    dir: TempDir,
    pub state: Arc<Mutex<State>>,
}

/// What the engine has, and how it misbehaves.
#[derive(Default)]
pub struct State {
    /// Kind as in paths, then the object as it is listed.
    pub objects: Vec<(String, Value)>,
    /// Values of secrets and contents of configs by id, and credentials by service.
    pub values: Vec<(String, String)>,
    /// Names whose creation is refused with 400.
    pub refused: Vec<String>,
    /// Names that are created, and the answer is an error of the server.
    pub unanswered: Vec<String>,
    /// Names of networks that are refused with 409, each as often as it is here.
    pub leaving: Vec<String>,
    /// Whether the swarm has no leader: then only networks are answered for, as if there were none.
    pub has_no_leader: bool,
    /// The swarm itself, as it is read.
    pub swarm: Value,
    /// Whether changes of the swarm are refused.
    pub has_lost_its_swarm: bool,
    /// Number of updates before which somebody else changes the object.
    pub conflicts: u32,
    /// Method and path of each request that may change something.
    pub requests: Vec<String>,
    next: u64,
}

struct Asked {
    method: String,
    path: String,
    auth: Option<String>,
    body: Value,
}

type Answer = (u16, Value);

impl FakeEngine {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let listener = UnixListener::bind(dir.path().join("socket")).expect("binds");
        let state = Arc::new(Mutex::new(State { next: 100, ..State::default() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(asked) = read(&client) else { continue };
                let (status, answer) = shared.lock().expect("no panic").answer(&asked);
                let body = if status == 204 { String::new() } else { answer.to_string() };
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = (&client).write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { dir, state }
    }

    pub fn engine(&self) -> Engine {
        Engine::at(self.dir.path().join("socket"))
    }

    pub async fn objects(&self) -> Objects {
        self.engine().objects().await.expect("answers")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Returns kind and name of everything that lives, sorted.
    pub fn names(&self) -> Vec<String> {
        let state = self.state.lock().expect("no panic");
        let mut names: Vec<String> =
            state.objects.iter().map(|(kind, object)| format!("{kind} {}", name_of(object))).collect();
        names.sort();
        names
    }

    /// Returns the object of this name.
    pub fn one(&self, kind: &str, name: &str) -> Value {
        let state = self.state.lock().expect("no panic");
        let found = state.objects.iter().find(|(own, object)| own == kind && name_of(object) == name);
        found.map(|(_, object)| object.clone()).unwrap_or_default()
    }

    /// Adds an object that somebody else made.
    pub fn add(&self, kind: ObjectKind, spec: Value, value: &str) -> String {
        self.state.lock().expect("no panic").add(&format!("{kind}s"), spec, value)
    }

    /// Returns the content or the credentials of an object.
    pub fn value(&self, id: &str) -> String {
        let state = self.state.lock().expect("no panic");
        let found = state.values.iter().find(|(own, _)| own == id);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Returns the requests that could change something since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("no panic").requests)
    }
}

fn read(client: &UnixStream) -> Option<Asked> {
    let mut lines = BufReader::new(client);
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut auth) = (0, None);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let Some((header, value)) = line.trim().split_once(':') else { break };
        match header.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "x-registry-auth" => auth = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some(Asked { method, path, auth, body: serde_json::from_slice(&body).unwrap_or_default() })
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.path == "/version" {
            return (200, json!({ "ApiVersion": "1.51" }));
        }
        if asked.path == "/nodes" {
            return (200, json!([]));
        }
        if asked.method != "GET" {
            self.requests.push(format!("{} {}", asked.method, asked.path));
        }
        if self.has_no_leader {
            return without_leader(asked);
        }
        // What is only read is asked for without a version in places.
        let path = asked.path.strip_prefix("/v1.51").unwrap_or(&asked.path).trim_start_matches('/').to_owned();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        match (asked.method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["services"]) if query.contains("plugin") => (200, json!([])),
            ("GET", ["tasks"]) => (200, self.tasks(query)),
            ("GET", ["swarm"]) => (200, self.swarm.clone()),
            ("POST", ["swarm", "update"]) if self.has_lost_its_swarm => {
                (503, json!({ "message": "this node is not a swarm manager" }))
            }
            ("POST", ["swarm", "update"]) => {
                self.swarm["Spec"] = asked.body.clone();
                (200, json!({}))
            }
            ("GET", [kind]) => (200, self.list(kind)),
            ("GET", [kind, id]) => self.one(kind, id),
            ("POST", [kind, "create"]) => self.create(kind, asked),
            ("POST", [kind, id, "update"]) => match self.at(kind, id) {
                Some(at) => self.update(at, id, query, asked),
                None => not_found(),
            },
            ("DELETE", [kind, id]) => self.remove(kind, id),
            other => panic!("{other:?}"),
        }
    }

    fn list(&self, kind: &str) -> Value {
        let left = self.leaving.iter().filter(|_| kind == "networks");
        let left = left.map(|name| json!({ "Id": "gone", "Name": name, "Scope": "swarm", "Containers": {} }));
        let own = self.objects.iter().filter(|(own, _)| own == kind).map(|(_, object)| object.clone());
        own.chain(left).collect()
    }

    /// Lists the tasks of the service that the filter names.
    fn tasks(&self, filter: &str) -> Value {
        let is_of = |task: &Value| {
            task["ServiceID"].as_str().is_some_and(|service| filter.contains(&format!("%22{service}%22")))
        };
        let tasks = self.objects.iter().filter(|(kind, task)| kind == "tasks" && is_of(task));
        tasks.map(|(_, task)| task.clone()).collect()
    }

    fn one(&self, kind: &str, id: &str) -> Answer {
        let Some(at) = self.at(kind, id) else { return not_found() };
        let mut object = self.objects[at].1.clone();
        if kind == "configs" {
            let content = self.values.iter().find(|(own, _)| own == id).map(|(_, value)| value.clone());
            object["Spec"]["Data"] = content.into();
        }
        (200, object)
    }

    fn at(&self, kind: &str, id: &str) -> Option<usize> {
        self.objects.iter().position(|(own, object)| own == kind && id_of(object) == id)
    }

    fn create(&mut self, kind: &str, asked: &Asked) -> Answer {
        let name = asked.body["Name"].as_str().expect("has a name").to_owned();
        if self.refused.contains(&name) {
            return (400, json!({ "message": "the engine does not like it" }));
        }
        if let Some(at) = self.leaving.iter().position(|leaving| *leaving == name) {
            self.leaving.remove(at);
            return (409, json!({ "message": format!("network with name {name} already exists") }));
        }
        let same = |object: &Value| name_of(object).eq_ignore_ascii_case(&name);
        if self.objects.iter().any(|(own, object)| own == kind && same(object)) {
            return (409, json!({ "message": format!("{name} already exists") }));
        }
        let mut spec = asked.body.clone();
        let data = spec.as_object_mut().and_then(|spec| spec.remove("Data"));
        let value = data.as_ref().and_then(Value::as_str).or(asked.auth.as_deref()).unwrap_or_default().to_owned();
        let id = self.add(kind, spec, &value);
        match self.unanswered.contains(&name) {
            true => (500, json!({ "message": "rpc error: code = DeadlineExceeded" })),
            false => (201, json!({ "ID": id })),
        }
    }

    fn add(&mut self, kind: &str, spec: Value, value: &str) -> String {
        self.next += 1;
        let id = format!("{}{}", &kind[..1], self.next);
        let object = match kind {
            "networks" => {
                let mut network = json!({ "Id": id, "Driver": "overlay", "Scope": "swarm", "Containers": null });
                for (field, value) in spec.as_object().expect("is an object") {
                    network[field] = value.clone();
                }
                network
            }
            _ => json!({ "ID": id, "Version": { "Index": self.next }, "Spec": spec }),
        };
        self.objects.push((kind.to_owned(), object));
        self.values.push((id.clone(), value.to_owned()));
        id
    }

    fn update(&mut self, at: usize, id: &str, query: &str, asked: &Asked) -> Answer {
        let value = self.values.iter().find(|(own, _)| own == id).map(|(_, value)| value.clone());
        if asked.body["Data"].is_string() && asked.body["Data"].as_str() != value.as_deref() {
            return (
                400,
                json!({ "message": "rpc error: code = InvalidArgument desc = only updates to Labels are allowed" }),
            );
        }
        self.next += 1;
        let object = &mut self.objects[at].1;
        if self.conflicts > 0 {
            self.conflicts -= 1;
            object["Version"]["Index"] = self.next.into();
        }
        if !query.split('&').any(|part| part == format!("version={}", object["Version"]["Index"])) {
            return (500, json!({ "message": "rpc error: code = Unknown desc = update out of sequence" }));
        }
        let spec = match query.contains("rollback=previous") {
            true => object["PreviousSpec"].clone(),
            false => asked.body.clone(),
        };
        object["PreviousSpec"] = object["Spec"].take();
        object["Spec"] = spec;
        object["Version"]["Index"] = self.next.into();
        object["UpdateStatus"] = Value::Null;
        if let Some(auth) = &asked.auth {
            self.values.retain(|(own, _)| own != id);
            self.values.push((id.to_owned(), auth.clone()));
        }
        (200, json!({}))
    }

    /// Refuses to remove what a service uses.
    fn remove(&mut self, kind: &str, id: &str) -> Answer {
        let Some(at) = self.at(kind, id) else { return not_found() };
        let uses = |object: &Value| object["Spec"].to_string().contains(&format!("\"{id}\""));
        if kind != "services" && self.objects.iter().any(|(own, object)| own == "services" && uses(object)) {
            return (400, json!({ "message": format!("{id} is in use") }));
        }
        self.objects.remove(at);
        (204, Value::Null)
    }
}

fn without_leader(asked: &Asked) -> Answer {
    match (asked.method.as_str(), asked.path.contains("/networks")) {
        ("GET", true) if asked.path.ends_with("/networks") => (200, json!([])),
        ("POST", _) | (_, false) => (503, json!({ "message": "The swarm does not have a leader." })),
        _ => not_found(),
    }
}

fn not_found() -> Answer {
    (404, json!({ "message": "not found" }))
}

fn id_of(object: &Value) -> &str {
    object["ID"].as_str().or(object["Id"].as_str()).unwrap_or_default()
}

fn name_of(object: &Value) -> &str {
    object["Spec"]["Name"].as_str().or(object["Name"].as_str()).unwrap_or_default()
}

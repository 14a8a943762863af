//! Services, networks, secrets and configs of a living swarm, as raw JSON: read, created, updated and removed.
//!
//! `bollard`'s types would lose fields on the way, such as the health check. All calls name the engine's own newest API
//! version: with an older one the engine drops fields of a service without a word (moby
//! `api/server/router/swarm/helpers.go`, `adjustForAPIVersion`).

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use data_encoding::BASE64;
use hyper::Method;
use serde_json::{Value, json};
use swarm_state::inventory::ObjectKind;
use zeroize::Zeroizing;

use super::{
    Engine, Refusal,
    client::PLUGIN_SERVICES,
    list_call,
    raw_call::{call, call_with_auth, get, in_time},
};

/// Message of the engine for an update of a secret with another value (swarmkit `manager/controlapi/secret.go`,
/// `UpdateSecret`).
const OTHER_VALUE: &str = "only updates to Labels are allowed";

/// The list of the services whose id begins with `-`, as none does.
const NO_SERVICE: &str = "/services?filters=%7B%22id%22%3A%5B%22-%22%5D%7D";

/// The calls for objects of the swarm that this engine manages.
#[derive(Debug, Clone)]
pub struct Objects {
    pub(super) socket: PathBuf,
    /// Start of all paths: `/v1.51`.
    pub(super) version: String,
}

/// An object that is created or takes the place of another one.
#[derive(Clone, Copy)]
pub struct NewObject<'a> {
    pub kind: ObjectKind,
    /// Body of the request, without the content of a secret or a config.
    pub spec: &'a Value,
    /// Content of a secret or a config.
    pub content: Option<&'a [u8]>,
    /// Credentials with which a service's image is pulled: the text of an `X-Registry-Auth` header. The engine stores
    /// this very text (moby `daemon/cluster/services.go`, `CreateService`).
    pub registry_auth: Option<&'a [u8]>,
}

/// A secret that lives: what an update of it must repeat.
#[derive(Debug, Clone, Copy)]
pub struct LivingSecret<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub labels: &'a Value,
}

impl Engine {
    /// Returns the calls for objects, after it has asked the engine for its newest API version.
    pub async fn objects(&self) -> Result<Objects> {
        Ok(Objects { socket: self.socket().to_owned(), version: self.api_version().await? })
    }

    /// Returns the start of all paths of this engine's newest API version: `/v1.51`.
    pub(super) async fn api_version(&self) -> Result<String> {
        let asked = get(self.socket(), "/version").await.context("failed to ask the engine for its API version")?;
        let version = asked["ApiVersion"].as_str().unwrap_or_default();
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        ensure!(is_version, "the engine gave `{version}` as its API version, which is none");
        Ok(format!("/v{version}"))
    }
}

impl Objects {
    /// Lists all objects of a kind. Networks are listed with those that only this host has; configs without their
    /// content.
    pub async fn list(&self, kind: ObjectKind) -> Result<Vec<Value>> {
        let path = format!("{}/{}", self.version, collection(kind)?);
        let list = match kind {
            ObjectKind::Config => list_call::list(&self.socket, &path, without_data).await,
            _ => get(&self.socket, &path).await,
        };
        if kind == ObjectKind::Network {
            self.require_leader().await.context("failed to list the swarm's networks")?;
        }
        let mut all = objects(list.with_context(|| format!("failed to list the swarm's {kind}s"))?)?;
        if kind == ObjectKind::Service {
            let plugins = get(&self.socket, &format!("{}{PLUGIN_SERVICES}", self.version)).await;
            all.extend(objects(plugins.context("failed to list the swarm's plugin services")?)?);
        }
        Ok(all)
    }

    /// Lists the services with the number of their tasks (`ServiceStatus`, from 20.10 on), without those of plugins.
    pub async fn services(&self) -> Result<Vec<Value>> {
        let list = get(&self.socket, &format!("{}/services?status=true", self.version)).await;
        objects(list.context("failed to list the swarm's services")?)
    }

    /// Lists the tasks of a service, those that are over too.
    pub async fn tasks(&self, service: &str) -> Result<Vec<Value>> {
        let filters = format!("%7B%22service%22%3A%5B%22{}%22%5D%7D", id_in_path(service)?);
        let list = get(&self.socket, &format!("{}/tasks?filters={filters}", self.version)).await;
        objects(list.with_context(|| format!("failed to list the tasks of the service {service}"))?)
    }

    /// Lists the nodes of the swarm.
    pub async fn nodes(&self) -> Result<Vec<Value>> {
        objects(
            get(&self.socket, &format!("{}/nodes", self.version)).await.context("failed to list the swarm's nodes")?,
        )
    }

    /// Returns one object as the engine describes it: a config with its content, and a network also if it is one of
    /// swarm's copies of the engine's own networks, which are not listed.
    pub async fn one(&self, kind: ObjectKind, id: &str) -> Result<Value> {
        let path = format!("{}/{}/{}", self.version, collection(kind)?, id_in_path(id)?);
        let found = self.believe(kind, get(&self.socket, &path).await).await;
        found.with_context(|| format!("failed to read the {kind} {id}"))
    }

    /// Returns the content of a config.
    pub async fn content(&self, config: &str) -> Result<Zeroizing<Vec<u8>>> {
        let found = self.one(ObjectKind::Config, config).await?;
        let content = BASE64.decode(found["Spec"]["Data"].as_str().unwrap_or_default().as_bytes());
        Ok(Zeroizing::new(content.with_context(|| format!("the content of the config {config} is no base64"))?))
    }

    /// Finds out whether a secret has this value, which no engine returns, without a change of anything.
    ///
    /// The engine is asked for an update that it cannot make: the version of the secret is given as 0, which none has.
    /// It compares the value first, and refuses another one (swarmkit `manager/controlapi/secret.go`, `UpdateSecret`);
    /// only then it finds that the update is out of sequence (`manager/state/store/memory.go`). The request repeats the
    /// name and the labels, so it would change nothing either way. Even an engine that logs its requests does not log
    /// the value (moby `api/server/middleware/debug.go`).
    pub async fn has_value(&self, secret: LivingSecret<'_>, value: &[u8]) -> Result<bool> {
        let spec = json!({ "Name": secret.name, "Labels": secret.labels });
        let path = format!("{}/secrets/{}/update?version=0", self.version, id_in_path(secret.id)?);
        let body = body(&spec, Some(value))?;
        match in_time(call(&self.socket, Method::POST, &path, body)).await {
            Ok(_) => Ok(true),
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(true),
            Err(error) if Refusal::find(&error).is_some_and(|refusal| refusal.says(OTHER_VALUE)) => Ok(false),
            Err(error) => Err(error.context(format!("failed to compare the value of the secret `{}`", secret.name))),
        }
    }

    /// Creates an object, and returns its id.
    pub async fn create(&self, new: NewObject<'_>) -> Result<String> {
        let path = format!("{}/{}/create", self.version, collection(new.kind)?);
        let answer = self.post(&path, new).await?;
        let answer: Value = serde_json::from_slice(&answer).context("the engine's answer is no JSON")?;
        let id = answer["ID"].as_str().or(answer["Id"].as_str()).context("the engine gave no id")?;
        Ok(id_in_path(id)?.to_owned())
    }

    /// Gives a service another spec. Its credentials for a registry stay if none are given (moby
    /// `daemon/cluster/services.go`, `UpdateService`). `version` is that of the service when it was read: if it has
    /// been changed since, the engine refuses.
    pub async fn update_service(&self, id: &str, version: u64, new: NewObject<'_>) -> Result<()> {
        let path = format!("{}/services/{}/update?version={version}", self.version, id_in_path(id)?);
        self.post(&path, new).await.map(drop)
    }

    /// Gives a service its previous spec, with the credentials for a registry that it had. The engine wants a spec with
    /// the request, which it only checks.
    pub async fn roll_back_service(&self, id: &str, version: u64, spec: &Value) -> Result<()> {
        let path = format!("{}/services/{}/update?version={version}&rollback=previous", self.version, id_in_path(id)?);
        let new = NewObject { kind: ObjectKind::Service, spec, content: None, registry_auth: None };
        self.post(&path, new).await.map(drop)
    }

    /// Removes an object by its id.
    pub async fn remove(&self, kind: ObjectKind, id: &str) -> Result<()> {
        let path = format!("{}/{}/{}", self.version, collection(kind)?, id_in_path(id)?);
        self.believe(kind, in_time(call(&self.socket, Method::DELETE, &path, Bytes::new())).await).await.map(drop)
    }

    /// Turns the answer that there is no such network into another error if the swarm has no leader.
    async fn believe<T>(&self, kind: ObjectKind, answer: Result<T>) -> Result<T> {
        if kind == ObjectKind::Network && answer.as_ref().is_err_and(Refusal::is_not_found) {
            self.require_leader().await?;
        }
        answer
    }

    /// Asks the swarm for a service that it does not have, which fails without a leader. A manager without one answers
    /// questions about networks as if its own host had all of them (moby
    /// `api/server/router/network/network_routes.go`, `getNetworksList`).
    async fn require_leader(&self) -> Result<()> {
        let asked = get(&self.socket, &format!("{}{NO_SERVICE}", self.version)).await;
        asked.map(drop).context("the swarm does not answer, so it is not known which networks it has")
    }

    async fn post(&self, path: &str, new: NewObject<'_>) -> Result<Bytes> {
        let body = body(new.spec, new.content)?;
        match new.registry_auth {
            Some(auth) => {
                let auth = Bytes::from_owner(Zeroizing::new(auth.to_vec()));
                in_time(call_with_auth(&self.socket, Method::POST, path, body, auth)).await
            }
            None => in_time(call(&self.socket, Method::POST, path, body)).await,
        }
    }
}

/// Returns the body of a request. A content is added as base64 in memory that is wiped, and of the size that is
/// needed, so that no copy is left where it has grown.
fn body(spec: &Value, content: Option<&[u8]>) -> Result<Bytes> {
    let text = serde_json::to_vec(spec)?;
    let Some(content) = content else { return Ok(Bytes::from(text)) };
    let fields = text.strip_suffix(b"}").context("a spec is an object")?;
    let length = BASE64.encode_len(content.len());
    let mut body = Zeroizing::new(Vec::with_capacity(fields.len() + length + 12));
    body.extend_from_slice(fields);
    body.extend_from_slice(if fields == b"{" { b"\"Data\":\"" } else { b",\"Data\":\"" });
    let begin = body.len();
    body.resize(begin + length, 0);
    BASE64.encode_mut(content, &mut body[begin..]);
    body.extend_from_slice(b"\"}");
    Ok(Bytes::from_owner(body))
}

fn collection(kind: ObjectKind) -> Result<&'static str> {
    Ok(match kind {
        ObjectKind::Service => "services",
        ObjectKind::Network => "networks",
        ObjectKind::Secret => "secrets",
        ObjectKind::Config => "configs",
        ObjectKind::Cluster | ObjectKind::Node | ObjectKind::Volume => bail!("a {kind} is not created this way"),
    })
}

/// Returns the id if it may be part of a path.
pub(super) fn id_in_path(id: &str) -> Result<&str> {
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    ensure!(is_id, "`{id}` is not the id of an object");
    Ok(id)
}

pub(super) fn objects(list: Value) -> Result<Vec<Value>> {
    match list {
        Value::Array(objects) => Ok(objects),
        Value::Null => Ok(Vec::new()),
        _ => bail!("the engine's list is no list"),
    }
}

fn without_data(config: &mut Value) {
    if let Some(spec) = config.get_mut("Spec").and_then(Value::as_object_mut) {
        spec.remove("Data");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_added_to_the_spec_in_base64() {
        let read = |spec: Value, content| -> Value {
            serde_json::from_slice(&body(&spec, content).expect("is made")).expect("is JSON")
        };
        let spec = json!({ "Name": "key", "Labels": {} });
        assert_eq!(read(spec.clone(), None), spec);
        for content in [&b""[..], b"a", b"ab", b"abc", &[0xff; 500]] {
            let expected = json!({ "Name": "key", "Labels": {}, "Data": BASE64.encode(content) });
            assert_eq!(read(spec.clone(), Some(content)), expected);
            assert_eq!(read(json!({}), Some(content)), json!({ "Data": BASE64.encode(content) }));
        }
        body(&json!([]), Some(b"a")).expect_err("is no object");
    }

    #[test]
    fn only_ids_become_part_of_a_path() {
        assert_eq!(id_in_path("w1ymnkr1qaqfdkyvdpgekypgb").expect("is one"), "w1ymnkr1qaqfdkyvdpgekypgb");
        for wrong in ["", "../x", "a/b", "a?force=true", "a b"] {
            id_in_path(wrong).expect_err(wrong);
        }
        collection(ObjectKind::Node).expect_err("is not created");
    }
}

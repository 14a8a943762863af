//! What people set in a swarm, as one digest: equal if nothing of it was changed.
//!
//! The engine writes to its objects all the time: tasks die and start, nodes come and go, updates make progress, networks
//! get addresses. None of that is in a spec, so none of it counts. What counts:
//!
//! - services, secrets, configs and networks of the swarm: which there are, and their specs. The value of a secret or a
//!   config cannot be changed (swarmkit `manager/controlapi/secret.go`), so its id stands for it, and so does that of a
//!   network.
//! - nodes: which there are, their roles, availability and labels.
//! - the swarm's own spec, its join tokens, its root CA and its unlock key.
//!
//! An engine that rolls a service back by itself (`--update-failure-action rollback`) changes the spec, so that counts.
//!
//! Managers with engines of other versions may describe one spec in other words: while an upgrade goes through a swarm they
//! may see a change where there is none, which costs a backup and loses nothing.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use swarm_state::inventory::ObjectKind;
use swarmdr_archive::{Digest, Hasher};

use super::{Engine, raw_call::get, unlock::RunningKey};

const KINDS: [ObjectKind; 4] = [ObjectKind::Service, ObjectKind::Secret, ObjectKind::Config, ObjectKind::Network];

impl Engine {
    /// Returns the digest of what people set. Takes one listing of each kind of object; needs a manager and a leader.
    pub async fn specs_digest(&self) -> Result<Digest> {
        let objects = self.objects().await?;
        let mut lines = Vec::new();
        for kind in KINDS {
            let listed = objects.list(kind).await?;
            lines.extend(listed.iter().filter_map(|object| line(kind, object)));
        }
        lines.extend(objects.nodes().await?.iter().map(|node| json!(["node", node["ID"], node["Spec"]])));
        let swarm = get(self.socket(), "/swarm").await.context("failed to ask the engine for its swarm")?;
        let autolock = swarm["Spec"]["EncryptionConfig"]["AutoLockManagers"].as_bool().unwrap_or_default();
        let key = if autolock { Some(RunningKey::ask(self.socket()).await?) } else { None };
        lines.push(json!(["swarm", swarm["ID"], swarm["Spec"], swarm["JoinTokens"], swarm["TLSInfo"]["TrustRoot"]]));
        Ok(digest(&lines, key.as_ref()))
    }
}

/// What counts of an object; nothing if it belongs to this host alone.
fn line(kind: ObjectKind, object: &Value) -> Option<Value> {
    match kind {
        ObjectKind::Network => (object["Scope"] == "swarm").then(|| json!([kind.to_string(), object["Id"]])),
        _ => Some(json!([kind.to_string(), object["ID"], object["Spec"]])),
    }
}

fn digest(lines: &[Value], key: Option<&RunningKey>) -> Digest {
    let mut lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    // Engines list objects in no order that they promise.
    lines.sort_unstable();
    // A network that a task on this host uses may be listed twice.
    lines.dedup();
    let mut hasher = Hasher::default();
    for line in &lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    if let Some(key) = key {
        key.hash_into(&mut hasher);
    }
    hasher.finish().1
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn service(version: u64, replicas: u64) -> Value {
        json!({
            "ID": "s1",
            "Version": { "Index": version },
            "UpdatedAt": version.to_string(),
            "UpdateStatus": { "State": "updating" },
            "Spec": { "Name": "web", "Mode": { "Replicated": { "Replicas": replicas } } },
        })
    }

    fn of(objects: &[(ObjectKind, Value)], key: Option<&str>) -> Digest {
        let lines: Vec<Value> = objects.iter().filter_map(|(kind, object)| line(*kind, object)).collect();
        let key = key.map(|key| RunningKey::given(&Zeroizing::new(key.to_owned())));
        digest(&lines, key.as_ref())
    }

    #[test]
    fn only_what_people_set_counts_and_in_any_order() {
        let network = |scope: &str| json!({ "Id": "n1", "Scope": scope, "Containers": { "c": {} } });
        let secret = json!({ "ID": "x1", "Spec": { "Name": "key" } });
        let base = [(ObjectKind::Service, service(10, 2)), (ObjectKind::Secret, secret.clone())];
        let digest = of(&base, None);
        assert_eq!(of(&[base[1].clone(), (ObjectKind::Service, service(99, 2))], None), digest);
        let local = [&base[..], &[(ObjectKind::Network, network("local"))]].concat();
        assert_eq!(of(&local, None), digest);
        let others = [
            of(&[(ObjectKind::Service, service(10, 3)), base[1].clone()], None),
            of(&base[..1], None),
            of(&[base[0].clone(), (ObjectKind::Config, secret)], None),
            of(&[&base[..], &[(ObjectKind::Network, network("swarm"))]].concat(), None),
            of(&base, Some("SWMKEY-1-a")),
            of(&base, Some("SWMKEY-1-b")),
        ];
        for (n, other) in others.iter().enumerate() {
            assert!(*other != digest && !others[..n].contains(other), "{n}");
        }
    }
}

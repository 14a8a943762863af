//! The objects that live in the swarm of this host now.
//!
//! A status is asked for at any time. A call must not start an engine that somebody has stopped, or that is down for a
//! backup, so only one whose unit is active is called. An engine that cannot be asked is no error, and nothing is said.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use swarmdr_archive::ClusterId;

use crate::{
    archive::removals::object::Object,
    config::{Config, EngineConfig},
    host::{engine::Engine, systemd::Systemd},
};

/// Time limit of all calls together: monitors do not wait longer, and a manager without a leader returns an error after
/// that time.
const LIMIT: Duration = Duration::from_secs(20);

/// Returns the objects of this cluster; `None` if the engine cannot be asked, is no manager of it, or lists only a part.
pub async fn objects(config: &Config, cluster: &ClusterId) -> Option<Vec<Object>> {
    let ask = async {
        require_active(&config.engine).await?;
        list(&config.engine.socket, cluster).await
    };
    let asked = tokio::time::timeout(LIMIT, ask).await.context("the engine did not answer in time");
    asked
        .and_then(|asked| asked)
        .inspect_err(|error| tracing::debug!("what was removed from the swarm is not known: {error:#}"))
        .ok()
}

pub(super) async fn require_active(engine: &EngineConfig) -> Result<()> {
    let state = Systemd::connect().await?.state(&engine.service).await?;
    match state.is_active() {
        true => Ok(()),
        false => bail!("{} is {}", engine.service, state.active),
    }
}

async fn list(socket: &Path, cluster: &ClusterId) -> Result<Vec<Object>> {
    let engine = Engine::at(socket);
    let swarm = engine.facts().await?.swarm;
    if !swarm.works() || swarm.cluster_id.as_ref() != Some(cluster) {
        bail!("this host does not manage the swarm {cluster}");
    }
    let view = engine.manager_view().await?;
    // An object that was not understood would look removed.
    if let Some(unclear) = view.unclear.first() {
        bail!("the engine's listing is not wholly understood: {unclear}");
    }
    Ok(Object::all_of(&view.inventory))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        os::unix::net::UnixListener,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use serde_json::{Value, json};
    use swarm_state::inventory::ObjectKind;

    use super::*;
    use crate::archive::removals::object::tests::object;

    /// An engine that answers each path with a document, and `null` means that it fails. Counts the calls.
    struct FakeEngine {
        dir: tempfile::TempDir,
        calls: Arc<AtomicUsize>,
    }

    impl FakeEngine {
        fn start(answers: Value) -> Self {
            let dir = tempfile::tempdir().expect("a scratch directory");
            let listener = UnixListener::bind(dir.path().join("socket")).expect("binds");
            let calls = Arc::<AtomicUsize>::default();
            let counter = Arc::clone(&calls);
            thread::spawn(move || {
                for client in listener.incoming() {
                    let mut client = client.expect("accepts");
                    counter.fetch_add(1, Ordering::SeqCst);
                    let mut lines = BufReader::new(client.try_clone().expect("clones")).lines();
                    let request = lines.next().expect("has a line").expect("reads");
                    let path = request.split([' ', '?']).nth(1).expect("has a path").to_owned();
                    lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
                    let (status, body) = match &answers[path.as_str()] {
                        Value::Null => ("500 Oops", json!({ "message": "no leader" }).to_string()),
                        answer => ("200 OK", answer.to_string()),
                    };
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                    let _ = client.write_all(format!("{head}{body}").as_bytes());
                }
            });
            Self { dir, calls }
        }

        async fn list(&self, cluster: &str) -> Result<Vec<Object>> {
            list(&self.dir.path().join("socket"), &cluster.parse().expect("is an id")).await
        }
    }

    /// The answers of a manager of the swarm `c` with a secret, except for the one that is replaced.
    fn answers(path: &str, answer: Value) -> Value {
        let cluster =
            json!({ "NodeID": "n", "LocalNodeState": "active", "ControlAvailable": true, "Cluster": { "ID": "c" } });
        let mut answers = json!({
            "/info": { "Swarm": cluster },
            "/swarm": { "ID": "c" },
            "/nodes": [],
            "/services": [],
            "/networks": [],
            "/secrets": [{ "ID": "id-of-secret-key", "Spec": { "Name": "key", "Labels": {} } }],
            "/configs": [],
        });
        answers[path] = answer;
        answers
    }

    #[tokio::test]
    async fn all_of_the_swarm_or_nothing_is_listed() {
        let manager = FakeEngine::start(answers("/nodes", json!([])));
        let listed = manager.list("c").await.expect("manages it");
        assert_eq!(listed, [object(ObjectKind::Secret, "key", None)]);
        manager.list("d").await.expect_err("is another swarm");
        for (path, answer, why) in [
            ("/info", Value::Null, "no Docker engine"),
            ("/info", json!({ "Swarm": { "LocalNodeState": "inactive" } }), "does not manage"),
            ("/secrets", Value::Null, "secrets"),
            ("/configs", Value::Null, "configs"),
            ("/services", json!({ "odd": 1 }), "is no list"),
            ("/secrets", json!([7]), "not wholly understood"),
        ] {
            let error = FakeEngine::start(answers(path, answer)).list("c").await.expect_err(path);
            assert!(format!("{error:#}").contains(why), "{path}: {error:#}");
        }
    }

    #[tokio::test]
    async fn an_engine_whose_unit_is_not_active_is_not_called() {
        let engine = FakeEngine::start(answers("/nodes", json!([])));
        let mut config = Config::default();
        config.engine.socket = engine.dir.path().join("socket");
        config.engine.service = "swarmdr-test-that-does-not-exist.service".to_owned();
        assert_eq!(objects(&config, &"c".parse().expect("is an id")).await, None);
        assert_eq!(engine.calls.load(Ordering::SeqCst), 0);
    }
}

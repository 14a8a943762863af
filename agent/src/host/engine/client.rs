//! A client of the Docker engine's API on the local socket. The only module of the agent that names `bollard`, with
//! [`init`](super::init).
//!
//! A call on the socket starts a stopped engine (socket activation), so nothing here may be called while the engine is
//! quiesced. Manager calls return within 20 s, without a leader with an error (moby `daemon/cluster/cluster.go`,
//! `swarmRequestTimeout`).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use bollard::{API_DEFAULT_VERSION, Docker, query_parameters::DeleteNodeOptionsBuilder};
use serde_json::Value;
use swarmdr_archive::{ClusterId, NodeId, SwarmNode};

use super::{
    init::InitRequest,
    list_call,
    listing::{self, Replies},
    raw_call::get,
    view::{ManagerView, Node},
};
use crate::{
    host::wait::{self, Probe},
    outcome::failure::Failure,
};

/// Time limit of a call: longer than the 20 s after which a manager without a leader returns an error.
const CALL_TIMEOUT_SECONDS: u64 = 60;

/// The services that an engine lists only if they are asked for (moby `daemon/cluster/services.go`):
/// `filters={"runtime":["plugin"]}`.
pub(super) const PLUGIN_SERVICES: &str = "/services?filters=%7B%22runtime%22%3A%5B%22plugin%22%5D%7D";

/// The pause between two calls to an engine that is still starting.
const POLL: Duration = Duration::from_millis(50);

/// A client of the local engine. Connecting is lazy: making one touches nothing but the path.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// The engine's own description of itself and of its part in a swarm (`GET /info`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    pub version: String,
    pub hostname: String,
    /// Parent of the `swarm` directory.
    pub data_root: PathBuf,
    pub live_restore: bool,
    pub swarm: LocalSwarm,
}

/// This node's part in its swarm. Strings are empty, and ids absent, where the engine gave none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSwarm {
    pub state: SwarmState,
    pub node_id: Option<NodeId>,
    /// Absent on a worker, and on a manager without a leader.
    pub cluster_id: Option<ClusterId>,
    /// True on a manager that can serve the cluster's API.
    pub is_manager: bool,
    /// Why the swarm part does not work, in the engine's words.
    pub error: String,
    pub root_rotation: bool,
    /// The addresses of the managers that this node knows, itself included if it is one.
    pub managers: Vec<String>,
}

impl LocalSwarm {
    /// True for a manager that answers for its cluster: active, with a leader, without an error.
    pub fn works(&self) -> bool {
        self.state == SwarmState::Active && self.is_manager && self.error.is_empty()
    }

    /// This node and its swarm. An error where the engine does not name both, as on a worker.
    pub fn swarm_node(&self) -> Result<SwarmNode> {
        let (cluster, node) = self.cluster_id.clone().zip(self.node_id.clone()).with_context(|| {
            format!("the engine does not say which node of which swarm it is (its swarm state is {:?})", self.state)
        })?;
        Ok(SwarmNode { cluster, node })
    }
}

/// `LocalNodeState` of the API; what it does not name is `Error`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SwarmState {
    #[default]
    Inactive,
    Pending,
    Active,
    Error,
    Locked,
}

impl Engine {
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Connects and negotiates an API version; engines from 20.10 (1.41) on are supported.
    pub(super) async fn client(&self) -> Result<Docker> {
        let socket = self.socket.to_str().context("the socket's path is no UTF-8")?;
        let client = Docker::connect_with_unix(socket, CALL_TIMEOUT_SECONDS, API_DEFAULT_VERSION)?;
        Ok(client.negotiate_version().await?)
    }

    pub async fn facts(&self) -> Result<EngineFacts> {
        let info = get(&self.socket, "/info")
            .await
            .with_context(|| format!("failed to ask the engine at {} for its state", self.socket.display()))
            .map_err(|cause| {
                Failure::failed("no Docker engine answers on this host")
                    .advice(
                        "start it with `systemctl start docker`, and see `journalctl -u docker` if it does not start",
                    )
                    .because(cause)
            })?;
        read_facts(&info)
            .with_context(|| format!("failed to read the state of the engine at {}", self.socket.display()))
    }

    /// Lists everything of the cluster. Objects written between two of its calls may be missing: the listing is no
    /// snapshot.
    pub async fn manager_view(&self) -> Result<ManagerView> {
        let (replies, failed) = self.listing().await?;
        match failed.into_iter().next() {
            Some((what, error)) => Err(error.context(failed_to_list(what))),
            None => Ok(listing::read(replies)),
        }
    }

    /// Lists the cluster as [`Self::manager_view`] does, but requires only its settings and nodes: other objects that
    /// could not be listed are named in [`ManagerView::unclear`].
    pub async fn list_required(&self) -> Result<ManagerView> {
        let (replies, failed) = self.listing().await?;
        let mut view = listing::read(replies);
        view.unclear.extend(failed.iter().map(|(what, error)| format!("{}: {error:#}", failed_to_list(what))));
        Ok(view)
    }

    /// Returns all replies, and the kinds of objects that could not be listed.
    async fn listing(&self) -> Result<(Replies, Vec<(&'static str, anyhow::Error)>)> {
        let required = async |what, path| get(&self.socket, path).await.with_context(|| failed_to_list(what));
        let mut failed = Vec::new();
        let mut tried = async |what, path| {
            let answer = match what {
                "configs" => list_call::list(&self.socket, path, listing::without_content).await,
                _ => get(&self.socket, path).await,
            };
            answer.unwrap_or_else(|error| {
                failed.push((what, error));
                Value::Null
            })
        };
        let replies = Replies {
            swarm: required("settings", "/swarm").await?,
            nodes: required("nodes", "/nodes").await?,
            services: [tried("services", "/services").await, tried("plugin services", PLUGIN_SERVICES).await],
            networks: tried("networks", "/networks").await,
            secrets: tried("secrets", "/secrets").await,
            configs: tried("configs", "/configs").await,
        };
        Ok((replies, failed))
    }

    /// Lists the nodes alone, as the leader sees them now.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let answer = get(&self.socket, "/nodes").await.with_context(|| failed_to_list("nodes"))?;
        Ok(listing::nodes(&answer))
    }

    /// The ids of the nodes that the leader calls down.
    pub async fn nodes_down(&self) -> Result<BTreeSet<String>> {
        Ok(self.nodes().await?.into_iter().filter(Node::is_down).map(|node| node.id).collect())
    }

    /// Removes a node of either role from the swarm's list: `docker node rm --force`.
    pub async fn remove_node(&self, id: &str) -> Result<()> {
        let options = DeleteNodeOptionsBuilder::new().force(true).build();
        let removed = self.client().await?.delete_node(id, Some(options)).await;
        removed.with_context(|| format!("failed to remove the node {id} from the swarm"))
    }

    /// Forms a one-manager cluster from the state on disk. Returns the node id.
    ///
    /// The engine waits for readiness without a limit of its own (moby `swarm.go`, `Init`), hence `limit`.
    pub async fn force_new_cluster(&self, request: &InitRequest, limit: Duration) -> Result<String> {
        let client = self.client().await?;
        tokio::time::timeout(limit, client.init_swarm(request.to_api()))
            .await
            .with_context(|| format!("the engine did not form the new cluster within {} s", limit.as_secs()))?
            .context("the engine refused to form a new cluster from the placed state")
    }

    /// Waits until `wanted` accepts the engine's facts. The engine may be starting, so calls without a reply are no
    /// error before `limit` is over.
    pub async fn wait(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&EngineFacts) -> bool,
    ) -> Result<EngineFacts> {
        let probe = async || {
            Ok(match self.facts().await {
                Ok(facts) if wanted(&facts) => Probe::Done(facts),
                Ok(facts) => Probe::NotYet(facts.swarm.as_failure()),
                Err(error) => Probe::NotYet(error),
            })
        };
        wait::until(limit, POLL, what, probe).await
    }
}

impl LocalSwarm {
    /// The error of a wait for another state than this one.
    fn as_failure(&self) -> anyhow::Error {
        let state = format!("the engine's swarm state is {:?}", self.state);
        let failure = Failure::failed(state).advice("see `journalctl -u docker`");
        match self.error.as_str() {
            "" => failure.into(),
            error => failure.because(anyhow!(error.to_owned())).into(),
        }
    }
}

fn failed_to_list(what: &str) -> String {
    format!("failed to list the swarm's {what} through the engine")
}

/// Reads the reply; fields that are absent or of another type stay empty. An id that breaks its rule is an error: it
/// would become part of keys and paths.
fn read_facts(info: &Value) -> Result<EngineFacts> {
    let text = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |path: &str| info.pointer(path).and_then(Value::as_bool).unwrap_or_default();
    Ok(EngineFacts {
        version: text("/ServerVersion"),
        hostname: text("/Name"),
        data_root: text("/DockerRootDir").into(),
        live_restore: flag("/LiveRestoreEnabled"),
        swarm: LocalSwarm {
            state: read_state(&text("/Swarm/LocalNodeState")),
            node_id: read_id(info, "/Swarm/NodeID")?,
            cluster_id: read_id(info, "/Swarm/Cluster/ID")?,
            is_manager: flag("/Swarm/ControlAvailable"),
            error: text("/Swarm/Error"),
            root_rotation: flag("/Swarm/Cluster/RootRotationInProgress"),
            managers: read_managers(info),
        },
    })
}

/// The addresses of the known managers (`RemoteManagers`, which is null where there are none).
fn read_managers(info: &Value) -> Vec<String> {
    let known = info.pointer("/Swarm/RemoteManagers").and_then(Value::as_array);
    let addresses = known.into_iter().flatten().filter_map(|manager| manager.get("Addr")?.as_str());
    addresses.filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

/// The id at this place of the reply; `None` if there is none.
fn read_id<T: FromStr<Err = swarmdr_archive::Error>>(info: &Value, path: &str) -> Result<Option<T>> {
    let text = info.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(str::parse)
        .transpose()
        .with_context(|| format!("the engine returned an unusable id in `{path}` of its /info"))
}

fn read_state(state: &str) -> SwarmState {
    match state {
        "" | "inactive" => SwarmState::Inactive,
        "pending" => SwarmState::Pending,
        "active" => SwarmState::Active,
        "locked" => SwarmState::Locked,
        _ => SwarmState::Error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_that_no_engine_gives_are_an_error_that_shows_them() {
        let of = |node: Value, cluster: Value| read_facts(&json!({ "Swarm": { "NodeID": node, "Cluster": cluster } }));
        let manager = of(json!("n1"), json!({ "ID": "c1" })).expect("are ids").swarm;
        assert_eq!(manager.swarm_node().expect("names both").to_string(), "node n1 of swarm c1");
        let worker = of(json!("n1"), Value::Null).expect("is a worker").swarm;
        assert_eq!((worker.node_id.is_some(), worker.cluster_id.is_some()), (true, false));
        worker.swarm_node().expect_err("names no swarm");
        assert_eq!(of(json!(""), Value::Null).expect("is in no swarm").swarm, LocalSwarm::default());
        let error = format!("{:#}", of(json!("n1"), json!({ "ID": "../c1" })).expect_err("is no id"));
        assert!(error.contains("`/Swarm/Cluster/ID`") && error.contains("`../c1` is not a cluster id"), "{error}");
    }
}

//! The Docker engine, through its API on the local socket.
//!
//! A call on the socket starts a stopped engine (socket activation), so nothing here may be called
//! while the engine is quiesced. Manager calls answer within 20 s, without a leader with an error
//! (moby `daemon/cluster/cluster.go`, `swarmRequestTimeout`).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{NodeState, SwarmInitRequest},
    query_parameters::DeleteNodeOptionsBuilder,
};
use serde_json::Value;

use super::{
    list_call,
    listing::{self, Answers},
    raw_call::get,
    view::{ManagerView, Node},
};
use crate::fault::Fault;

/// Longer than the 20 s that a manager without a leader takes to answer.
const CALL_TIMEOUT_SECONDS: u64 = 60;

/// What an engine leaves out of its list of services unless it is asked for (moby `daemon/cluster/services.go`):
/// `filters={"runtime":["plugin"]}`.
const PLUGIN_SERVICES: &str = "/services?filters=%7B%22runtime%22%3A%5B%22plugin%22%5D%7D";

/// Between two looks at an engine that is still starting.
const POLL: Duration = Duration::from_millis(50);

/// A client of the local engine. Connecting is lazy: making one touches nothing but the path.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// What the engine says of itself and of its part in a swarm (`GET /info`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    pub version: String,
    pub hostname: String,
    /// Parent of the `swarm` directory.
    pub data_root: PathBuf,
    pub live_restore: bool,
    pub swarm: LocalSwarm,
}

/// This node's part in its swarm; strings are empty where the engine gave none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSwarm {
    pub state: SwarmState,
    pub node_id: String,
    pub cluster_id: String,
    /// True on a manager that can serve the cluster's API.
    pub is_manager: bool,
    /// Why the swarm part does not work, in the engine's words.
    pub error: String,
    pub root_rotation: bool,
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

    /// Connects anew and agrees on an API version; engines from 20.10 (1.41) on are understood.
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
                Fault::failed("no Docker engine answers on this host")
                    .advice(
                        "start it with `systemctl start docker`, and see `journalctl -u docker` if it does not start",
                    )
                    .because(cause)
            })?;
        Ok(read_facts(&info))
    }

    /// Lists everything of the cluster. Objects written between two of its calls may be missing:
    /// the listing is no snapshot.
    pub async fn manager_view(&self) -> Result<ManagerView> {
        let (answers, failed) = self.listing().await?;
        match failed.into_iter().next() {
            Some((what, error)) => Err(error.context(failed_to_list(what))),
            None => Ok(listing::read(answers)),
        }
    }

    /// The same for whoever needs no more than the cluster and its nodes: what else could not be listed is told in
    /// [`ManagerView::unclear`].
    pub async fn manager_witness(&self) -> Result<ManagerView> {
        let (answers, failed) = self.listing().await?;
        let mut view = listing::read(answers);
        view.unclear.extend(failed.iter().map(|(what, error)| format!("{}: {error:#}", failed_to_list(what))));
        Ok(view)
    }

    /// All answers, and what of the objects could not be listed.
    async fn listing(&self) -> Result<(Answers, Vec<(&'static str, anyhow::Error)>)> {
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
        let answers = Answers {
            swarm: required("settings", "/swarm").await?,
            nodes: required("nodes", "/nodes").await?,
            services: [tried("services", "/services").await, tried("plugin services", PLUGIN_SERVICES).await],
            networks: tried("networks", "/networks").await,
            secrets: tried("secrets", "/secrets").await,
            configs: tried("configs", "/configs").await,
        };
        Ok((answers, failed))
    }

    /// The nodes alone, as the leader sees them now.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let answer = get(&self.socket, "/nodes").await.with_context(|| failed_to_list("nodes"))?;
        Ok(listing::nodes(&answer))
    }

    /// The ids of the nodes that the cluster sees in this state.
    pub async fn nodes_in(&self, state: NodeState) -> Result<BTreeSet<String>> {
        let nodes = self.nodes().await?.into_iter();
        Ok(nodes.filter(|node| node.state == state.to_string()).map(|node| node.id).collect())
    }

    /// Takes a node off the swarm's list, whatever its role: `docker node rm --force`.
    pub async fn remove_node(&self, id: &str) -> Result<()> {
        let options = DeleteNodeOptionsBuilder::new().force(true).build();
        let removed = self.client().await?.delete_node(id, Some(options)).await;
        removed.with_context(|| format!("failed to remove the node {id} from the swarm"))
    }

    /// Forms a one-manager cluster from the state on disk; answers with the node id.
    ///
    /// The engine waits for readiness without a limit of its own (moby `swarm.go`, `Init`), hence
    /// `limit`.
    pub async fn force_new_cluster(&self, request: SwarmInitRequest, limit: Duration) -> Result<String> {
        let client = self.client().await?;
        tokio::time::timeout(limit, client.init_swarm(request))
            .await
            .with_context(|| format!("the engine did not form the new cluster within {} s", limit.as_secs()))?
            .context("the engine refused to form a new cluster from the placed state")
    }

    /// Waits until `wanted` accepts what the engine says. The engine may be starting, so
    /// unanswered calls are no error before `limit` is over; then the last answer is told.
    pub async fn wait(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&EngineFacts) -> bool,
    ) -> Result<EngineFacts> {
        let since = Instant::now();
        loop {
            let seen = self.facts().await;
            match &seen {
                Ok(facts) if wanted(facts) => return seen,
                _ if since.elapsed() < limit => tokio::time::sleep(POLL).await,
                Ok(facts) => {
                    let mut last = format!("its swarm state is {:?}", facts.swarm.state);
                    if !facts.swarm.error.is_empty() {
                        last = format!("{last}: {}", facts.swarm.error);
                    }
                    return Err(Fault::failed(format!(
                        "the engine answers but {what} did not come true within {} s; {last}",
                        limit.as_secs()
                    ))
                    .advice("see `journalctl -u docker`")
                    .into());
                }
                Err(_) => return seen.context(format!("waited {} s for {what}", limit.as_secs())),
            }
        }
    }
}

fn failed_to_list(what: &str) -> String {
    format!("failed to list the swarm's {what} through the engine")
}

/// What is absent or not understood is left empty.
fn read_facts(info: &Value) -> EngineFacts {
    let text = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |path: &str| info.pointer(path).and_then(Value::as_bool).unwrap_or_default();
    EngineFacts {
        version: text("/ServerVersion"),
        hostname: text("/Name"),
        data_root: text("/DockerRootDir").into(),
        live_restore: flag("/LiveRestoreEnabled"),
        swarm: LocalSwarm {
            state: read_state(&text("/Swarm/LocalNodeState")),
            node_id: text("/Swarm/NodeID"),
            cluster_id: text("/Swarm/Cluster/ID"),
            is_manager: flag("/Swarm/ControlAvailable"),
            error: text("/Swarm/Error"),
            root_rotation: flag("/Swarm/Cluster/RootRotationInProgress"),
        },
    }
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

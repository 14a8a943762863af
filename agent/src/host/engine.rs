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
    models::{LocalNodeState, Node, NodeState, ObjectVersion, Swarm, SwarmInitRequest, SystemInfo},
    query_parameters::DeleteNodeOptionsBuilder,
};

use crate::fault::Fault;

/// Longer than the 20 s that a manager without a leader takes to answer.
const CALL_TIMEOUT_SECONDS: u64 = 60;

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

/// What only a manager can tell: the cluster and all of its objects, each as the API lists it.
#[derive(Debug, Clone)]
pub struct ManagerView {
    pub cluster: Swarm,
    pub nodes: Vec<Node>,
    pub services: Vec<bollard::models::Service>,
    pub networks: Vec<bollard::models::Network>,
    pub secrets: Vec<bollard::models::Secret>,
    pub configs: Vec<bollard::models::Config>,
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
        let info = async { anyhow::Ok(self.client().await?.info().await?) }
            .await
            .with_context(|| format!("failed to ask the engine at {} for its state", self.socket.display()))
            .map_err(|cause| {
                Fault::failed("no Docker engine answers on this host")
                    .advice(
                        "start it with `systemctl start docker`, and see `journalctl -u docker` if it does not start",
                    )
                    .because(cause)
            })?;
        Ok(read_facts(info))
    }

    /// Lists everything of the cluster. Objects written between two of its calls may be missing:
    /// the listing is no snapshot.
    pub async fn manager_view(&self) -> Result<ManagerView> {
        let client = self.client().await?;
        let list = async {
            anyhow::Ok(ManagerView {
                cluster: client.inspect_swarm().await?,
                nodes: client.list_nodes(None).await?,
                services: client.list_services(None).await?,
                networks: client.list_networks(None).await?,
                secrets: client.list_secrets(None).await?,
                configs: client.list_configs(None).await?,
            })
        };
        list.await.context("failed to list the swarm's objects through the engine")
    }

    /// The nodes alone, as the leader sees them now.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let list = async { anyhow::Ok(self.client().await?.list_nodes(None).await?) };
        list.await.context("failed to list the swarm's nodes through the engine")
    }

    /// The ids of the nodes that the cluster sees in this state.
    pub async fn nodes_in(&self, state: NodeState) -> Result<BTreeSet<String>> {
        let nodes = self.nodes().await?;
        let wanted = nodes.into_iter().filter(|node| node.status.as_ref().and_then(|it| it.state) == Some(state));
        Ok(wanted.filter_map(|node| node.id).collect())
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

fn read_facts(info: SystemInfo) -> EngineFacts {
    let swarm = info.swarm.unwrap_or_default();
    let cluster = swarm.cluster.unwrap_or_default();
    EngineFacts {
        version: info.server_version.unwrap_or_default(),
        hostname: info.name.unwrap_or_default(),
        data_root: info.docker_root_dir.unwrap_or_default().into(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        swarm: LocalSwarm {
            state: read_state(swarm.local_node_state),
            node_id: swarm.node_id.unwrap_or_default(),
            cluster_id: cluster.id.unwrap_or_default(),
            is_manager: swarm.control_available.unwrap_or_default(),
            error: swarm.error.unwrap_or_default(),
            root_rotation: cluster.root_rotation_in_progress.unwrap_or_default(),
        },
    }
}

fn read_state(state: Option<LocalNodeState>) -> SwarmState {
    match state {
        None | Some(LocalNodeState::EMPTY | LocalNodeState::INACTIVE) => SwarmState::Inactive,
        Some(LocalNodeState::PENDING) => SwarmState::Pending,
        Some(LocalNodeState::ACTIVE) => SwarmState::Active,
        Some(LocalNodeState::LOCKED) => SwarmState::Locked,
        Some(LocalNodeState::ERROR) => SwarmState::Error,
    }
}

impl ManagerView {
    /// The node of this id, as the cluster knows it.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id.as_deref() == Some(id))
    }

    /// Where a manager is in the raft log.
    pub fn raft_addr(&self, id: &str) -> Option<String> {
        self.node(id)?.manager_status.as_ref()?.addr.clone()
    }

    /// The highest raft index that any object says it was changed at; networks do not say it.
    pub fn newest_version(&self) -> Option<u64> {
        let index = |version: &Option<ObjectVersion>| version.as_ref().and_then(|version| version.index);
        let listed = self.nodes.iter().filter_map(|it| index(&it.version));
        listed
            .chain(index(&self.cluster.version))
            .chain(self.services.iter().filter_map(|it| index(&it.version)))
            .chain(self.secrets.iter().filter_map(|it| index(&it.version)))
            .chain(self.configs.iter().filter_map(|it| index(&it.version)))
            .max()
    }

    pub fn auto_lock(&self) -> bool {
        let spec = self.cluster.spec.as_ref();
        spec.and_then(|spec| spec.encryption_config.as_ref()?.auto_lock_managers).unwrap_or_default()
    }

    /// `CAConfig.ForceRotate`: must be handed back at a restore, else the engine starts a root CA
    /// rotation (swarmkit `controlapi/ca_rotation.go`).
    pub fn force_rotate(&self) -> u64 {
        let spec = self.cluster.spec.as_ref();
        spec.and_then(|spec| spec.ca_config.as_ref()?.force_rotate).unwrap_or_default()
    }
}

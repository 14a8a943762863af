//! This host as a node of a swarm.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use swarm_state::{Identity, StateDir, identity::Role};
use swarmdr_archive::ClusterId;

use super::living;
use crate::{config::Config, host::engine::Engine};

/// Time limit of the question where the engine has its state: monitors do not wait longer.
const LIMIT: Duration = Duration::from_secs(10);

/// Where engines have their state if nothing else is configured.
const DATA_ROOT: &str = "/var/lib/docker";

/// A node, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnNode {
    pub cluster: ClusterId,
    /// True if it cannot make backups.
    pub is_worker: bool,
}

impl OwnNode {
    /// Reads the certificate of this node; `None` if it is not known, or if this host stores no streams. A host that is not
    /// known to be a worker is taken for a manager, which should make backups.
    pub async fn find(config: &Config) -> Option<Self> {
        if config.stream.is_empty() {
            return None;
        }
        let root = match tokio::time::timeout(LIMIT, data_root(config)).await {
            Ok(Ok(root)) => root,
            // The certificate says the same while the engine is stopped.
            _ => DATA_ROOT.into(),
        };
        let read = || -> Result<Self> {
            let identity = Identity::read(&StateDir::open(root.join("swarm"))?)?;
            Ok(Self { cluster: identity.cluster_id.parse()?, is_worker: identity.role == Role::Worker })
        };
        read().inspect_err(|error| tracing::debug!("which node this is is not known: {error:#}")).ok()
    }
}

async fn data_root(config: &Config) -> Result<PathBuf> {
    living::require_active(&config.engine).await?;
    Ok(Engine::at(&config.engine.socket).facts().await?.data_root)
}

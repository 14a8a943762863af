//! The swarm whose data this host stores.

use anyhow::Result;
use swarm_state::{Identity, StateDir};
use swarmdr_archive::{ClusterId, NodeId};

use crate::{
    host::engine::{Engine, EngineFacts},
    outcome::failure::Failure,
};

/// A swarm, and the node of it that this host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub cluster: ClusterId,
    pub node: Option<NodeId>,
}

impl Site {
    /// Returns the swarm that the operator names, or else the one that this host is a node of. The engine of a worker does
    /// not know its swarm, but the certificate of its node names it.
    pub async fn find(engine: &Engine, named: Option<&ClusterId>) -> Result<Self> {
        if let Some(cluster) = named {
            return Ok(Self { cluster: cluster.clone(), node: None });
        }
        let facts = engine.facts().await.map_err(unknown)?;
        match &facts.swarm.cluster_id {
            Some(cluster) => Ok(Self { cluster: cluster.clone(), node: facts.swarm.node_id.clone() }),
            None => of_certificate(&facts).map_err(unknown),
        }
    }
}

fn of_certificate(facts: &EngineFacts) -> Result<Site> {
    let identity = Identity::read(&StateDir::open(facts.data_root.join("swarm"))?)?;
    Ok(Site { cluster: identity.cluster_id.parse()?, node: Some(identity.node_id.parse()?) })
}

fn unknown(cause: anyhow::Error) -> anyhow::Error {
    Failure::usage("which swarm the data belongs to is not known")
        .advice("run it on a node of the swarm, or name the swarm: --cluster ID (`swarmdr-agent list` shows the ids)")
        .because(cause)
        .into()
}

//! Nodes that an interrupted `node tidy` left drained, as the status shows them.

use std::time::Duration;

use anyhow::bail;
use swarmdr_archive::ClusterId;

use super::living;
use crate::{config::Config, host::engine::Engine, nodes::tidy};

/// Time limit of the question: monitors do not wait longer.
const LIMIT: Duration = Duration::from_secs(20);

/// Returns their names; none if this host manages no swarm that works, or another one than the status is about. Only an
/// engine whose unit is active is asked.
pub async fn left_over(config: &Config, cluster: Option<&ClusterId>) -> Vec<String> {
    let ask = async {
        living::require_active(&config.engine).await?;
        let engine = Engine::at(&config.engine.socket);
        let swarm = engine.facts().await?.swarm;
        let is_meant = swarm.cluster_id.as_ref().is_some_and(|own| cluster.is_none_or(|cluster| cluster == own));
        if !swarm.is_manager || !swarm.works() || !is_meant {
            bail!("this host does not manage that swarm");
        }
        tidy::left_over(&engine).await
    };
    match tokio::time::timeout(LIMIT, ask).await {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => {
            tracing::debug!("which nodes are still drained is not known: {error:#}");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

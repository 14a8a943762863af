//! Nodes that the backup lists and that are not this host: the commands that remove them, and their removal.
//!
//! After force-new-cluster an old manager is no raft member any more, so it can be removed and not demoted (swarmkit
//! `manager/controlapi/node.go`: `docker node demote` ends with "can't find manager in raft memberlist").

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use swarm_state::{Inventory, identity::usable};

use super::report::DeadNode;
use crate::{
    config::RestoreConfig,
    host::{engine::Engine, network},
};

const POLL: Duration = Duration::from_secs(1);

/// Time after which a leader reports a node as down that does not answer (swarmkit `manager/dispatcher/nodes.go`).
pub(super) const UNTIL_DOWN: Duration = Duration::from_secs(120);

/// Lists every other node of the backup: workers may come back by themselves, managers never do.
pub fn dead_nodes(recorded: &Inventory, own: &str) -> Vec<DeadNode> {
    let others = recorded.nodes.iter().filter(|node| node.id != own);
    others
        .map(|node| DeadNode {
            id: node.id.clone(),
            hostname: node.hostname.clone(),
            role: node.role.clone(),
            addr: node.manager_addr.clone(),
            remove_with: format!("docker node rm --force {}", node.id),
            removed: false,
        })
        .collect()
}

/// Removes the managers that are down and do not answer for the whole grace period. Others are reported and stay.
pub async fn managers(
    engine: &Engine,
    config: &RestoreConfig,
    nodes: &mut [DeadNode],
    attention: &mut Vec<String>,
) -> Result<()> {
    let grace = config.prune_grace.duration();
    let probe_limit = config.fence_timeout_ms.duration();
    let since = Instant::now();
    let mut down_since: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        let down = engine.nodes_down().await?;
        let mut waiting = Vec::new();
        for node in nodes.iter_mut().filter(|node| node.role == "manager" && !node.removed) {
            if !is_away(node, &down, probe_limit).await {
                down_since.remove(&node.id);
            } else if down_since.entry(node.id.clone()).or_insert_with(Instant::now).elapsed() >= grace {
                engine.remove_node(&node.id).await?;
                tracing::info!(node = node.id, hostname = node.hostname, "removed a manager that is gone");
                node.removed = true;
                continue;
            }
            waiting.push(node.hostname.clone());
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if since.elapsed() > UNTIL_DOWN + grace {
            attention.push(format!("not removed, since they are not gone: {}", waiting.join(", ")));
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn is_away(node: &DeadNode, down: &BTreeSet<String>, limit: Duration) -> bool {
    if !down.contains(&node.id) {
        return false;
    }
    match node.addr.as_deref().and_then(usable) {
        Some(addr) => is_silent(addr, limit).await,
        None => true,
    }
}

/// True if nothing accepts a connection there. A question that did not leave this host proves nothing.
pub(crate) async fn is_silent(addr: SocketAddr, limit: Duration) -> bool {
    matches!(network::ask(addr, limit).await, network::Answer::No)
}

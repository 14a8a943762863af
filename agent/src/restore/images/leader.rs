//! The manager that does what one of them is to do: the leader.

use anyhow::{Context, Result};

use crate::{
    host::engine::{Engine, EngineFacts},
    outcome::{exit::Exit, failure::Failure},
};

/// Refuses all managers but the leader (exit 3): a timer on each of them would do everything several times, and the log of
/// another may lag behind what the leader lists. `does` is what the leader does, in the words of the refusal.
pub async fn require(engine: &Engine, facts: &EngineFacts, does: &str) -> Result<()> {
    let own = facts.swarm.node_id.as_ref().context("the engine does not say which node it is")?;
    let nodes = engine.nodes().await?;
    let leader = nodes.iter().find(|node| node.manager.as_ref().is_some_and(|manager| manager.leader));
    match leader {
        Some(leader) if leader.id == own.as_str() => Ok(()),
        leader => {
            let name = leader.map_or("another manager", |leader| leader.hostname.as_str());
            let what = format!("{name} leads the swarm, and {does}; this manager does nothing");
            Err(Failure::new(Exit::NotOurTurn, what).into())
        }
    }
}

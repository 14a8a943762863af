//! What a manager does that finds its swarm taken over: it tells the hooks once, and drains the nodes if it is to.

use anyhow::{Context, Result};

use super::watch::{Fact, Watch};
use crate::{
    claims::{ClaimId, Memory, Superseded},
    config::{Config, standby::OnSuperseded},
    host::engine::Engine,
};

/// Acts on the claim of another site. Everything is done once for each claim; what fails is tried again by the next run.
pub async fn react(config: &Config, watch: &Watch<'_>, superseded: &Superseded) {
    let (cluster, id) = (&superseded.claim.cluster_id, superseded.claim.claim_id);
    let memory = Memory::read(config, Some(cluster));
    if memory.as_ref().and_then(|memory| memory.told) != Some(id) && watch.superseded(facts(superseded)).await {
        Memory::update(config, cluster, |memory| memory.told = Some(id));
    }
    let drained = memory.and_then(|memory| memory.drained);
    match Draining::of(config.standby.on_superseded, drained, superseded) {
        Draining::No => return,
        Draining::NotYet => {
            tracing::warn!(
                "the nodes are not drained yet: the claim may be that of a restore which is undone, or a vault that could say so was not read"
            );
            return;
        }
        Draining::Now => {}
    }
    match drain(config).await {
        Ok(true) => Memory::update(config, cluster, |memory| memory.drained = Some(id)),
        // The leader does it, at its next run.
        Ok(false) => {}
        Err(error) => tracing::error!("the nodes of this superseded swarm are not drained: {error:#}"),
    }
}

/// Whether the nodes of a superseded swarm are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draining {
    /// Nobody asked for it, or it was done for this claim.
    No,
    /// It is not certain that the claim stays.
    NotYet,
    Now,
}

impl Draining {
    fn of(wanted: OnSuperseded, drained: Option<ClaimId>, superseded: &Superseded) -> Self {
        match wanted {
            OnSuperseded::Drain if drained == Some(superseded.claim.claim_id) => Self::No,
            OnSuperseded::Drain if superseded.is_settled => Self::Now,
            OnSuperseded::Drain => Self::NotYet,
            OnSuperseded::Report => Self::No,
        }
    }
}

fn facts(superseded: &Superseded) -> Vec<Fact> {
    let claim = &superseded.claim;
    vec![
        ("CLUSTER_ID", claim.cluster_id.to_string()),
        ("EPOCH", claim.epoch.to_string()),
        ("CLAIM_ID", claim.claim_id.to_string()),
        ("SITE", as_fact(&claim.site)),
        ("SINCE", superseded.since.to_string()),
        ("VERB", claim.verb.word().to_owned()),
        ("REASON", as_fact(claim.reason.as_deref().unwrap_or_default())),
    ]
}

/// An environment cannot hold a NUL.
fn as_fact(text: &str) -> String {
    text.replace('\0', " ")
}

/// Drains every node if this manager leads. Returns true if that is done.
async fn drain(config: &Config) -> Result<bool> {
    let engine = Engine::at(&config.engine.socket);
    let own = engine.facts().await?.swarm.swarm_node()?.node;
    let nodes = engine.nodes().await?;
    let leads = |id: &str| {
        let own = nodes.iter().find(|node| node.id == id);
        own.and_then(|node| node.manager.as_ref()).is_some_and(|status| status.leader)
    };
    if !leads(own.as_str()) {
        return Ok(false);
    }
    for node in nodes.iter().filter(|node| node.availability != "drain") {
        engine.drain(&node.id).await.context("`docker node update --availability drain` does it by hand")?;
        tracing::warn!("drained the node {}: this swarm was superseded", node.id);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::testkit::{claim, second_at};

    #[test]
    fn nodes_are_drained_once_for_a_claim_that_stays_and_only_if_that_was_asked_for() {
        let superseded = |is_settled| Superseded {
            claim: claim(2, 7, None),
            since: second_at(0),
            vault: "s3://v".to_owned(),
            is_settled,
        };
        let (other, this) = (Some(ClaimId::of(1)), Some(ClaimId::of(7)));
        for (wanted, drained, is_settled, expected) in [
            (OnSuperseded::Drain, None, true, Draining::Now),
            (OnSuperseded::Drain, other, true, Draining::Now),
            (OnSuperseded::Drain, this, true, Draining::No),
            (OnSuperseded::Drain, None, false, Draining::NotYet),
            (OnSuperseded::Report, None, true, Draining::No),
        ] {
            assert_eq!(Draining::of(wanted, drained, &superseded(is_settled)), expected, "{wanted:?} {drained:?}");
        }
    }
}

//! The label by which a restored swarm carries its claim, so that managers that join later know it.

use anyhow::{Result, ensure};

use super::claimed::Claimed;
use crate::{
    claims::{Origin, label},
    host::engine::{Engine, EngineFacts},
    outcome::failpoint,
    restore::{
        Restore,
        change::Change,
        journal::{Journal, Phase},
    },
};

impl Restore<'_> {
    /// Makes the swarm on this host carry the claim that its restore made, if that is still owed.
    pub async fn label_late(&self) -> Result<Vec<String>> {
        let engine = Engine::at(&self.run.config.engine.socket);
        let facts = engine.facts().await?;
        match restored_here(&facts)? {
            Some(mut journal) => Ok(carry(&engine, &mut journal).await),
            None => Ok(Vec::new()),
        }
    }
}

/// Returns what the last restore on this host says of the swarm that it has. Before the journal is complete that swarm may
/// work already, with the label of the backup. Fails while the engine does not say which swarm and node it is: then nobody
/// knows whose a label is that may be the backup's.
pub fn origin(facts: &EngineFacts) -> Result<Origin> {
    let journal = Journal::read(&facts.data_root).unwrap_or_else(|error| {
        tracing::warn!("where this host's swarm comes from is not known: {error:#}");
        None
    });
    let Some(journal) = journal else { return Ok(Origin::Unknown) };
    let Some(claim) = journal.record.claim.as_ref().and_then(Claimed::claim) else { return Ok(Origin::Unknown) };
    ensure!(facts.swarm.cluster_id.is_some() && facts.swarm.node_id.is_some(), "the engine does not name its swarm");
    let phase = journal.record.phase;
    let is_placed = phase == Phase::Done || (Phase::Init..=Phase::Confirm).contains(&phase);
    Ok(match is_placed && is_here(&journal, facts) {
        true => Origin::Restored(claim.claim_id),
        false if phase == Phase::Done => Origin::Elsewhere(claim.claim_id),
        false => Origin::Unknown,
    })
}

/// Returns the journal of the complete restore that brought the swarm to this host.
fn restored_here(facts: &EngineFacts) -> Result<Option<Journal>> {
    let journal = Journal::read(&facts.data_root)?.filter(|journal| journal.record.restored().is_some());
    Ok(journal.filter(|journal| is_here(journal, facts)))
}

/// Whether this host has the swarm of a restore. A host that has left it since, and was joined to the swarm of another site,
/// is another node.
fn is_here(journal: &Journal, facts: &EngineFacts) -> bool {
    let (record, swarm) = (&journal.record, &facts.swarm);
    let node = match record.plan.readdress {
        Some(_) => record.joined.as_ref(),
        None => Some(&record.plan.node_id),
    };
    node.is_some() && swarm.cluster_id.as_ref() == Some(&record.plan.cluster_id) && swarm.node_id.as_ref() == node
}

impl Change<'_> {
    /// Makes the swarm carry its claim; a failure is only told.
    pub(in crate::restore) async fn label(&mut self) -> Vec<String> {
        failpoint::reach("label");
        carry(&self.engine, &mut self.journal).await
    }
}

/// Labels the swarm if that is owed, and notes it. Returns a warning if it did not work.
pub(super) async fn carry(engine: &Engine, journal: &mut Journal) -> Vec<String> {
    let Some(claimed) = journal.record.claim.as_mut().filter(|claimed| claimed.is_owed) else { return Vec::new() };
    let Some(id) = claimed.claim().map(|claim| claim.claim_id) else { return Vec::new() };
    match label::write(engine, id).await {
        Ok(_) => {
            claimed.is_owed = false;
            journal.note().err().map(|error| format!("{error:#}")).into_iter().collect()
        }
        Err(error) => vec![format!(
            "the swarm does not carry its claim yet, so managers that join it take it for superseded: {error:#}; run the same command again"
        )],
    }
}

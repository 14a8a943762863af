//! The label by which a restored swarm carries its claim, so that managers that join later know it.

use anyhow::Result;

use crate::{
    claims::{ClaimId, label},
    host::engine::{Engine, EngineFacts},
    outcome::failpoint,
    restore::{Restore, change::Change, journal::Journal},
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

/// Returns the claim of the restore that brought the swarm to this host, if that is the swarm which it has now.
pub fn claimed_here(facts: &EngineFacts) -> Result<Option<ClaimId>> {
    let claimed = restored_here(facts)?.and_then(|journal| journal.record.claim);
    Ok(claimed.and_then(|claimed| claimed.claim().map(|claim| claim.claim_id)))
}

/// Returns the journal of the restore that brought the swarm to this host. A host that has left it since, and was joined to
/// the swarm of another site, is another node.
fn restored_here(facts: &EngineFacts) -> Result<Option<Journal>> {
    let Some(journal) = Journal::read(&facts.data_root)? else { return Ok(None) };
    let (record, swarm) = (&journal.record, &facts.swarm);
    let node = match record.plan.readdress {
        Some(_) => record.joined.as_ref(),
        None => Some(&record.plan.node_id),
    };
    let is_here = swarm.cluster_id.as_ref() == Some(&record.plan.cluster_id) && swarm.node_id.as_ref() == node;
    Ok((is_here && node.is_some() && record.restored().is_some()).then_some(journal))
}

impl Change<'_> {
    /// Makes the swarm carry its claim; a failure is only told.
    pub(in crate::restore) async fn label(&mut self) -> Vec<String> {
        failpoint::reach("label");
        carry(&self.engine, &mut self.journal).await
    }
}

/// Labels the swarm if that is owed, and notes it. Returns a warning if it did not work.
async fn carry(engine: &Engine, journal: &mut Journal) -> Vec<String> {
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

//! The label by which a restored swarm carries its claim, so that managers that join later know it.

use anyhow::Result;

use crate::{
    claims::{Made, label},
    host::engine::Engine,
    outcome::failpoint,
    restore::{Restore, change::Change, journal::Journal},
};

impl Restore<'_> {
    /// Makes the swarm on this host carry the claim that its restore made, if that is still owed.
    pub async fn label_late(&self) -> Result<Vec<String>> {
        let engine = Engine::at(&self.run.config.engine.socket);
        let facts = engine.facts().await?;
        let Some(mut journal) = Journal::read(&facts.data_root)? else { return Ok(Vec::new()) };
        let plan = &journal.record.plan;
        let is_here = facts.swarm.cluster_id.as_ref() == Some(&plan.cluster_id)
            && (plan.readdress.is_some() || facts.swarm.node_id.as_ref() == Some(&plan.node_id));
        if journal.record.restored().is_none() || !is_here {
            return Ok(Vec::new());
        }
        Ok(carry(&engine, &mut journal).await)
    }
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
    let Some(id) = claimed.made.as_ref().map(Made::id) else { return Vec::new() };
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

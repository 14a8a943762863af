//! Services of a restored swarm follow their images to other places, and get the logins that are configured.
//!
//! This comes after the restore is complete: what cannot be done here is reported, and nothing is undone. The journal says
//! what is still to be done before anything is: that all services are to follow, and after the first pass which ones could
//! not. A later run on this host does that, and leaves the others to those who work with them.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Result, anyhow};
use futures_util::FutureExt;
use swarm_state::Inventory;
use swarmdr_registry::Rule;

use super::{
    Restore,
    change::Change,
    images::{
        followed::Followed,
        logins::Logins,
        renew::{Recorded, Renewal, Scope, joined},
    },
    journal::{Journal, Record},
};
use crate::{
    config::Config,
    host::engine::{Engine, EngineFacts},
    outcome::failpoint,
};

/// How the services of a restored swarm follow their images.
#[derive(Debug, Clone, Default)]
pub struct Follow {
    /// Rules of the command line.
    pub rules: Vec<Rule>,
}

impl Follow {
    /// Whether there is anything that services might follow.
    fn has_work(&self, config: &Config) -> bool {
        let images = &config.images;
        !self.rules.is_empty() || !images.map.is_empty() || images.has_login()
    }

    /// Returns the rules of this run and those of earlier ones that were not followed to their end.
    fn with(&self, earlier: Option<&Vec<Rule>>) -> Vec<Rule> {
        joined(&self.rules, earlier.map(Vec::as_slice).unwrap_or_default())
    }
}

impl Restore<'_> {
    /// Notes in the record what the services are to follow.
    pub(super) fn note_follow(&self, record: &mut Record) {
        if let Some(follow) = self.follow.as_ref().filter(|follow| follow.has_work(self.run.config)) {
            record.follow = Some(follow.with(record.follow.as_ref()));
        }
    }

    /// Lets the services of the swarm that works on this host follow, if this host was restored to it: all of them if rules
    /// are given or an earlier run did not come to its end, else those that it could not change. Returns `None` if there is
    /// nothing to do.
    pub async fn follow_late(&self, dry_run: bool) -> Result<Option<Followed>> {
        let engine = Engine::at(&self.run.config.engine.socket);
        let facts = engine.facts().await?;
        let Some(mut journal) = Journal::read(&facts.data_root)? else { return Ok(None) };
        let is_here = facts.swarm.cluster_id.as_ref() == Some(&journal.record.plan.cluster_id);
        if journal.record.restored().is_none() || !is_here {
            return Ok(None);
        }
        if self.follow.as_ref().is_some_and(|follow| !follow.rules.is_empty()) {
            self.note_follow(&mut journal.record);
            if !dry_run {
                journal.note()?;
            }
        }
        if journal.record.follow.is_none() && journal.record.owed.is_none() {
            return Ok(None);
        }
        // Other things come after this in a run.
        let follow = AssertUnwindSafe(self.followed(&engine, &facts, &journal.record, dry_run)).catch_unwind().await;
        let followed = follow.unwrap_or_else(|_| Err(anyhow!("services do not follow their images: a panic")))?;
        if !dry_run {
            journal.followed(followed.owed())?;
        }
        Ok(Some(followed))
    }

    /// Returns a note for each service of a backup whose image would get another name.
    pub(super) fn follow_notes(&self, recorded: &Inventory) -> Vec<String> {
        let Some(follow) = &self.follow else { return Vec::new() };
        let map = self.run.config.images.map_with(&follow.rules);
        let renamed = recorded.services.iter().filter_map(|service| {
            let other = map.apply_once(&service.image)?;
            Some(format!(
                "once the swarm is back, the service {} gets {other} in place of {}",
                service.name, service.image
            ))
        });
        renamed.collect()
    }

    async fn followed(&self, engine: &Engine, facts: &EngineFacts, record: &Record, dry_run: bool) -> Result<Followed> {
        let (config, shutdown) = (self.run.config, self.run.shutdown);
        let (scope, logins) = (self.scope(record), Logins::new(config, Duration::ZERO));
        let objects = engine.objects().await?;
        let renewal =
            Renewal { config, objects: &objects, logins: &logins, scope: &scope, only: None, shutdown, dry_run };
        let plan = shutdown.or_interrupted(renewal.plan()).await?;
        let recorded = Recorded { own: facts.swarm.swarm_node()?, keyring: &self.keyring, shutdown };
        let known = plan.recorded(&recorded, &facts.data_root.join("swarm")).await;
        Ok(Followed::of(shutdown.or_interrupted(renewal.carry_out(&plan, &known)).await?, dry_run))
    }

    /// Returns the services that are to follow, by the journal.
    fn scope(&self, record: &Record) -> Scope {
        let images = &self.run.config.images;
        let all = record.follow.as_deref();
        let owed = record.owed.clone().unwrap_or_default();
        let rules = joined(all.unwrap_or_default(), &owed.rules);
        Scope::new(all.map(|rules| images.map_with(rules)), images.map_with(&rules), owed.services)
    }
}

impl Change<'_> {
    /// Lets the services follow. The journal is complete, and says whether that is still to be done.
    pub(super) async fn follow(&mut self) -> Result<Option<Followed>> {
        if self.record().follow.is_none() {
            return Ok(None);
        }
        failpoint::reach("follow");
        let facts = self.engine.facts().await?;
        let followed = self.restore.followed(&self.engine, &facts, self.record(), false).await?;
        failpoint::reach("followed");
        self.journal.followed(followed.owed())?;
        Ok(Some(followed))
    }
}

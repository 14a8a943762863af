//! The proof that the swarm is back: compared with the backup, in the engine's own words.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{RestoreReport, change::Change, formation, plan::checks, prune, strictness::Strictness};
use crate::{
    host::{
        engine::{EngineFacts, ManagerView},
        key_file, listing, network,
    },
    report::peak_memory,
    swarm::{
        Inventory,
        inventory::{Compared, Difference},
    },
};

/// Where the nodes of an overlay network gossip (libnetwork `networkdb`).
const GOSSIP_PORT: u16 = 7946;

/// For what a manager does by itself soon after it has come up.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(200);

impl Change<'_> {
    /// Waits until the swarm works, and compares it.
    pub(super) async fn confirm(&self, strictness: Strictness) -> Result<RestoreReport> {
        let works = |facts: &EngineFacts| checks::works(&facts.swarm);
        let facts = self.engine.wait(self.start_limit, "the restored swarm to be active", works).await?;
        let plan = &self.record().plan;
        formation::require_formed(&facts.swarm, &plan.cluster_id, &plan.node_id)?;
        let view = self.engine.manager_view().await?;
        self.check_address(&view)?;
        let recorded = self.record().recorded.as_ref().context("the journal has no inventory")?;
        let compared = Compared::of(recorded, &listing::inventory(&view));
        let mut attention = self.attention.clone();
        attention.extend(self.check_settings(&view));
        attention.extend(strictness.weigh(&compared)?);
        attention.extend(self.settle_down().await?);
        self.report(recorded, compared.harmless, attention, strictness).await
    }

    pub(super) async fn report(
        &self,
        recorded: &Inventory,
        differences: Vec<Difference>,
        mut attention: Vec<String>,
        strictness: Strictness,
    ) -> Result<RestoreReport> {
        let record = self.record();
        let mut dead_nodes = prune::dead_nodes(recorded, &record.plan.node_id);
        if self.restore.prune_dead {
            prune::managers(&self.engine, &self.restore.config.restore, &mut dead_nodes, &mut attention).await?;
        }
        Ok(RestoreReport {
            result: "done",
            finished_earlier_run: strictness == Strictness::Late,
            autolocked: record.plan.init.auto_lock_managers,
            counts: record.counts,
            differences,
            aside: None,
            dead_nodes,
            attention,
            findings: Vec::new(),
            phases: Vec::new(),
            peak_memory: peak_memory(),
            readdressed: None,
            plan: record.plan.clone(),
        })
    }

    fn check_address(&self, view: &ManagerView) -> Result<()> {
        let plan = &self.record().plan;
        let raft_addr = view.raft_addr(&plan.node_id);
        if raft_addr.as_deref() != Some(plan.raft_addr.to_string().as_str()) {
            bail!("the restored manager is at {raft_addr:?} in its raft log, not at {}", plan.raft_addr);
        }
        Ok(())
    }

    /// What `POST /swarm/init` sets by itself where it is not told.
    pub(super) fn check_settings(&self, view: &ManagerView) -> Vec<String> {
        let init = &self.record().plan.init;
        let mut attention = Vec::new();
        if view.auto_lock() != init.auto_lock_managers {
            attention.push(format!("autolock was {} and is {}", init.auto_lock_managers, view.auto_lock()));
        }
        if view.force_rotate() != init.force_rotate {
            attention.push(format!("ForceRotate was {} and is {}", init.force_rotate, view.force_rotate()));
        }
        attention
    }

    /// Waits for what the new manager does by itself: locking its key again, and opening the overlay networks. Answers
    /// with what did not come.
    pub(super) async fn settle_down(&self) -> Result<Vec<String>> {
        let mut attention = Vec::new();
        let state_dir = self.placement.state_dir();
        if self.record().locked_key.is_some() && !self.wait_until(|| key_file::is_locked_in(&state_dir)).await? {
            attention.push(format!(
                "the engine has not locked {} again: whoever reads this disk reads the swarm; `docker swarm unlock-key --rotate` makes it try",
                state_dir.display()
            ));
        }
        if let Some(key) = &self.open_key
            && !self.wait_until(|| key.scrub()).await?
        {
            attention.push("the open key could not be overwritten".to_owned());
        }
        if !self.wait_until(|| network::is_listening(GOSSIP_PORT)).await? {
            attention.push(format!(
                "nothing listens on port {GOSSIP_PORT}, so overlay networks carry nothing to other nodes: restart the engine"
            ));
        }
        Ok(attention)
    }

    pub(super) async fn wait_until(&self, done: impl Fn() -> Result<bool>) -> Result<bool> {
        let since = Instant::now();
        loop {
            if done()? {
                return Ok(true);
            }
            if since.elapsed() > SETTLE_LIMIT {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

//! The proof that the swarm is back: compared with the backup, in the engine's own words.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{
    Readdressed, RestoreReport, change::Change, formation, journal::Record, plan::checks, prune, strictness::Strictness,
};
use crate::{
    host::{engine::EngineFacts, key_file, listing, network, view::ManagerView},
    report::peak_memory,
    swarm::inventory::{Compared, Difference},
};

/// Where the nodes of an overlay network gossip (libnetwork `networkdb`).
const GOSSIP_PORT: u16 = 7946;

/// For what a manager does by itself soon after it has come up.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(200);

/// A swarm that was proven to be back: the essential part of a restore is done.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub strictness: Strictness,
    pub differences: Vec<Difference>,
    pub attention: Vec<String>,
    /// Of a swarm at another address.
    pub readdressed: Option<Readdressed>,
}

impl Change<'_> {
    /// Waits until the swarm works, and compares it.
    pub(super) async fn confirm(&self, strictness: Strictness) -> Result<Confirmed> {
        let works = |facts: &EngineFacts| checks::works(&facts.swarm);
        let facts = self.engine.wait(self.start_limit, "the restored swarm to be active", works).await?;
        let plan = &self.record().plan;
        formation::require_formed(&facts.swarm, &plan.cluster_id, &plan.node_id)?;
        let view = self.engine.manager_view().await?;
        self.check_address(&view)?;
        let recorded = self.record().recorded.as_ref().context("the journal has no inventory")?;
        let compared = Compared::of(recorded, &listing::inventory(&view));
        let mut attention = self.attention.clone();
        attention.extend(view.unclear.iter().cloned());
        attention.extend(self.check_settings(&view));
        Ok(Confirmed { strictness, differences: strictness.weigh(compared)?, attention, readdressed: None })
    }

    pub(super) fn report(&self, confirmed: Confirmed) -> RestoreReport {
        let record = self.record();
        RestoreReport {
            result: "done",
            finished_earlier_run: confirmed.strictness == Strictness::Late,
            autolocked: record.plan.init.auto_lock_managers,
            counts: record.counts,
            differences: confirmed.differences,
            aside: None,
            dead_nodes: Vec::new(),
            attention: Vec::new(),
            findings: Vec::new(),
            phases: Vec::new(),
            peak_memory: peak_memory(),
            readdressed: confirmed.readdressed,
            plan: record.plan.clone(),
        }
    }

    /// Waits for what the new manager does by itself, and removes old managers where that was asked for. `before` is the
    /// record that the receipt has replaced.
    pub(super) async fn afterwards(
        &self,
        before: &Record,
        report: &mut RestoreReport,
        attention: &mut Vec<String>,
    ) -> Result<()> {
        let old = &before.plan.node_id;
        report.dead_nodes = before.recorded.as_ref().map(|it| prune::dead_nodes(it, old)).unwrap_or_default();
        attention.extend(self.settle_down(before.locked_key.is_some()).await?);
        if let Some(target) = &before.plan.readdress {
            attention.extend(self.settle_down_elsewhere(target).await?);
        }
        if self.restore.prune_dead {
            prune::managers(&self.engine, &self.restore.config.restore, &mut report.dead_nodes, attention).await?;
        }
        Ok(())
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
    async fn settle_down(&self, was_locked: bool) -> Result<Vec<String>> {
        let mut attention = Vec::new();
        let state_dir = self.placement.state_dir();
        if was_locked && !self.wait_until(|| key_file::is_locked_in(&state_dir)).await? {
            attention.push(format!(
                "the engine has not locked {} again: whoever reads this disk reads the swarm; `docker swarm unlock-key --rotate` makes it try",
                state_dir.display()
            ));
        }
        if let Some(key) = &self.open_key
            && !self.wait_until(|| key.scrub()).await?
        {
            attention.push("the open key could not be overwritten; the next run of the agent tries again".to_owned());
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

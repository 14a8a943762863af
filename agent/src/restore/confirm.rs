//! The proof that the swarm is back: the engine's own listing, compared with the backup.

use anyhow::{Context, Result};
use swarm_state::inventory::Compared;

use super::{change::Change, formation, report::Confirmed, strictness::Strictness};
use crate::host::engine::{EngineFacts, listing, view::ManagerView};

impl Change<'_> {
    /// Waits until the swarm works, and compares it with the backup.
    pub(super) async fn confirm(&self, strictness: Strictness) -> Result<Confirmed> {
        let works = |facts: &EngineFacts| facts.swarm.works();
        let facts = self.engine.wait(self.start_limit, "the restored swarm to be active", works).await?;
        let plan = &self.record().plan;
        formation::require_formed(&facts.swarm, &plan.swarm_node())?;
        let view = self.engine.manager_view().await?;
        self.check_address(&view)?;
        let recorded = self.record().recorded.as_ref().context("the journal has no inventory")?;
        let compared = Compared::of(recorded, &listing::inventory(&view));
        let mut attention = self.attention.clone();
        attention.extend(view.unclear.iter().cloned());
        attention.extend(self.check_settings(&view));
        Ok(Confirmed { strictness, differences: strictness.weigh(compared)?, attention, readdressed: None })
    }

    fn check_address(&self, view: &ManagerView) -> Result<()> {
        let plan = &self.record().plan;
        view.require_raft_addr(&plan.node_id, plan.raft_addr)
    }

    /// Compares the settings that `POST /swarm/init` resets unless they are sent.
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
}

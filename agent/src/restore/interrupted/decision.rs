//! The decision about an interrupted restore: gathers what the action is judged by, from the disk, the engine and the
//! other managers.

use std::net::SocketAddr;

use anyhow::Result;
use swarmdr_archive::NodeId;

use super::action::{OnDiskVerdict, RecoveryAction, action_for_taken_up, judge};
use crate::{
    host::{
        engine::SwarmState,
        files::{key_file, placement::Placement},
        network,
    },
    outcome::failure::Failure,
    restore::{
        Restore, fence,
        holding::{Holding, Wanted},
        journal::Record,
        on_disk::OnDisk,
        plan::checks,
        ready::Waits,
    },
};

/// The part of a request that matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub waits: Waits,
    pub force: bool,
    pub fenced: bool,
}

impl Restore<'_> {
    pub(super) async fn recovery_action(
        &self,
        record: &Record,
        placement: &Placement,
        terms: Terms,
    ) -> Result<RecoveryAction> {
        let state_dir = placement.state_dir();
        match judge(record, &OnDisk::read(&state_dir), placement.has_moved(), terms.force) {
            OnDiskVerdict::Certain(RecoveryAction::FormAgain) => {
                self.check_can_unlock(record, placement)?;
                self.await_own_address(record, terms.waits).await?;
                return self.fenced(record, placement, terms.fenced).await;
            }
            OnDiskVerdict::Certain(way) => return Ok(way),
            OnDiskVerdict::TakenUp => {}
        }
        if let Some(holding) = self.works_after_all(record, placement, terms.waits).await? {
            let node = holding.facts.swarm.node_id.as_ref().map_or("", NodeId::as_str);
            tracing::info!("node {node} of the restored swarm works");
            return Ok(RecoveryAction::Confirm);
        }
        let examined = self.examine_present(&state_dir).await;
        match action_for_taken_up(record.phase, record.recorded.as_ref(), examined.as_ref()) {
            RecoveryAction::FormAgain => {
                require_own_address(record)?;
                self.fenced(record, placement, terms.fenced).await
            }
            // A forced run puts it aside.
            RecoveryAction::Unclear if terms.force => Ok(RecoveryAction::Keep),
            way => Ok(way),
        }
    }

    /// Checks that this host has the swarm's address before the swarm is formed: another host may have it by now.
    async fn await_own_address(&self, record: &Record, waits: Waits) -> Result<()> {
        if record.plan.interface.is_some() {
            self.await_address(waits.address, record.plan.raft_addr.ip()).await?;
        }
        require_own_address(record)
    }

    /// Waits for the engine that has adopted the restored state; `None` if its swarm does not start to work.
    pub(in crate::restore) async fn works_after_all(
        &self,
        record: &Record,
        placement: &Placement,
        waits: Waits,
    ) -> Result<Option<Holding>> {
        let address = record.plan.readdress.as_ref().map_or(record.plan.raft_addr, |target| target.addr).ip();
        if record.plan.readdress.is_some() || record.plan.interface.is_some() {
            self.await_address(waits.address, address).await?;
        }
        let node = record.plan.readdress.is_none().then_some(&record.plan.node_id);
        let wanted = Wanted { cluster: &record.plan.cluster_id, node };
        let holding = self.await_settled(wanted, waits.engine, true).await?;
        if holding.facts.swarm.works() {
            return Ok(Some(holding));
        }
        if holding.facts.swarm.state == SwarmState::Locked {
            self.check_can_unlock(record, placement)?;
        }
        Ok(None)
    }

    /// Fences the other managers: forming the cluster again drops them. If one of them answers, the old state is put
    /// back, since it may be a member of theirs.
    async fn fenced(&self, record: &Record, placement: &Placement, vouched: bool) -> Result<RecoveryAction> {
        if vouched {
            return Ok(RecoveryAction::FormAgain);
        }
        let asked = self.ask_managers(&self.others(record, placement).await).await;
        fence::require_asked(&asked.unasked())?;
        match checks::fence(&asked.living) {
            Ok(()) => Ok(RecoveryAction::FormAgain),
            Err(error) if record.aside.is_some() => {
                tracing::warn!("{error:#}");
                Ok(RecoveryAction::PutBack)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the other managers of the state on disk and of the backup.
    async fn others(&self, record: &Record, placement: &Placement) -> Vec<SocketAddr> {
        let mut others = self.present_peers(&placement.state_dir()).await;
        let recorded = record.recorded.iter().flat_map(|recorded| &recorded.nodes);
        others.extend(recorded.filter_map(|node| swarm_state::identity::usable(node.manager_addr.as_deref()?)));
        if record.plan.interface.is_some() {
            others.retain(|addr| *addr != record.plan.raft_addr);
        }
        others.sort();
        others.dedup();
        others
    }

    /// Repeats the decision once the engine is stopped: until then the state may have found its leader, and been used.
    pub(super) async fn is_still_to_be_formed(
        &self,
        record: &Record,
        placement: &Placement,
        vouched: bool,
    ) -> Result<bool> {
        let state_dir = placement.state_dir();
        let on_disk = OnDisk::read(&state_dir);
        let own = record.plan.swarm_node();
        let Some(held) = on_disk.held().filter(|held| held.own == own) else { return Ok(false) };
        require_own_address(record)?;
        if held.is_taken_up {
            let examined = self.examine_present(&state_dir).await;
            if action_for_taken_up(record.phase, record.recorded.as_ref(), examined.as_ref())
                != RecoveryAction::FormAgain
            {
                return Ok(false);
            }
        }
        Ok(self.fenced(record, placement, vouched).await? == RecoveryAction::FormAgain)
    }

    fn check_can_unlock(&self, record: &Record, placement: &Placement) -> Result<()> {
        if self.keyring.unlock_key.is_some() || !key_file::is_locked_in(&placement.state_dir())? {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "the restore of backup {} was cut short, and its state is locked; the unlock key was not given",
            record.plan.id
        ))
        .advice("run it again with --unlock-key FILE")
        .into())
    }
}

fn require_own_address(record: &Record) -> Result<()> {
    let wanted = record.plan.raft_addr.ip();
    let here = network::local_addresses()?;
    if record.plan.interface.is_none() || network::has(&here, wanted) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "a restore of backup {} was cut short before its swarm was formed at {wanted}, and this host has {}",
        record.plan.id,
        network::describe(&here)
    ))
    .advice(format!("give this host the address {wanted}, or wait for it: --wait-for-ip 120s"))
    .advice("if this disk was copied from another host, move the journal away: restore.json in the directory .swarmdr of the engine's data root")
    .into())
}

//! A host that is ready to be recovered: the checks, and the facts that they gather before anything is changed.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use swarm_state::{self, Examined, UnlockKey};
use swarmdr_archive::BackupId;

use super::{Recovery, RecoveryPlan, checks};
use crate::{
    backup::{BackupPlan, PreviousBackups, quorum_loss},
    downtime::running_before::RunningBefore,
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        files::{key_file, placement::Placement, space},
        network,
    },
    keys::unlock_key::GivenKey,
    outcome::failure::Failure,
    restore::{self, FORMING, Here, Overrides, RestorePlan, holding::Wanted, journal, on_disk::OnDisk, peers::peers},
};

/// Time to wait for an address that is late, as at a boot.
const ADDRESS: Duration = Duration::from_secs(60);

/// Number of attempts to read the log. An engine without a leader writes votes now and then, which can disturb a
/// reading.
const ATTEMPTS: u32 = 3;

/// Result of the checks.
#[derive(Debug)]
pub enum Step {
    /// The swarm has a leader: there is nothing to recover.
    Works,
    Ready(Box<Ready>),
}

/// Facts that were gathered before anything is changed.
#[derive(Debug)]
pub struct Ready {
    pub plan: RecoveryPlan,
    pub(super) facts: EngineFacts,
    pub(super) backup: BackupPlan,
    pub(super) restore: RestorePlan,
    pub(super) others: Vec<SocketAddr>,
}

impl Ready {
    /// Id of the backup that is sealed first.
    pub fn backup_id(&self) -> BackupId {
        self.backup.id
    }
}

impl Recovery<'_> {
    /// Refuses a swarm that has found its leader since it was prepared.
    pub async fn require_still_lost(&self) -> Result<()> {
        let facts = Engine::at(&self.restore.run.config.engine.socket).facts().await?;
        if facts.swarm.works() {
            return Err(Failure::refused("the swarm has a leader again, so nothing was changed")
                .advice("look at it with `docker node ls`; there is nothing to recover")
                .into());
        }
        checks::require_lost_leader(&facts)
    }

    /// Checks everything; changes nothing.
    pub async fn prepare(&self, may_start: bool) -> Result<Step> {
        let asked = self.restore.await_engine(Duration::ZERO, may_start).await?;
        if asked.swarm.works() {
            return Ok(Step::Works);
        }
        checks::require_lost_leader(&asked)?;
        let facts = self.settled(&asked, may_start).await?;
        if facts.swarm.works() {
            return Ok(Step::Works);
        }
        checks::require_lost_leader(&facts)?;
        restore::plan::checks::engine_settings(&facts)?;
        let state_dir = facts.data_root.join("swarm");
        let examined = self.examine(&state_dir)?;
        let addresses = self.addresses(&examined).await?;
        let backup = quorum_loss::plan(&self.backup, &facts, &examined, &addresses)?;
        let needed = self.backup.check_quorum_loss_backup(&backup)? + FORMING + journal::START;
        space::require(&facts.data_root, needed, "the copy of the state and the new manager's log")?;
        Placement::new(&facts.data_root, &backup.id.to_string())?;
        let others = peers(&examined);
        if !self.fenced {
            if asked.swarm.state == SwarmState::Locked && !others.is_empty() {
                return Err(checks::silent(&others));
            }
            self.fence(&others).await?;
        }
        let restore = self.plan(&facts, &backup, &examined, &addresses)?;
        let plan = RecoveryPlan {
            cluster_id: backup.cluster_id.clone(),
            node_id: backup.node_id.clone(),
            raft_addr: backup.raft_addr,
            engine: facts.version.clone(),
            without: others.iter().map(ToString::to_string).collect(),
            units: backup.units.clone(),
            found: RunningBefore::default(),
            state_dir,
            spool_file: backup.spool_file.clone(),
        };
        Ok(Step::Ready(Box::new(Ready { plan, facts, backup, restore, others })))
    }

    /// Plans the restore of the copy. The host is the same, so its addresses are kept, including translated ones and a
    /// separate one for the overlay traffic.
    fn plan(
        &self,
        facts: &EngineFacts,
        backup: &BackupPlan,
        examined: &Examined,
        addresses: &[network::LocalAddress],
    ) -> Result<RestorePlan> {
        if let swarm_state::Proof::Unproven(damage) = &examined.proof {
            return Err(quorum_loss::breaks(damage));
        }
        let manifest = quorum_loss::draft(backup, examined, &PreviousBackups::default())?;
        let here = Here {
            facts,
            addresses,
            on_disk: &OnDisk::read(&backup.state_dir),
            has_unlock_key: self.key().is_some(),
            now: self.restore.run.now,
        };
        let overrides = Overrides {
            address_elsewhere: true,
            data_path_addr: manifest.restore.data_path_addr.clone().filter(|addr| !addr.is_empty()),
            ..Overrides::default()
        };
        RestorePlan::of_own_state(&manifest, &backup.units, &here, &overrides)
    }

    pub(super) async fn fence(&self, others: &[SocketAddr]) -> Result<()> {
        let asked = self.restore.ask_managers(others).await;
        checks::fence(&asked.living)?;
        restore::fence::require_asked(&asked.unasked())
    }

    /// Returns the addresses of this host. Waits for one that the manager needs and that is late: without it the
    /// cluster would be formed at an address that nobody reaches.
    async fn addresses(&self, examined: &Examined) -> Result<Vec<network::LocalAddress>> {
        let Some(needed) = checks::needed_address(examined).filter(|_| !self.address_elsewhere) else {
            return network::local_addresses();
        };
        let addresses = self.restore.await_address(ADDRESS, needed).await?;
        if network::has(&addresses, needed) {
            return Ok(addresses);
        }
        Err(Failure::refused(format!(
            "this manager is at {needed}, and this host has {}",
            network::describe(&addresses)
        ))
        .advice(format!("give this host the address {needed} again, and run this once more"))
        .advice(format!("if {needed} is translated to this host (NAT), use --address-elsewhere"))
        .into())
    }

    /// Waits for a leader, an address or a key that may still come. If one does, there is nothing to recover.
    async fn settled(&self, asked: &EngineFacts, may_change: bool) -> Result<EngineFacts> {
        let on_disk = OnDisk::read(&asked.data_root.join("swarm"));
        let Some(held) = on_disk.held() else { return Ok(asked.clone()) };
        let wanted = Wanted { cluster: &held.own.cluster, node: Some(&held.own.node) };
        Ok(self.restore.await_settled(wanted, Duration::ZERO, may_change).await?.facts)
    }

    pub(super) fn key(&self) -> Option<&UnlockKey> {
        self.restore.keyring.unlock_key.as_ref().map(GivenKey::for_state)
    }

    /// Reads the state of the running engine. A locked one needs its key.
    fn examine(&self, state_dir: &std::path::Path) -> Result<Examined> {
        if key_file::is_locked_in(state_dir)? && self.key().is_none() {
            return Err(Failure::refused("this manager is autolocked, and its unlock key was not given")
                .advice("name it with --unlock-key FILE")
                .into());
        }
        let mut examined = swarm_state::examine(state_dir, self.key());
        for _ in 1..ATTEMPTS {
            if matches!(&examined, Ok(examined) if examined.proof == swarm_state::Proof::Proven) {
                break;
            }
            examined = swarm_state::examine(state_dir, self.key());
        }
        examined.map_err(|error| match error {
            swarm_state::Error::WrongUnlockKey { .. } => {
                Failure::refused("the unlock key that was given does not open this manager's state")
                    .because(error)
                    .into()
            }
            swarm_state::Error::NotAManager { .. } => {
                Failure::refused("this host is a worker: only a manager holds the swarm's state")
                    .advice("run this on the manager that survived")
                    .because(error)
                    .into()
            }
            error => {
                anyhow::Error::new(error).context("the state on this host is not one that a swarm can be formed from")
            }
        })
    }
}

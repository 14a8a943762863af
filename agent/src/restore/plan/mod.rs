//! The plan of a restore, decided before anything on the host is touched.

pub mod checks;
mod init;
mod notes;
mod present;
mod show;
mod target;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId, NodeId, SwarmNode, manifest::Manifest};

use super::{fence, on_disk::OnDisk};
use crate::host::{
    engine::{EngineFacts, InitRequest},
    files::placement::{self, Placement},
    network::LocalAddress,
};
use notes::notes;
use present::Present;
pub use target::{Readdress, Target, old_addresses};

/// The plan as plain data: printed by `--dry-run`, compared by tests, kept in the journal for a later run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestorePlan {
    pub id: BackupId,
    /// Vault or file of the archive.
    pub source: String,
    pub created_at: Timestamp,
    pub from_host: String,
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    pub raft_addr: SocketAddr,
    /// The interface of this host that has the address; `None` if it is translated to this host.
    pub interface: Option<String>,
    pub backup_engine: String,
    pub host_engine: String,
    pub units: Vec<String>,
    pub staging: PathBuf,
    pub state_dir: PathBuf,
    /// The request that forms the one-manager cluster.
    pub init: InitRequest,
    /// Set by `--readdress`: the address of the swarm afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readdress: Option<Target>,
    /// True if the state was formed beforehand: the engine starts with it, and nothing has to be formed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub formed: bool,
    pub notes: Vec<String>,
}

/// This host when the plan is made.
#[derive(Debug)]
pub struct Here<'a> {
    pub facts: &'a EngineFacts,
    pub addresses: &'a [LocalAddress],
    /// Content of the state directory.
    pub on_disk: &'a OnDisk,
    pub has_unlock_key: bool,
    pub now: Timestamp,
}

/// This host and the swarm of the backup when the plan is made.
#[derive(Debug)]
pub struct Seen<'a> {
    pub here: Here<'a>,
    /// Old managers of the backup that answered just now.
    pub living: &'a [String],
    /// Old managers that could not be asked from here.
    pub unasked: &'a [String],
    /// Backup that this host was last restored from, and when.
    pub last_restore: Option<(BackupId, Timestamp)>,
    /// True if the backup is the newest one that there is, and not one that was asked for by name.
    pub newest: bool,
}

/// Options of the operator beyond the choice of a backup.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Replace an active swarm.
    pub force: bool,
    /// The swarm's address is translated to this host: no interface has it.
    pub address_elsewhere: bool,
    /// Overlay traffic goes through this address of this host instead of the recorded one.
    pub data_path_addr: Option<String>,
    /// The swarm gets an address of this host.
    pub readdress: Option<Readdress>,
}

/// Result of comparing a backup with this host.
#[derive(Debug)]
pub enum Decision {
    Restore(Box<RestorePlan>),
    /// This host is a working manager of that swarm: there is nothing to do.
    AlreadyThere,
    /// This host is a manager of that swarm, and its engine waits for the unlock key.
    AlreadyThereLocked,
}

impl RestorePlan {
    /// The engine's data root, which holds the state directory.
    pub fn data_root(&self) -> Result<&Path> {
        placement::data_root_of(&self.state_dir)
    }

    /// Makes the plan. Refuses (exit 4) a restore that would do harm on this host.
    pub fn make<P>(
        manifest: &Manifest<P>,
        source: &str,
        units: &[String],
        seen: &Seen<'_>,
        overrides: &Overrides,
    ) -> Result<Decision> {
        match present::judge(manifest, seen, overrides)? {
            Present::Free => {}
            Present::Healed => return Ok(Decision::AlreadyThere),
            Present::Locked => return Ok(Decision::AlreadyThereLocked),
        }
        let route = Route::checked(manifest, &seen.here, overrides)?;
        checks::fence(seen.living)?;
        fence::require_asked(seen.unasked)?;
        Ok(Decision::Restore(Box::new(Self::along(route, manifest, source, units, &seen.here)?)))
    }

    /// Plans to form the swarm of this host again from a copy of its own state, which takes the place of the original.
    /// The caller has made sure that no other manager answers.
    pub fn of_own_state<P>(
        manifest: &Manifest<P>,
        units: &[String],
        here: &Here<'_>,
        overrides: &Overrides,
    ) -> Result<Self> {
        Self::along(Route::checked(manifest, here, overrides)?, manifest, "this host", units, here)
    }

    fn along<P>(route: Route, manifest: &Manifest<P>, source: &str, units: &[String], here: &Here<'_>) -> Result<Self> {
        let placement = Placement::new(&here.facts.data_root, &manifest.id.to_string())?;
        Ok(Self {
            id: manifest.id,
            source: source.to_owned(),
            created_at: manifest.created_at,
            from_host: manifest.hostname.clone(),
            cluster_id: manifest.cluster_id.clone(),
            node_id: manifest.node_id.clone(),
            raft_addr: manifest.raft_addr,
            interface: route.interface,
            backup_engine: manifest.engine_version.clone(),
            host_engine: here.facts.version.clone(),
            units: units.to_vec(),
            staging: placement.staging(),
            state_dir: placement.state_dir(),
            init: route.init,
            readdress: route.readdress,
            formed: false,
            notes: notes(manifest, here),
        })
    }
}

/// The addresses that the swarm is formed at and then lives at.
struct Route {
    /// The interface that has the old address; `None` where none needs it.
    interface: Option<String>,
    init: InitRequest,
    readdress: Option<Target>,
}

impl Route {
    /// Chooses the addresses; refuses a host whose engine or clock would not take this state.
    fn checked<P>(manifest: &Manifest<P>, here: &Here<'_>, overrides: &Overrides) -> Result<Self> {
        checks::engine_settings(here.facts)?;
        let route = Self::choose(manifest, here.addresses, overrides)?;
        checks::state(manifest, here.has_unlock_key, here.now)?;
        checks::engine_version(manifest, here.facts)?;
        Ok(route)
    }

    fn choose<P>(manifest: &Manifest<P>, addresses: &[LocalAddress], overrides: &Overrides) -> Result<Self> {
        let Some(wanted) = &overrides.readdress else {
            let interface = checks::address(manifest, addresses, overrides)?;
            return Ok(Self { interface, init: InitRequest::of(manifest, addresses, overrides)?, readdress: None });
        };
        let target = Target::choose(manifest, addresses, wanted, overrides)?;
        Ok(Self { interface: None, init: InitRequest::at_old_address(manifest)?, readdress: Some(target) })
    }
}

impl RestorePlan {
    /// The backed-up manager and its swarm.
    pub fn swarm_node(&self) -> SwarmNode {
        SwarmNode { cluster: self.cluster_id.clone(), node: self.node_id.clone() }
    }

    /// Where this host's engine listens as a manager.
    pub fn listens_on(&self) -> Option<SocketAddr> {
        match &self.readdress {
            Some(target) => Some(target.addr),
            None => self.init.listen_addr.parse().ok(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

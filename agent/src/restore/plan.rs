//! What a restore is going to do, decided before anything on the host is touched.

pub mod checks;
mod init;
mod target;

use std::{fmt, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, manifest::Manifest};

use super::{fence, holding::OnDisk, version::EngineVersion};
use crate::{
    host::{engine::EngineFacts, network::LocalAddress, placement::Placement},
    report::count,
    terminal::{joined, shown},
};
use checks::Present;
pub use init::InitRequest;
pub use target::{Readdress, Target, old_addresses};

/// Plain data; printed by `--dry-run`, compared by tests, written down for a later run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestorePlan {
    pub id: BackupId,
    /// Vault or file that the archive came from.
    pub source: String,
    pub created_at: Timestamp,
    pub from_host: String,
    pub cluster_id: String,
    pub node_id: String,
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
    /// `--readdress`: where the swarm lives afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readdress: Option<Target>,
    pub notes: Vec<String>,
}

/// What was seen of this host when the plan was made.
#[derive(Debug)]
pub struct Seen<'a> {
    pub facts: &'a EngineFacts,
    pub addresses: &'a [LocalAddress],
    /// Old managers of the backup that answered just now.
    pub living: &'a [String],
    /// Old managers that could not be asked from here.
    pub unasked: &'a [String],
    /// What lies in the state directory on this host.
    pub on_disk: &'a OnDisk,
    /// The backup that this host was last restored from, and when.
    pub receipt: Option<(BackupId, Timestamp)>,
    /// The backup is the newest one that there is, not one that was asked for by name.
    pub newest: bool,
    pub has_unlock_key: bool,
    pub now: Timestamp,
}

/// What the operator said beyond the choice of a backup.
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

/// What comes of comparing a backup with this host.
#[derive(Debug)]
pub enum Decision {
    Restore(Box<RestorePlan>),
    /// This host is a working manager of that swarm: there is nothing to do.
    AlreadyThere,
    /// The same, but its engine waits for the unlock key.
    AlreadyThereLocked,
}

impl RestorePlan {
    /// Refuses (exit 4) whatever would do harm on this host.
    pub fn make<P>(
        manifest: &Manifest<P>,
        source: &str,
        units: &[String],
        seen: &Seen<'_>,
        overrides: &Overrides,
    ) -> Result<Decision> {
        match checks::present(manifest, seen, overrides)? {
            Present::Free => {}
            Present::Healed => return Ok(Decision::AlreadyThere),
            Present::Locked => return Ok(Decision::AlreadyThereLocked),
        }
        checks::engine_settings(seen.facts)?;
        let (interface, init, readdress) = addressed(manifest, seen.addresses, overrides)?;
        checks::state(manifest, seen.has_unlock_key, seen.now)?;
        checks::engine_version(manifest, seen.facts)?;
        checks::fence(seen.living)?;
        fence::require_asked(seen.unasked)?;
        let placement = Placement::new(&seen.facts.data_root, &manifest.id.to_string())?;
        Ok(Decision::Restore(Box::new(Self {
            id: manifest.id,
            source: source.to_owned(),
            created_at: manifest.created_at,
            from_host: manifest.hostname.clone(),
            cluster_id: manifest.cluster_id.clone(),
            node_id: manifest.node_id.clone(),
            raft_addr: manifest.raft_addr,
            interface,
            backup_engine: manifest.engine_version.clone(),
            host_engine: seen.facts.version.clone(),
            units: units.to_vec(),
            staging: placement.staging(),
            state_dir: placement.state_dir(),
            init,
            readdress,
            notes: notes(manifest, seen),
        })))
    }
}

/// The interface that has the old address, the request that forms the cluster there, and where the swarm goes then.
fn addressed<P>(
    manifest: &Manifest<P>,
    addresses: &[LocalAddress],
    overrides: &Overrides,
) -> Result<(Option<String>, InitRequest, Option<Target>)> {
    let Some(wanted) = &overrides.readdress else {
        let interface = checks::address(manifest, addresses, overrides)?;
        return Ok((interface, InitRequest::of(manifest, addresses, overrides)?, None));
    };
    let target = Target::choose(manifest, addresses, wanted, overrides)?;
    Ok((None, InitRequest::at_old_address(manifest)?, Some(target)))
}

fn notes<P>(manifest: &Manifest<P>, seen: &Seen<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if manifest.engine_version != seen.facts.version {
        notes.push(format!(
            "the state was written by engine {}; this host runs {}",
            manifest.engine_version, seen.facts.version
        ));
    }
    if let Some(end) = manifest.certificate.node_not_after
        && end < seen.now
    {
        notes.push(format!("the node certificate expired at {end}; force-new-cluster renews it"));
    }
    if let OnDisk::State(held) = seen.on_disk {
        notes.push(format!(
            "the state of node {} of swarm {} on this host is moved aside",
            held.node_id, held.cluster_id
        ));
    }
    let there = manifest.restore.data_root.as_deref();
    if let Some(there) = there.filter(|there| *there != seen.facts.data_root.to_string_lossy()) {
        notes.push(format!(
            "the engine of the backup kept its data in {there}; this one keeps it in {}",
            seen.facts.data_root.display()
        ));
    }
    if manifest.autolock {
        notes.push(
            "the swarm is autolocked: its key lies open on disk until the new manager has locked it again".to_owned(),
        );
    }
    if !manifest.managers.is_empty() {
        let names: Vec<&str> =
            manifest.managers.iter().map(|manager| manager.hostname.as_deref().unwrap_or(&manager.node_id)).collect();
        notes.push(format!(
            "{} will be listed as down until they are removed: {}",
            count(names.len() as u64, "old manager"),
            names.join(", ")
        ));
    }
    notes
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Restore of backup {} from {}", self.id, shown(&self.source))?;
        writeln!(
            f,
            "  made       {} on {} with engine {}",
            self.created_at,
            shown(&self.from_host),
            shown(&self.backup_engine)
        )?;
        match &self.readdress {
            None => self.show_steps(f)?,
            Some(target) => self.show_steps_elsewhere(target, f)?,
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        Ok(())
    }
}

impl RestorePlan {
    /// Where this host's engine listens as a manager.
    pub fn listens_on(&self) -> Option<SocketAddr> {
        match &self.readdress {
            Some(target) => Some(target.addr),
            None => self.init.listen_addr.parse().ok(),
        }
    }

    fn aside(&self) -> PathBuf {
        self.state_dir.with_file_name(format!("swarm.before-{}", self.id))
    }

    fn show_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = self.interface.as_deref().unwrap_or("translated to this host");
        writeln!(f, "  swarm      {} at {} ({})", shown(&self.cluster_id), self.raft_addr, shown(here))?;
        writeln!(f, "  engine     {}", shown(&self.host_engine))?;
        writeln!(f, "  1. stop    {}", joined(&self.units, ", "))?;
        writeln!(f, "  2. aside   {} to {}", shown(self.state_dir.display()), shown(self.aside().display()))?;
        writeln!(f, "  3. place   {} to {}", shown(self.staging.display()), shown(self.state_dir.display()))?;
        writeln!(f, "  4. start   {}", joined(&self.units, ", "))?;
        writeln!(
            f,
            "  5. init    force a new cluster that listens on {} and advertises {}",
            shown(&self.init.listen_addr),
            shown(&self.init.advertise_addr)
        )?;
        writeln!(f, "  6. confirm cluster, node and every object against the backup")
    }

    fn show_steps_elsewhere(&self, target: &Target, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = (self.raft_addr, target.addr);
        writeln!(f, "  swarm      {} from {old} to {new} ({})", shown(&self.cluster_id), shown(&target.interface))?;
        writeln!(f, "  engine     {}", shown(&self.host_engine))?;
        writeln!(f, "  1. second  a second engine with {old} in a network of its own forms the old swarm; compare it")?;
        writeln!(
            f,
            "  2. aside   stop {}, {} to {}",
            joined(&self.units, ", "),
            shown(self.state_dir.display()),
            shown(self.aside().display())
        )?;
        writeln!(f, "  3. join    start the engine, and join that swarm as a manager at {new}")?;
        writeln!(f, "  4. compare what the new manager wrote to its disk with the backup")?;
        writeln!(f, "  5. demote  the old node {}, end the second engine, remove the node", shown(&self.node_id))?;
        writeln!(f, "  6. confirm cluster, certificate authority, tokens and every object against the backup")
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! The plan of a backup, made before anything is touched.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{
    BackupId, ClusterId, Digest, NodeId, SwarmNode,
    untrusted::{joined, shown},
};

use super::{managers::Managers, quorum::Away};
use crate::{
    config::{Config, Mode},
    downtime::running_before::RunningBefore,
    host::{
        engine::{EngineFacts, SwarmState, view::ManagerView},
        files::placement,
        network::{self, LocalAddress},
    },
    outcome::{count::count, failure::Failure},
};

/// The plan as plain data: printed by `--dry-run`, compared by tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupPlan {
    pub id: BackupId,
    pub created_at: Timestamp,
    pub hostname: String,
    pub engine_version: String,
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    /// The manager's address in the raft log; a restored host must have it.
    pub raft_addr: SocketAddr,
    /// False behind NAT: then a restore cannot check the address against the host's interfaces.
    pub raft_addr_local: bool,
    pub autolock: bool,
    /// Digest of what people set in the swarm, taken before the copy; `None` once the copy turns out not to hold it.
    pub specs: Option<Digest>,
    pub mode: Mode,
    /// The engine's units that are stopped, or the one that is frozen.
    pub units: Vec<String>,
    /// Units and containers that stop with the engine in a cold backup, and run again after it.
    pub found: RunningBefore,
    pub state_dir: PathBuf,
    pub snapshot_dir: PathBuf,
    pub spool_file: PathBuf,
    pub vaults: Vec<String>,
    /// Age recipients. If there is none, the archive is not encrypted.
    pub recipients: Vec<String>,
    /// Notes for the operator; none of them forbids the backup.
    pub notes: Vec<String>,
}

/// Facts about the host and its cluster that a plan is made from.
#[derive(Debug)]
pub struct Seen<'a> {
    pub facts: &'a EngineFacts,
    pub view: &'a ManagerView,
    pub managers: &'a Managers,
    pub addresses: &'a [LocalAddress],
    pub specs: Option<Digest>,
    pub now: Timestamp,
    pub random: [u8; 4],
}

impl BackupPlan {
    /// The manager that is backed up, and its swarm.
    pub fn swarm_node(&self) -> SwarmNode {
        SwarmNode { cluster: self.cluster_id.clone(), node: self.node_id.clone() }
    }

    /// The engine's data root, which holds the state directory.
    pub fn data_root(&self) -> Result<&Path> {
        placement::data_root_of(&self.state_dir)
    }

    /// Makes the plan. Refuses a manager that must not be backed up, or must not be paused now.
    pub fn make(config: &Config, seen: &Seen<'_>, allow_quorum_loss: bool) -> Result<Self> {
        let SwarmNode { cluster, node } = seen.facts.swarm.swarm_node()?;
        let mut notes = seen.managers.may_go(node.as_str(), away(config.backup.mode), allow_quorum_loss)?;
        let raft_addr = raft_addr(seen, &node)?;
        let raft_addr_local = network::has(seen.addresses, raft_addr.ip());
        notes.extend(notes_on_restore(config, seen, raft_addr, raft_addr_local));
        let id = BackupId::new(seen.now, seen.random);
        Ok(Self {
            created_at: id.created_at(),
            hostname: seen.facts.hostname.clone(),
            engine_version: seen.facts.version.clone(),
            cluster_id: cluster,
            node_id: node,
            raft_addr,
            raft_addr_local,
            autolock: seen.view.auto_lock(),
            specs: seen.specs,
            mode: config.backup.mode,
            units: match config.backup.mode {
                Mode::Cold => config.engine.units(),
                Mode::Freeze => vec![config.engine.service.clone()],
            },
            found: RunningBefore::default(),
            state_dir: seen.facts.data_root.join("swarm"),
            snapshot_dir: placement::work_dir(&seen.facts.data_root).join(format!("snapshot-{id}")),
            spool_file: config.spool_dir().join(format!("{id}.swarmdr")),
            vaults: config.vaults().iter().map(|vault| vault.url.clone()).collect(),
            recipients: config.recipients.clone(),
            notes,
            id,
        })
    }
}

/// Notes on what a restore of this backup will meet.
fn notes_on_restore(config: &Config, seen: &Seen<'_>, raft_addr: SocketAddr, is_local: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if seen.facts.swarm.root_rotation {
        notes.push(
            "the root CA of the swarm is being rotated: a swarm that is restored from this goes on with it, until each \
             node of it has its new certificate or is removed"
                .to_owned(),
        );
    }
    if !is_local {
        notes.push(format!(
            "the swarm's address {} is on no interface of this host (NAT?): a restore cannot check it",
            raft_addr.ip()
        ));
    }
    if config.recipients.is_empty() {
        notes.push("the archive is not encrypted: it holds every secret and the CA key in clear".to_owned());
    }
    notes
}

/// Kind of pause that the other managers see in this mode.
pub fn away(mode: Mode) -> Away {
    match mode {
        Mode::Cold => Away::Stopped,
        Mode::Freeze => Away::Frozen,
    }
}

/// Refuses every host except a working manager.
pub fn check_manager(facts: &EngineFacts) -> Result<()> {
    let swarm = &facts.swarm;
    let failure = match swarm.state {
        SwarmState::Active if swarm.is_manager && swarm.error.is_empty() => return Ok(()),
        SwarmState::Active if swarm.is_manager => {
            Failure::refused(format!("this manager has no working cluster: {}", swarm.error))
                .advice("see `docker node ls`; without a leader there is nothing current to back up")
        }
        SwarmState::Active => Failure::refused("this node is a worker; only a manager holds the swarm's state")
            .advice("install the agent on the managers (`docker node ls`)"),
        SwarmState::Inactive => Failure::refused("this host is not part of a swarm; there is nothing to back up")
            .advice("run this on a manager, or bring a swarm back with `swarmdr-agent restore`"),
        SwarmState::Pending => Failure::refused("this node is still joining its swarm")
            .advice("wait until `docker info` shows `Swarm: active`"),
        SwarmState::Locked => Failure::refused("this manager is locked, so nothing on it is current")
            .advice("unlock it first with `docker swarm unlock`"),
        SwarmState::Error => Failure::refused(format!("the swarm part of the engine does not work: {}", swarm.error))
            .advice("see `journalctl -u docker`"),
    };
    Err(failure.into())
}

/// This manager's address as the others know it. `ManagerStatus.Addr` is the raft address; no other
/// field of the API is (moby `daemon/cluster/convert/node.go`).
fn raft_addr(seen: &Seen<'_>, id: &NodeId) -> Result<SocketAddr> {
    let node = seen.view.node(id.as_str()).with_context(|| format!("the cluster's node list lacks this node {id}"))?;
    let addr = seen.view.raft_addr(id).with_context(|| {
        let listed = node.manager.as_ref().and_then(|status| status.addr.as_deref()).unwrap_or_default();
        format!("the cluster lists this manager with `{listed}`, which is no address")
    })?;
    if addr.ip().is_unspecified() {
        bail!("the cluster lists this manager with the unspecified address {addr}");
    }
    Ok(addr)
}

impl fmt::Display for BackupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Backup {} of manager {} ({})", self.id, shown(&self.hostname), shown(&self.node_id))?;
        writeln!(f, "  swarm      {} at {}", shown(&self.cluster_id), self.raft_addr)?;
        let (pause, resume) = match self.mode {
            Mode::Cold => ("stop", "start"),
            Mode::Freeze => ("freeze", "thaw"),
        };
        writeln!(f, "  1. copy    {} to {}", shown(self.state_dir.display()), shown(self.snapshot_dir.display()))?;
        writeln!(f, "  2. {pause:7} {}, copy what changed since", joined(&self.units, ", "))?;
        writeln!(f, "  3. {resume:7} {}", joined(&self.units, ", "))?;
        for line in self.found.lines() {
            writeln!(f, "             {}", shown(line))?;
        }
        let to = if self.recipients.is_empty() {
            "no encryption".to_owned()
        } else {
            format!("encrypted to {}", count(self.recipients.len() as u64, "recipient"))
        };
        writeln!(f, "  4. pack    {}, signed, {to}", shown(self.spool_file.display()))?;
        for vault in &self.vaults {
            writeln!(f, "  5. store   {}", shown(vault))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        Ok(())
    }
}

//! What a restore is going to do, decided before anything on the host is touched.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::Result;
use bollard::models::{SwarmInitRequest, SwarmSpec, SwarmSpecCaConfig, SwarmSpecEncryptionConfig};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::{
    BackupId,
    manifest::{Manifest, Proof},
};

use super::version::EngineVersion;
use crate::{
    fault::Fault,
    host::{
        engine::{EngineFacts, SwarmState},
        network::{self, LocalAddress},
        placement::Placement,
    },
    report::count,
};

/// A certificate that begins a little later than this host's clock is a clock that is a little off.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Plain data; printed by `--dry-run`, compared by tests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestorePlan {
    pub id: BackupId,
    /// Vault or file that the archive came from.
    pub source: String,
    pub created_at: Timestamp,
    pub from_host: String,
    pub cluster_id: String,
    pub node_id: String,
    pub raft_addr: SocketAddr,
    /// The interface of this host that has the address.
    pub interface: String,
    pub backup_engine: String,
    pub host_engine: String,
    pub units: Vec<String>,
    pub staging: PathBuf,
    pub state_dir: PathBuf,
    /// The request that forms the one-manager cluster.
    pub init: InitRequest,
    pub notes: Vec<String>,
}

/// The body of `POST /swarm/init`, as far as we set it.
///
/// `DefaultAddrPool` stays out on purpose: without it pool, subnet size and VXLAN port are read from
/// the raft log (swarmkit `manager/manager.go`). Auto-lock and force-rotate must be in: the engine
/// takes their absence as "off" and as "rotate the CA now" (moby `daemon/cluster/convert/swarm.go`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InitRequest {
    pub listen_addr: String,
    pub advertise_addr: String,
    pub data_path_addr: Option<String>,
    pub auto_lock_managers: bool,
    pub force_rotate: u64,
}

/// What was seen of this host when the plan was made.
#[derive(Debug)]
pub struct Seen<'a> {
    pub facts: &'a EngineFacts,
    pub addresses: &'a [LocalAddress],
    /// Old managers of the backup that answered just now.
    pub living: &'a [String],
    pub now: Timestamp,
}

/// What the operator said beyond the choice of a backup.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    /// Replace an active swarm, and restore from an expired certificate.
    pub force: bool,
}

/// What comes of comparing a backup with this host.
#[derive(Debug)]
pub enum Decision {
    Restore(Box<RestorePlan>),
    /// This host is that very manager, and active: there is nothing to do.
    AlreadyThere,
}

impl RestorePlan {
    /// Refuses (exit 4) whatever would do harm on this host.
    pub fn make(
        manifest: &Manifest,
        source: &str,
        units: &[String],
        seen: &Seen<'_>,
        overrides: Overrides,
    ) -> Result<Decision> {
        let swarm = &seen.facts.swarm;
        let is_same = swarm.cluster_id == manifest.cluster_id && swarm.node_id == manifest.node_id;
        if swarm.state == SwarmState::Active && is_same && !overrides.force {
            return Ok(Decision::AlreadyThere);
        }
        check_present_swarm(seen.facts, overrides)?;
        let interface = check_address(manifest, seen.addresses)?;
        check_state(manifest, seen.now)?;
        check_node_certificate(manifest, seen.now, overrides)?;
        check_engine(manifest, seen.facts)?;
        check_fence(seen.living)?;
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
            init: InitRequest::of(manifest),
            notes: notes(manifest, seen),
        })))
    }
}

fn check_present_swarm(facts: &EngineFacts, overrides: Overrides) -> Result<()> {
    let swarm = &facts.swarm;
    if facts.live_restore {
        return Err(Fault::refused(
            "this engine is set to `live-restore`, with which it does not start as part of a swarm",
        )
        .advice("remove `live-restore` from /etc/docker/daemon.json and restart the engine")
        .into());
    }
    let present = match swarm.state {
        SwarmState::Active => format!("this host is an active node of swarm {}", swarm.cluster_id),
        SwarmState::Locked => "this host holds a locked swarm".to_owned(),
        SwarmState::Pending => "this host is joining a swarm".to_owned(),
        SwarmState::Inactive | SwarmState::Error => return Ok(()),
    };
    if overrides.force {
        return Ok(());
    }
    Err(Fault::refused(format!("{present}; a restore would replace it"))
        .advice("restore on a fresh host, or say --force to replace it (its state is moved aside, not deleted)")
        .into())
}

/// The name of the interface that has the swarm's address.
fn check_address(manifest: &Manifest, addresses: &[LocalAddress]) -> Result<String> {
    let wanted = manifest.raft_addr.ip();
    if let Some(local) = addresses.iter().find(|local| local.ip == wanted) {
        return Ok(local.interface.clone());
    }
    let mut fault = Fault::refused(format!(
        "the swarm of this backup lives at {wanted}, and this host has {}",
        network::describe(addresses)
    ))
    .because(anyhow::anyhow!(
        "an engine keeps the old address in its raft log whatever it is told: it would start and hand out join commands to {wanted}"
    ));
    if !manifest.raft_addr_local {
        fault = fault.advice(
            "the address was on no interface of the backed-up host either (NAT): add it to one here for the restore",
        );
    }
    Err(fault
        .advice(format!(
            "give this host the address {wanted} (on EC2: the same private address on its network interface)"
        ))
        .into())
}

fn check_state(manifest: &Manifest, now: Timestamp) -> Result<()> {
    if manifest.autolock {
        return Err(Fault::refused(
            "the swarm of this backup is autolocked, which cannot be restored without its unlock key",
        )
        .advice("choose an older backup from before autolock was switched on (`swarmdr-agent list`)")
        .into());
    }
    if manifest.proof == Proof::Unproven {
        let reason = manifest.proof_reason.as_deref().unwrap_or("no reason was recorded");
        return Err(Fault::refused(format!(
            "the raft log in this backup could not be replayed when it was made: {reason}"
        ))
        .advice("choose another backup (`swarmdr-agent list`)")
        .into());
    }
    if let Some(begin) = manifest.certificate.node_not_before
        && begin > now + CLOCK_TOLERANCE
    {
        return Err(Fault::refused(format!(
            "the certificate of the backup is valid from {begin} on, and this host's clock says {now:.0}"
        ))
        .advice("set this host's clock (`timedatectl`), then try again")
        .into());
    }
    if let Some(end) = manifest.certificate.root_not_after
        && end < now
    {
        return Err(Fault::refused(format!("the root CA of the backup expired at {end}"))
            .advice("no engine accepts it: make a new swarm and deploy the services anew")
            .into());
    }
    Ok(())
}

/// Force-new-cluster takes an expired node certificate and renews it (swarmkit#1919; seen on engine 20.10.24 with
/// the order of this restore). Until that is proven on every engine, it is walked into only when told to.
fn check_node_certificate(manifest: &Manifest, now: Timestamp, overrides: Overrides) -> Result<()> {
    match manifest.certificate.node_not_after {
        Some(end) if end < now && !overrides.force => {
            Err(Fault::refused(format!("the node certificate in the backup expired at {end}"))
                .advice("choose a newer backup (`swarmdr-agent list`)")
                .advice("or say --force: force-new-cluster renews it, and a failure puts back what is here now")
                .into())
        }
        _ => Ok(()),
    }
}

fn check_engine(manifest: &Manifest, facts: &EngineFacts) -> Result<()> {
    let (backup, host) = (EngineVersion::parse(&manifest.engine_version), EngineVersion::parse(&facts.version));
    if let (Some(backup), Some(host)) = (backup, host)
        && host < backup
    {
        return Err(Fault::refused(format!(
            "this host's engine {} is older than the engine {} that wrote the state, and would drop what it does not know",
            facts.version, manifest.engine_version
        ))
        .advice(format!("install engine {} or newer", manifest.engine_version))
        .into());
    }
    Ok(())
}

fn check_fence(living: &[String]) -> Result<()> {
    if living.is_empty() {
        return Ok(());
    }
    Err(Fault::refused(format!(
        "old managers of this swarm are alive at {}: a restored twin would make them delete their state",
        living.join(", ")
    ))
    .advice("if the swarm is well, join this host to it instead: `docker swarm join-token manager` there")
    .advice("if it is to be replaced, shut those managers down or cut them off for good, then say --fenced")
    .into())
}

fn notes(manifest: &Manifest, seen: &Seen<'_>) -> Vec<String> {
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
    if seen.facts.swarm.state == SwarmState::Error {
        notes.push(format!(
            "the swarm on this host does not work ({}); its state is moved aside",
            seen.facts.swarm.error
        ));
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

impl InitRequest {
    fn of(manifest: &Manifest) -> Self {
        let port = manifest.raft_addr.port();
        let any: IpAddr = match manifest.raft_addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let recorded = manifest.restore.listen_addr.clone().filter(|addr| !addr.is_empty());
        Self {
            listen_addr: recorded.unwrap_or_else(|| SocketAddr::new(any, port).to_string()),
            advertise_addr: manifest.raft_addr.to_string(),
            data_path_addr: manifest.restore.data_path_addr.clone().filter(|addr| !addr.is_empty()),
            auto_lock_managers: manifest.restore.auto_lock_managers,
            force_rotate: manifest.restore.force_rotate,
        }
    }

    pub fn to_api(&self) -> SwarmInitRequest {
        SwarmInitRequest {
            listen_addr: Some(self.listen_addr.clone()),
            advertise_addr: Some(self.advertise_addr.clone()),
            data_path_addr: self.data_path_addr.clone(),
            force_new_cluster: Some(true),
            spec: Some(SwarmSpec {
                encryption_config: Some(SwarmSpecEncryptionConfig {
                    auto_lock_managers: Some(self.auto_lock_managers),
                }),
                ca_config: Some(SwarmSpecCaConfig {
                    force_rotate: Some(self.force_rotate),
                    ..SwarmSpecCaConfig::default()
                }),
                ..SwarmSpec::default()
            }),
            ..SwarmInitRequest::default()
        }
    }
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Restore of backup {} from {}", self.id, self.source)?;
        writeln!(f, "  made       {} on {} with engine {}", self.created_at, self.from_host, self.backup_engine)?;
        writeln!(f, "  swarm      {} at {} ({} here)", self.cluster_id, self.raft_addr, self.interface)?;
        writeln!(f, "  engine     {}", self.host_engine)?;
        writeln!(f, "  1. stop    {}", self.units.join(", "))?;
        writeln!(
            f,
            "  2. aside   {} to {}",
            self.state_dir.display(),
            self.state_dir.with_file_name(format!("swarm.before-{}", self.id)).display()
        )?;
        writeln!(f, "  3. place   {} to {}", self.staging.display(), self.state_dir.display())?;
        writeln!(f, "  4. start   {}", self.units.join(", "))?;
        writeln!(
            f,
            "  5. init    force a new cluster that listens on {} and advertises {}",
            self.init.listen_addr, self.init.advertise_addr
        )?;
        writeln!(f, "  6. confirm cluster, node and every object against the backup")?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

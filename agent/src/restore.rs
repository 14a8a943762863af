//! The restore flow: find, plan, fetch, verify, stage, stop, place, start, init, confirm, tidy.
//!
//! Nothing on the host changes before the archive is whole, verified and unpacked beside the old
//! state. From the stop on, every failure, panic and signal puts back what was there.

mod change;
pub mod plan;
mod report;
pub mod version;

use std::{
    fs::File,
    io::{self, Seek},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::{
    BackupId, Identities, Limits, TrustedKeys,
    manifest::Manifest,
    reader::{self, Head},
};

use change::Change;
pub use plan::{Decision, Overrides, RestorePlan};
pub use report::{DeadNode, RestoreReport};

use crate::{
    config::Config,
    fault::Fault,
    host::{
        engine::Engine,
        network::{self, answers},
        placement::Placement,
        space,
    },
    progress::Progress,
    report::{Phases, peak_memory},
    shutdown::Shutdown,
    source::{self, Choice, Source},
    stage,
    swarm::Inventory,
};

/// What a run is asked to do.
#[derive(Debug)]
pub struct Request {
    pub choice: Choice,
    pub overrides: Overrides,
    /// The operator vouches that the old managers are gone.
    pub fenced: bool,
}

/// A run and what it works with.
#[derive(Debug)]
pub struct Restore<'a> {
    pub config: &'a Config,
    pub keys: TrustedKeys,
    pub identities: Arc<Identities>,
    pub shutdown: &'a Shutdown,
    pub progress: Progress,
    pub now: Timestamp,
}

/// A backup that was found: its verified head, and where the rest of it is.
#[derive(Debug)]
pub struct Prepared {
    source: Source,
    head: Head,
    findings: Vec<String>,
}

impl Prepared {
    pub fn id(&self) -> BackupId {
        self.head.manifest.id
    }
}

impl Restore<'_> {
    /// Finds the backup and compares it with this host. Reads only its head; changes nothing.
    pub async fn prepare(&self, request: &Request) -> Result<(Decision, Prepared)> {
        let engine = Engine::at(&self.config.engine.socket);
        let facts = engine.facts().await?;
        let found = Source::find(self.config, &request.choice, &self.keys).await?;
        let manifest = &found.head.manifest;
        let addresses = network::local_addresses()?;
        let living = if request.fenced { Vec::new() } else { self.living_managers(manifest).await };
        let seen = plan::Seen { facts: &facts, addresses: &addresses, living: &living, now: self.now };
        let units = self.config.engine.units();
        let decision = RestorePlan::make(manifest, &found.source.to_string(), &units, &seen, request.overrides)?;
        self.check_can_open(manifest)?;
        Ok((decision, Prepared { source: found.source, head: found.head, findings: found.findings }))
    }

    fn check_can_open(&self, manifest: &Manifest) -> Result<()> {
        if !manifest.is_encrypted() || !self.identities.is_empty() {
            return Ok(());
        }
        Err(Fault::usage(format!("the backup is encrypted to {}", manifest.payload.recipients.join(", ")))
            .advice(
                "name the file with one of their identities: `--identity FILE`, or identity_file in the configuration",
            )
            .into())
    }

    /// Old managers, other than the one that is restored, that accept a connection on their raft port.
    async fn living_managers(&self, manifest: &Manifest) -> Vec<String> {
        let limit = Duration::from_millis(self.config.restore.fence_timeout_ms);
        let probes = manifest.managers.iter().filter_map(|manager| {
            let address: SocketAddr = manager.addr.parse().ok()?;
            (address != manifest.raft_addr).then_some(async move {
                answers(address, limit).await.then(|| match &manager.hostname {
                    Some(hostname) => format!("{address} ({hostname})"),
                    None => address.to_string(),
                })
            })
        });
        futures_util::future::join_all(probes).await.into_iter().flatten().collect()
    }

    /// Brings the whole archive here and checks every byte of it, unpacking nothing.
    pub async fn rehearse(&self, prepared: &Prepared) -> Result<()> {
        let archive = self.fetch(prepared, &source::scratch_dir()).await?;
        let (keys, identities) = (self.keys.clone(), Arc::clone(&self.identities));
        let check =
            move || reader::unpack(io::BufReader::new(archive), &keys, &identities, &Limits::default(), &mut ());
        tokio::task::spawn_blocking(check).await.context("the check ended unexpectedly")??;
        Ok(())
    }

    /// Does what was planned; puts back what was there if it cannot.
    pub async fn run(&self, plan: RestorePlan, prepared: Prepared) -> Result<RestoreReport> {
        let mut phases = Phases::new();
        let data_root = plan.state_dir.parent().context("the state directory has no parent")?.to_owned();
        let placement = Placement::new(&data_root, &plan.id.to_string())?;

        let needed = prepared.head.archive_size + prepared.head.manifest.payload.tar_size;
        space::require(&data_root, needed, "the archive and the state that is unpacked from it")?;

        phases.begin("fetch");
        let archive = self.fetch(&prepared, &data_root).await?;
        phases.begin("stage");
        let staged = self.stage(archive, &prepared.head.manifest, &placement).await;
        let staged = staged.inspect_err(|_| placement.tidy())?;
        let recorded: Inventory = serde_json::from_value(staged.contents.inventory)
            .context("the backup holds no inventory that this version understands")?;

        let confirmed = Change::new(self, &plan, &placement).await?.carry_out(&recorded, &mut phases).await;
        placement.tidy();
        let confirmed = confirmed?;
        Ok(RestoreReport {
            result: "done",
            counts: prepared.head.manifest.counts,
            differences: confirmed.differences,
            aside: placement.aside().filter(|aside| aside.exists()).map(Path::to_owned),
            dead_nodes: confirmed.dead_nodes,
            findings: prepared.findings,
            phases: phases.finish(),
            peak_memory: peak_memory(),
            plan,
        })
    }

    /// The archive as an open file that has no name here, so that nothing is left of it whatever happens.
    async fn fetch(&self, prepared: &Prepared, scratch: &Path) -> Result<File> {
        let size = prepared.head.archive_size;
        let fetch = prepared.source.fetch(size, scratch, self.progress);
        let mut archive = self.shutdown.or_interrupted(fetch).await?;
        let keys = self.keys.clone();
        let verified = tokio::task::spawn_blocking(move || -> Result<File> {
            archive.rewind()?;
            reader::verify_stored(io::BufReader::new(&mut archive), &keys)?;
            archive.rewind()?;
            Ok(archive)
        });
        verified.await.context("the verification ended unexpectedly")?.with_context(|| {
            format!("backup {} from {} is not whole; nothing was changed", prepared.id(), prepared.source)
        })
    }

    async fn stage(&self, archive: File, manifest: &Manifest, placement: &Placement) -> Result<stage::Staged> {
        let staging = placement.make_staging()?;
        let (keys, identities) = (self.keys.clone(), Arc::clone(&self.identities));
        let bar = self.progress.bytes("unpack", manifest.payload.tar_size);
        let shutdown = self.shutdown.clone();
        let stage = tokio::task::spawn_blocking(move || {
            let archive = io::BufReader::new(archive);
            let unpacked = stage::unpack(archive, &keys, &identities, &staging, bar, &shutdown)?;
            stage::make_ready(unpacked, &staging)
        });
        stage
            .await
            .context("the unpacking ended unexpectedly")?
            .context("the backup cannot be restored; nothing was changed")
    }
}

//! The drill: boots a stored backup in a [second engine](crate::host::second_engine) on this host, lets the engine say
//! what came back, compares that with what was recorded, and takes everything down again.
//!
//! What the host is asked for and does not have is an error. What the backup is found to be, good or bad, is the
//! result: it is signed and stored beside the backup as a [`Receipt`].

pub mod receipt;
pub mod receipts;
mod report;

use std::{
    fs::File,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_archive::{BackupId, Identities, TrustedKeys, manifest::Manifest, reader::Head};

pub use receipt::{Outcome, Receipt};
pub use report::{DrillReport, Summary};

use crate::{
    config::Config,
    fault::Fault,
    faults,
    host::{
        engine::Engine,
        second_engine::{SecondEngine, Spec},
        space,
        systemd::Systemd,
    },
    identities,
    progress::Progress,
    random,
    report::Phases,
    restore::{
        self,
        plan::{checks, old_addresses},
    },
    scratch::Scratch,
    shutdown::Shutdown,
    source::Source,
    stage::{self, Staged},
    swarm::{self, Inventory},
    unlock_key::GivenKey,
};

/// The directory of the host's engine if nobody can be asked.
const USUAL_DATA_ROOT: &str = "/var/lib/docker";

/// A run and what it works with.
#[derive(Debug)]
pub struct Drill<'a> {
    pub config: &'a Config,
    pub keys: TrustedKeys,
    pub identities: Arc<Identities>,
    /// Opens an autolocked state.
    pub unlock_key: Option<GivenKey>,
    pub shutdown: &'a Shutdown,
    pub progress: Progress,
    pub now: Timestamp,
}

/// What the second engine said, and what it took.
#[derive(Debug, Default)]
struct Seen {
    engine: String,
    peak_memory: Option<u64>,
    booted_in: Option<Duration>,
}

impl Drill<'_> {
    /// Boots one backup. An error is about this host or this run, and says nothing of the backup.
    pub async fn rehearse(&self, source: &Source, head: &Head, findings: Vec<String>) -> Result<DrillReport> {
        let since = Instant::now();
        let mut phases = Phases::new();
        let manifest = &head.manifest;
        identities::require(&self.identities, manifest).map_err(|fault| {
            fault.advice("or hold the drill on a host that has one: any host with the engine's packages will do")
        })?;
        checks::state(manifest, self.unlock_key.is_some(), self.now)?;
        let needed = manifest.payload.tar_size;
        space::require(existing(&self.config.state_dir), needed, "the state that is booted")?;
        let id = BackupId::new(self.now, random::tag()?);
        phases.begin("fetch");
        let scratch = Scratch::make(self.config, source.room(head))?;
        let archive = source.fetch(head.archive_size, scratch.path(), self.progress);
        let archive = self.shutdown.or_interrupted(archive).await?;
        let mut seen = Seen::default();
        let result = self.boot(archive, manifest, id, &mut seen, &mut phases).await;
        let problem = match result {
            Ok(()) => None,
            Err(Failure::OfHost(error)) => return Err(error),
            Err(Failure::OfBackup(error)) => {
                // Interrupted, it says nothing of the backup.
                self.shutdown.check()?;
                Some(format!("{error:#}"))
            }
        };
        let receipt = Receipt {
            version: receipt::VERSION,
            id,
            backup: manifest.id,
            cluster_id: manifest.cluster_id.clone(),
            manifest_digest: head.manifest_digest,
            at: self.now,
            host: hostname(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            engine: seen.engine,
            outcome: if problem.is_none() { Outcome::Proven } else { Outcome::Failed },
            problem,
            seconds: since.elapsed().as_secs_f64(),
            counts: manifest.counts,
        };
        let mut report = DrillReport::new(receipt, source.to_string(), findings);
        report.booted_ms = seen.booted_in.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        report.peak_memory = seen.peak_memory;
        phases.begin("receipt");
        self.keep_receipt(source, &mut report).await;
        report.phases = phases.finish();
        Ok(report)
    }

    /// Everything between the archive and a swarm that was compared. When it returns nothing of it is left.
    async fn boot(
        &self,
        archive: File,
        manifest: &Manifest,
        id: BackupId,
        seen: &mut Seen,
        phases: &mut Phases,
    ) -> Result<(), Failure> {
        phases.begin("make");
        let host = |error| Failure::OfHost(error);
        let systemd = Systemd::connect().await.map_err(host)?;
        let own = [self.data_root(&systemd).await, self.config.engine.socket.clone()];
        let spec = Spec::new("drill", id, old_addresses(manifest), own);
        let mut second = SecondEngine::make(&systemd, self.config, &spec).await.map_err(host)?;
        faults::reach("drill-made");
        let work = self.in_it(&mut second, archive, manifest, seen, phases);
        let result = self.shutdown.or_interrupted(async { Ok(work.await) }).await;
        let result = match result {
            Ok(Err(Failure::OfBackup(error))) => Ok(Err(blame(error, second.killed().await))),
            other => other,
        };
        seen.peak_memory = second.peak_memory().await;
        phases.begin("end");
        second.end().await.map_err(host)?;
        result.map_err(host)?
    }

    async fn in_it(
        &self,
        second: &mut SecondEngine,
        archive: File,
        manifest: &Manifest,
        seen: &mut Seen,
        phases: &mut Phases,
    ) -> Result<(), Failure> {
        let backup = |error| Failure::OfBackup(error);
        phases.begin("stage");
        let staged = self.stage(archive, second, manifest).await.map_err(Failure::of_staging)?;
        faults::reach("drill-staged");
        phases.begin("boot");
        let limit = Duration::from_secs(self.config.engine.start_timeout);
        let since = Instant::now();
        let facts = second.boot(limit).await.map_err(backup)?;
        seen.engine.clone_from(&facts.version);
        faults::reach("drill-booted");
        checks::engine_version(manifest, &facts).map_err(Failure::OfHost)?;
        phases.begin("init");
        if let Some(key) = self.unlock_key.as_ref().filter(|_| manifest.autolock) {
            second.lay_open(key.for_state()).map_err(backup)?;
        }
        let limit = Duration::from_secs(self.config.restore.init_timeout);
        let formed = restore::form_apart(second.engine(), manifest, staged.examined.inventory.as_ref(), limit).await;
        formed.map_err(|error| Failure::OfBackup(second.in_its_own_words(error)))?;
        seen.booted_in = Some(since.elapsed());
        faults::reach("drill-formed");
        phases.begin("compare");
        let recorded: Inventory = staged.recorded().map_err(backup)?;
        restore::compare_apart(second.engine(), manifest, &recorded).await.map_err(backup)
    }

    async fn stage(&self, archive: File, second: &SecondEngine, manifest: &Manifest) -> Result<Staged> {
        let keys = stage::Keys {
            trusted: self.keys.clone(),
            identities: Arc::clone(&self.identities),
            unlock_key: self.unlock_key.clone(),
        };
        let bar = self.progress.bytes("unpack", manifest.payload.tar_size);
        let staged = stage::stage(archive, second.state_dir(), keys, bar, self.shutdown.clone()).await?;
        checks::staged(&staged.examined, manifest, self.now)?;
        Ok(staged)
    }

    /// Where the host's engine keeps its data. One that is stopped is not asked: the question would start it.
    async fn data_root(&self, systemd: &Systemd) -> std::path::PathBuf {
        let engine = &self.config.engine;
        let runs = systemd.state(&engine.service).await.is_ok_and(|state| state.is_active());
        let facts = if runs { Engine::at(&engine.socket).facts().await.ok() } else { None };
        facts.map_or_else(|| USUAL_DATA_ROOT.into(), |facts| facts.data_root)
    }

    /// A drill without a receipt is still a drill: what keeps it from being stored is told.
    async fn keep_receipt(&self, source: &Source, report: &mut DrillReport) {
        let Source::Vault { vault, .. } = source else {
            report.not_stored = Some("the archive came from a file");
            return;
        };
        // One that is made here and now would be trusted by nobody.
        if !self.config.signing_key_path().exists() {
            report.not_stored = Some("this host has no signing key");
            return;
        }
        match receipts::store_in(vault.as_ref(), self.config, &report.receipt).await {
            Ok(key) => report.stored_as = Some(key),
            Err(error) => report.attention.push(format!("the receipt could not be stored: {error:#}")),
        }
    }
}

/// An engine that was killed says nothing of what it ran on.
fn blame(error: anyhow::Error, killed: Option<String>) -> Failure {
    let Some(how) = killed else { return Failure::OfBackup(error) };
    Failure::OfHost(
        Fault::failed(format!("the second engine was ended from outside ({how}), so nothing was proven"))
            .advice(
                "if `journalctl -k` says that memory ran out: an engine needs about four times the size of the state; \
                 hold the drill on a host that has it, a worker will do",
            )
            .because(error)
            .into(),
    )
}

/// Whose fault it is.
enum Failure {
    OfHost(anyhow::Error),
    OfBackup(anyhow::Error),
}

impl Failure {
    /// With keys that do not fit, or on a disk that is full, the backup may be as good as any.
    fn of_staging(error: anyhow::Error) -> Self {
        let of_host = error.chain().any(|cause| {
            let keys = matches!(
                cause.downcast_ref::<swarmdr_archive::Error>(),
                Some(swarmdr_archive::Error::WrongIdentity { .. } | swarmdr_archive::Error::NeedsIdentity { .. })
            ) || matches!(cause.downcast_ref::<swarm::Error>(), Some(swarm::Error::WrongUnlockKey { .. }));
            keys || cause.downcast_ref::<io::Error>().is_some_and(|error| OF_HOST.contains(&error.kind()))
        });
        if of_host { Self::OfHost(error) } else { Self::OfBackup(error) }
    }
}

const OF_HOST: [io::ErrorKind; 6] = [
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ReadOnlyFilesystem,
    io::ErrorKind::OutOfMemory,
    io::ErrorKind::Interrupted,
];

fn hostname() -> String {
    // Not from /proc: a hardened unit sees processes there and nothing else.
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The directory itself, or the nearest one above it that is there.
fn existing(dir: &std::path::Path) -> &std::path::Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

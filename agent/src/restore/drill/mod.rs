//! The drill: starts a [second engine](crate::host::second_engine) on this host with the state of a stored backup,
//! compares what the engine lists with what was recorded, and removes everything again.
//!
//! Something that the host lacks is an error. A backup that turns out good or bad is a result: it is signed and stored
//! next to the backup as a [`Receipt`].

mod items;
pub mod receipt;
pub mod receipts;
mod report;

use std::time::{Duration, Instant};

use anyhow::Result;
use swarmdr_archive::{BackupId, manifest::Manifest, reader::Head};

pub use items::ItemsOutcome;
pub use receipt::{Outcome, Receipt};
pub use report::{DrillReport, Summary};
use swarm_state::{self, Inventory};

use crate::{
    archive::{
        blame,
        fetched::Fetched,
        scratch::Scratch,
        source::{Found, Source},
        specs::Specs,
        stage::Staged,
    },
    host::{
        engine::Engine,
        files::space,
        name::hostname,
        random,
        second_engine::{SecondEngine, Spec},
        systemd::Systemd,
    },
    keys::{Keyring, identities},
    outcome::{failpoint, failure::Failure, phases::Phases},
    restore::{
        self,
        plan::{checks, old_addresses},
    },
    run::Run,
};

/// Data root of the host's engine if the engine cannot be asked.
const USUAL_DATA_ROOT: &str = "/var/lib/docker";

/// A drill run and its context.
#[derive(Debug)]
pub struct Drill<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
}

/// Version, peak memory and start time of the second engine.
#[derive(Debug, Default)]
struct Seen {
    engine: String,
    peak_memory: Option<u64>,
    booted_in: Option<Duration>,
    /// What is not the same of the specs of single objects; absent if they were not compared.
    items: Option<Vec<String>>,
}

impl Drill<'_> {
    /// Drills one backup. An error is about this host or this run, and says nothing about the backup.
    pub async fn rehearse(&self, found: &Found) -> Result<DrillReport> {
        let Found { source, head, findings, .. } = found;
        let since = Instant::now();
        let mut phases = Phases::new();
        let manifest = &head.manifest;
        self.check(manifest)?;
        let id = BackupId::new(self.run.now, random::tag()?);
        phases.begin("fetch");
        let scratch = Scratch::make(self.run.config, source.room(head))?;
        let archive = Fetched::get(&self.run, found, scratch.path()).await?;
        let mut seen = Seen::default();
        let result = self.boot(archive, manifest, id, &mut seen, &mut phases).await;
        let problem = match result {
            Ok(()) => None,
            Err(Blame::Host(error)) => return Err(error),
            Err(Blame::Backup(error)) => {
                // An interrupted drill says nothing about the backup.
                self.run.shutdown.check()?;
                Some(format!("{error:#}"))
            }
        };
        let seconds = since.elapsed().as_secs_f64();
        let compared = seen.items.as_deref().map(ItemsOutcome::of);
        let receipt = Receipt { items: compared, ..self.receipt(id, head, seen.engine, problem, seconds) };
        let mut report = DrillReport::new(receipt, source.to_string(), findings.clone());
        report.attention.extend(seen.items.into_iter().flatten());
        report.booted_ms = seen.booted_in.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        report.peak_memory = seen.peak_memory;
        phases.begin("receipt");
        self.keep_receipt(source, &mut report).await;
        report.phases = phases.finish();
        Ok(report)
    }

    /// Checks that this host can read and hold the backup.
    fn check(&self, manifest: &Manifest) -> Result<()> {
        identities::require(&self.keyring.identities, manifest).map_err(|failure| {
            failure.advice("or hold the drill on a host that has one: any host with the engine's packages will do")
        })?;
        checks::state(manifest, self.keyring.unlock_key.is_some(), self.run.now)?;
        let needed = manifest.payload.tar_size;
        space::require(existing(&self.run.config.state_dir), needed, "the state that is booted")
    }

    fn receipt(&self, id: BackupId, head: &Head, engine: String, problem: Option<String>, seconds: f64) -> Receipt {
        let manifest = &head.manifest;
        Receipt {
            version: receipt::VERSION,
            id,
            backup: manifest.id,
            cluster_id: manifest.cluster_id.clone(),
            manifest_digest: head.manifest_digest,
            at: self.run.now,
            host: hostname(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            engine,
            outcome: if problem.is_none() { Outcome::Proven } else { Outcome::Failed },
            problem,
            seconds,
            counts: manifest.counts,
            items: None,
        }
    }

    /// Does everything from the archive to a swarm that was compared. Nothing of it is left when this returns.
    async fn boot(
        &self,
        archive: Fetched,
        manifest: &Manifest,
        id: BackupId,
        seen: &mut Seen,
        phases: &mut Phases,
    ) -> Result<(), Blame> {
        phases.begin("make");
        let host = |error| Blame::Host(error);
        let systemd = Systemd::connect().await.map_err(host)?;
        let own = [self.data_root(&systemd).await, self.run.config.engine.socket.clone()];
        let spec = Spec::new("drill", id, old_addresses(manifest), own);
        let mut second = SecondEngine::make(&systemd, self.run.config, &spec).await.map_err(host)?;
        failpoint::reach("drill-made");
        let work = self.in_it(&mut second, archive, manifest, seen, phases);
        let result = self.run.shutdown.or_interrupted(async { Ok(work.await) }).await;
        let result = match result {
            Ok(Err(Blame::Backup(error))) => Ok(Err(blame(error, second.killed().await))),
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
        archive: Fetched,
        manifest: &Manifest,
        seen: &mut Seen,
        phases: &mut Phases,
    ) -> Result<(), Blame> {
        let backup = |error| Blame::Backup(error);
        phases.begin("stage");
        let staged = self.stage(archive, second, manifest).await.map_err(Blame::of_staging)?;
        failpoint::reach("drill-staged");
        phases.begin("boot");
        let limit = self.run.config.engine.start_timeout.duration();
        let since = Instant::now();
        let facts = second.boot(limit).await.map_err(backup)?;
        seen.engine.clone_from(&facts.version);
        failpoint::reach("drill-booted");
        checks::engine_version(manifest, &facts).map_err(Blame::Host)?;
        phases.begin("init");
        if let Some(key) = self.keyring.unlock_key.as_ref().filter(|_| manifest.autolock) {
            second.decrypt_key(key.for_state()).map_err(backup)?;
        }
        let limit = self.run.config.restore.init_timeout.duration();
        let formed = restore::form_apart(second.engine(), manifest, staged.examined.inventory.as_ref(), limit).await;
        formed.map_err(|error| Blame::Backup(second.with_engine_log(error)))?;
        seen.booted_in = Some(since.elapsed());
        failpoint::reach("drill-formed");
        phases.begin("compare");
        let recorded: Inventory = staged.recorded().map_err(backup)?;
        restore::compare_apart(second.engine(), manifest, &recorded).await.map_err(backup)?;
        // Another question than whether the swarm comes back: a backup without an answer to it is still proven.
        let compared = items::compare(second.engine(), &staged.items).await;
        seen.items =
            Some(compared.unwrap_or_else(|error| vec![format!("single objects were not compared: {error:#}")]));
        Ok(())
    }

    async fn stage(&self, archive: Fetched, second: &SecondEngine, manifest: &Manifest) -> Result<Staged> {
        let staged = archive.stage(second.state_dir(), &self.keyring, Specs::Read).await?;
        checks::staged(&staged.examined, manifest, self.run.now)?;
        Ok(staged)
    }

    /// Returns the data root of the host's engine. An engine that is stopped is not asked: the request would start it.
    async fn data_root(&self, systemd: &Systemd) -> std::path::PathBuf {
        let engine = &self.run.config.engine;
        let runs = systemd.state(&engine.service).await.is_ok_and(|state| state.is_active());
        let facts = if runs { Engine::at(&engine.socket).facts().await.ok() } else { None };
        facts.map_or_else(|| USUAL_DATA_ROOT.into(), |facts| facts.data_root)
    }

    /// Signs and stores the receipt. A drill without a receipt is still a drill: the reason is reported.
    async fn keep_receipt(&self, source: &Source, report: &mut DrillReport) {
        let Source::Vault { vault, .. } = source else {
            report.not_stored = Some("the archive came from a file");
            return;
        };
        // A key that is made here and now would not be trusted anywhere.
        if !self.run.config.signing_key_path().exists() {
            report.not_stored = Some("this host has no signing key");
            return;
        }
        match receipts::store_in(vault.as_ref(), self.run.config, &report.receipt).await {
            Ok(key) => report.stored_as = Some(key),
            Err(error) => report.attention.push(format!("the receipt could not be stored: {error:#}")),
        }
    }
}

/// Blames the host for an engine that was killed: that says nothing about the backup.
fn blame(error: anyhow::Error, killed: Option<String>) -> Blame {
    let Some(how) = killed else { return Blame::Backup(error) };
    Blame::Host(
        Failure::failed(format!("the second engine was ended from outside ({how}), so nothing was proven"))
            .advice(
                "if `journalctl -k` says that memory ran out: an engine needs about four times the size of the state; \
                 hold the drill on a host that has it, a worker will do",
            )
            .because(error)
            .into(),
    )
}

/// The subject of a failure.
enum Blame {
    Host(anyhow::Error),
    Backup(anyhow::Error),
}

impl Blame {
    /// Blames the host for keys that do not fit and for a full disk: the backup may be good.
    fn of_staging(error: anyhow::Error) -> Self {
        let is_of_keys = error.chain().any(|cause| {
            matches!(
                cause.downcast_ref::<swarmdr_archive::Error>(),
                Some(swarmdr_archive::Error::WrongIdentity { .. } | swarmdr_archive::Error::NeedsIdentity { .. })
            ) || matches!(cause.downcast_ref::<swarm_state::Error>(), Some(swarm_state::Error::WrongUnlockKey { .. }))
        });
        if is_of_keys || blame::is_of_host(&error) { Self::Host(error) } else { Self::Backup(error) }
    }
}

/// Returns the directory itself, or its nearest ancestor that exists.
fn existing(dir: &std::path::Path) -> &std::path::Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

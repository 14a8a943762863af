//! The restore flow: wait, settle, find, plan, fetch, verify, stage, stop, place, start, init, confirm, tidy.
//!
//! Nothing on the host changes before the archive is whole, verified and unpacked beside the old
//! state. From the stop on, every failure, panic and signal puts back what was there; a run that is killed leaves a
//! journal, with which the next one finishes it or puts back what was there.

mod change;
mod confirm;
pub(crate) mod fence;
mod formation;
pub(crate) mod holding;
pub(crate) mod journal;
pub mod plan;
mod prune;
mod readdress;
mod ready;
mod report;
mod settle;
mod strictness;
pub mod unfinished;
pub mod version;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek},
    net::SocketAddr,
    path::{Path, PathBuf},
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

pub(crate) use change::Change;
pub(crate) use formation::{compare_apart, form_apart};
pub(crate) use holding::KEY_LIMIT;
use holding::{Holding, OnDisk, Wanted};
use journal::{Journal, Record};
pub use plan::{Decision, Overrides, Readdress, RestorePlan};
pub use ready::Waits;
pub use report::{DeadNode, Readdressed, RestoreReport};

use crate::{
    config::Config,
    fault::Fault,
    faults,
    host::{
        engine::{Engine, EngineFacts},
        key_file, network,
        placement::Placement,
        space,
    },
    identities,
    progress::Progress,
    report::Phases,
    scratch::Scratch,
    shutdown::Shutdown,
    source::{Choice, Source},
    stage,
    swarm::{Examined, identity::usable},
    unlock_key::GivenKey,
    vault::catalog::Filter,
};

/// What a new manager writes before it works, in bytes: two log segments, allocated in advance (etcd `wal.SegmentSizeBytes`).
pub(crate) const FORMING: u64 = 2 * 64 * 1024 * 1024;

/// What a run is asked to do.
#[derive(Debug)]
pub struct Request {
    pub choice: Choice,
    pub overrides: Overrides,
    /// The operator vouches that the old managers are gone.
    pub fenced: bool,
    pub waits: Waits,
    pub dry_run: bool,
}

/// A run and what it works with.
#[derive(Debug)]
pub struct Restore<'a> {
    pub config: &'a Config,
    pub keys: TrustedKeys,
    pub identities: Arc<Identities>,
    /// Opens an autolocked state.
    pub unlock_key: Option<GivenKey>,
    /// Remove old managers from the restored swarm once they have been away for the configured grace.
    pub prune_dead: bool,
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
    terms: Terms,
    /// What lay on this host's disk when the plan was made.
    on_disk: OnDisk,
    was_unlocked: bool,
}

/// What of a request counts when a backup is compared with this host.
#[derive(Debug, Clone)]
struct Terms {
    overrides: Overrides,
    fenced: bool,
    /// The newest backup was asked for, whichever that is.
    newest: bool,
}

impl Prepared {
    pub fn id(&self) -> BackupId {
        self.head.manifest.id
    }

    /// Whether this host's engine was unlocked, to see what it holds.
    pub fn was_unlocked(&self) -> bool {
        self.was_unlocked
    }

    /// What was met in the vaults that somebody should look at.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }
}

impl Restore<'_> {
    /// Finds the backup and compares it with this host. Reads only its head. Changes nothing but an engine that does not
    /// work with the state on this host's disk: that one may be started, unlocked or restarted, unless it is a dry run.
    pub async fn prepare(&self, request: &Request) -> Result<(Decision, Prepared)> {
        let facts = self.await_engine(request.waits.engine, !request.dry_run).await?;
        if !request.overrides.force {
            unfinished::require_mounted(self.config, &facts.data_root)?;
        }
        let heals = !request.dry_run && !request.overrides.force;
        let unlocked_first = heals && self.heal_restored(&facts, request.waits).await?;
        let found = self.await_backup(request.waits.vault, &request.choice).await?;
        let manifest = &found.head.manifest;
        let wanted = manifest.raft_addr.ip();
        let elsewhere = request.overrides.readdress.is_some();
        let is_awaited = !elsewhere && !request.overrides.address_elsewhere;
        let limit = if is_awaited { request.waits.address } else { Duration::ZERO };
        self.await_address(limit, wanted).await?;
        // Only now: what the waits above were for may be what the swarm on this host was waiting for too.
        let holding = match request.overrides.force {
            true => self.look().await?,
            false => {
                let node_id = (!elsewhere).then_some(manifest.node_id.as_str());
                let wanted = Wanted { cluster_id: &manifest.cluster_id, node_id };
                self.await_settled(wanted, request.waits.engine, !request.dry_run).await?
            }
        };
        let terms = Terms {
            overrides: request.overrides.clone(),
            fenced: request.fenced,
            newest: matches!(request.choice, Choice::Vaults(Filter { id: None, before: None, .. })),
        };
        let decision = self.decide(manifest, &found.source, &holding, &terms).await?;
        if matches!(decision, Decision::Restore(_)) {
            identities::require(&self.identities, manifest)?;
        }
        let prepared = Prepared {
            source: found.source,
            head: found.head,
            findings: found.findings,
            terms,
            on_disk: holding.on_disk,
            was_unlocked: holding.was_unlocked || unlocked_first,
        };
        Ok((decision, prepared))
    }

    /// A state that a receipt calls this host's own is brought to work before anything is asked of a vault: it needs none.
    /// True if its engine was unlocked for that.
    async fn heal_restored(&self, facts: &EngineFacts, waits: Waits) -> Result<bool> {
        let Some(journal) = Journal::read(&facts.data_root)? else { return Ok(false) };
        let plan = &journal.record.plan;
        if journal.record.restored().is_none() || plan.readdress.is_some() {
            return Ok(false);
        }
        let wanted = Wanted { cluster_id: &plan.cluster_id, node_id: Some(&plan.node_id) };
        if !wanted.is(&OnDisk::read(&facts.data_root.join("swarm"))) {
            return Ok(false);
        }
        if plan.interface.is_some() {
            self.await_address(waits.address, plan.raft_addr.ip()).await?;
        }
        Ok(self.await_settled(wanted, waits.engine, true).await?.was_unlocked)
    }

    async fn decide(&self, manifest: &Manifest, source: &Source, holding: &Holding, terms: &Terms) -> Result<Decision> {
        let facts = &holding.facts;
        let elsewhere = terms.overrides.readdress.is_some();
        let (living, unasked) = match terms.fenced {
            true => Default::default(),
            false => self.living_managers(manifest, elsewhere, holding).await,
        };
        let receipt = Journal::read(&facts.data_root)?.and_then(|journal| journal.record.restored());
        let seen = plan::Seen {
            facts,
            addresses: &network::local_addresses()?,
            living: &living,
            unasked: &unasked,
            on_disk: &holding.on_disk,
            receipt,
            newest: terms.newest,
            has_unlock_key: self.unlock_key.is_some(),
            now: self.now,
        };
        let units = self.config.engine.units();
        let decision = RestorePlan::make(manifest, &source.to_string(), &units, &seen, &terms.overrides)?;
        if let Decision::Restore(plan) = &decision {
            self.require_port(plan).await?;
        }
        Ok(decision)
    }

    /// What this host holds at this moment.
    async fn look(&self) -> Result<Holding> {
        let facts = Engine::at(&self.config.engine.socket).facts().await?;
        Ok(Holding { on_disk: OnDisk::read(&facts.data_root.join("swarm")), facts, was_unlocked: false })
    }

    /// Old managers that accept a connection on their raft port, and those that could not be asked: those of the backup,
    /// and those of the same swarm in the state that is replaced, which may have joined since. The one that is restored is
    /// among them where this host does not have its address.
    async fn living_managers(
        &self,
        manifest: &Manifest,
        elsewhere: bool,
        holding: &Holding,
    ) -> (Vec<String>, Vec<String>) {
        let mut others: BTreeMap<SocketAddr, Option<&str>> = BTreeMap::new();
        if holding.on_disk.held().is_some_and(|held| held.cluster_id == manifest.cluster_id) {
            let peers = self.present_peers(&holding.facts.data_root.join("swarm")).await;
            others.extend(peers.into_iter().map(|addr| (addr, None)));
        }
        others.extend(
            manifest.managers.iter().filter_map(|manager| Some((usable(&manager.addr)?, manager.hostname.as_deref()))),
        );
        match elsewhere {
            true => others.insert(manifest.raft_addr, Some(manifest.hostname.as_str())),
            false => others.remove(&manifest.raft_addr),
        };
        let asked = self.ask_managers(&others.keys().copied().collect::<Vec<_>>()).await;
        let living = asked.living.iter().map(|addr| match others.get(addr) {
            Some(Some(hostname)) => format!("{addr} ({hostname})"),
            _ => addr.to_string(),
        });
        (living.collect(), asked.unasked_from(elsewhere))
    }

    /// Looks and decides once more, right before the engine is stopped: the archive may have taken long to come. Managers
    /// that the unpacked state knows are asked too: the manifest is what its writer says of it.
    async fn check_again(&self, prepared: &Prepared, staged: &Examined) -> Result<()> {
        if !prepared.terms.fenced {
            let elsewhere = prepared.terms.overrides.readdress.is_some();
            let asked = self.ask_managers(&holding::peers(staged)).await;
            plan::checks::fence(&asked.living)?;
            fence::require_asked(&asked.unasked_from(elsewhere))?;
        }
        let holding = self.look().await?;
        let what = if holding.on_disk == prepared.on_disk {
            let decided = self.decide(&prepared.head.manifest, &prepared.source, &holding, &prepared.terms).await?;
            match decided {
                Decision::Restore(_) => return Ok(()),
                Decision::AlreadyThere | Decision::AlreadyThereLocked => "its swarm works again",
            }
        } else {
            "another state lies on its disk"
        };
        Err(Fault::refused(format!(
            "this host changed while the backup was made ready for it: {what}; nothing was changed by this run"
        ))
        .advice("see `docker info` and `docker node ls`; run it again if the swarm there is still to be replaced")
        .into())
    }

    /// Brings the whole archive here and checks every byte of it, unpacking nothing.
    pub async fn rehearse(&self, prepared: &Prepared) -> Result<()> {
        let scratch = Scratch::make(self.config, prepared.source.room(&prepared.head))?;
        let archive = self.fetch(prepared, scratch.path()).await?;
        let (keys, identities) = (self.keys.clone(), Arc::clone(&self.identities));
        let check =
            move || reader::unpack(io::BufReader::new(archive), &keys, &identities, &Limits::default(), &mut ());
        tokio::task::spawn_blocking(check).await.context("the check ended unexpectedly")??;
        Ok(())
    }

    /// Does what was planned; puts back what was there if it cannot.
    pub async fn run(&self, plan: RestorePlan, prepared: Prepared) -> Result<RestoreReport> {
        if let Some(target) = plan.readdress.clone() {
            return Box::pin(self.run_elsewhere(plan, target, prepared)).await;
        }
        let mut phases = Phases::new();
        let data_root = plan.state_dir.parent().context("the state directory has no parent")?.to_owned();
        let placement = Placement::new(&data_root, &plan.id.to_string())?;

        let needed = prepared.head.archive_size + prepared.head.manifest.payload.tar_size + FORMING + journal::START;
        space::require(
            &data_root,
            needed,
            "the archive, the state that is unpacked from it and the new manager's log",
        )?;

        // Whatever ends this run, the next one finds what lies there.
        let is_new = unfinished::note_data_root(self.config, &data_root);
        let journal = self.make_ready(plan, &prepared, &placement, &mut phases).await.inspect_err(|_| {
            placement.tidy();
            if is_new {
                unfinished::forget_data_root(self.config);
            }
        })?;
        let change = Change::new(self, placement, journal).await?.only_over(prepared.on_disk);
        let mut report = change.carry_out(&mut phases).await?;
        report.findings.extend(prepared.findings);
        report.phases = phases.finish();
        Ok(report)
    }

    /// Unpacks the state beside the old one, looks at this host once more, and writes the first record of the journal.
    async fn make_ready(
        &self,
        plan: RestorePlan,
        prepared: &Prepared,
        placement: &Placement,
        phases: &mut Phases,
    ) -> Result<Journal> {
        let data_root = plan.state_dir.parent().context("the state directory has no parent")?.to_owned();
        let manifest = &prepared.head.manifest;
        phases.begin("fetch");
        let archive = self.fetch(prepared, &data_root).await?;
        phases.begin("stage");
        let staging = placement.make_staging()?;
        let staged = self.stage(archive, manifest, staging.clone()).await?;
        let record = self.record(plan, manifest, &staged, placement, &staging)?;
        faults::reach("staged");
        self.check_again(prepared, &staged.examined).await?;
        Journal::begin(&data_root, record)
    }

    /// The archive as an open file that has no name here, so that nothing is left of it whatever happens.
    async fn fetch(&self, prepared: &Prepared, scratch: &Path) -> Result<File> {
        let size = prepared.head.archive_size;
        let fetch = prepared.source.fetch(size, scratch, self.progress);
        let mut archive = self.shutdown.or_interrupted(fetch).await?;
        let (keys, source) = (self.keys.clone(), prepared.source.clone());
        let verified = tokio::task::spawn_blocking(move || -> Result<File> {
            archive.rewind()?;
            reader::verify_stored(io::BufReader::new(&mut archive), &keys).map_err(|why| source.lied(why))?;
            archive.rewind()?;
            Ok(archive)
        });
        verified.await.context("the verification ended unexpectedly")?.with_context(|| {
            format!("backup {} from {} is not whole; nothing was changed", prepared.id(), prepared.source)
        })
    }

    /// Unpacks into an empty directory.
    async fn stage(&self, archive: File, manifest: &Manifest, staging: PathBuf) -> Result<stage::Staged> {
        let keys = stage::Keys {
            trusted: self.keys.clone(),
            identities: Arc::clone(&self.identities),
            unlock_key: self.unlock_key.clone(),
        };
        let bar = self.progress.bytes("unpack", manifest.payload.tar_size);
        stage::stage(archive, staging, keys, bar, self.shutdown.clone())
            .await
            .context("the backup cannot be restored; nothing was changed")
    }

    /// The first record of the journal, of a state that may be placed.
    fn record(
        &self,
        mut plan: RestorePlan,
        manifest: &Manifest,
        staged: &stage::Staged,
        placement: &Placement,
        staging: &Path,
    ) -> Result<Record> {
        plan.notes.extend(plan::checks::staged(&staged.examined, manifest, self.now)?);
        let recorded = staged.recorded()?;
        let aside = placement.aside().map(Path::to_owned);
        let mut record = Record::new(self.now, plan, aside, manifest.counts, recorded);
        record.locked_key = key_file::locked_text(staging)?;
        Ok(record)
    }
}

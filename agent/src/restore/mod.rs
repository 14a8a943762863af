//! The restore flow: wait, resume, find, plan, fetch, verify, stage, claim, stop, place, start, init, confirm, tidy.
//!
//! Nothing on the host changes before the archive is complete, verified and unpacked next to the old state. From the
//! stop on, every failure, panic and signal puts the old state back. A run that is killed leaves a journal, with which
//! the next run finishes the restore or puts the old state back.

mod change;
pub mod claim;
mod completion;
mod confirm;
pub(crate) mod dead_nodes;
pub mod drill;
#[cfg(test)]
pub(crate) mod fake_engine;
#[cfg(test)]
mod fake_registry;
pub(crate) mod fence;
mod follow;
mod formation;
pub(crate) mod holding;
pub mod images;
pub(crate) mod interrupted;
pub mod items;
pub(crate) mod journal;
pub(crate) mod on_disk;
pub(crate) mod peers;
pub mod plan;
mod prepared;
mod readdress;
mod ready;
mod report;
mod silence;
mod strictness;
mod undo;

use std::path::Path;

use anyhow::{Context, Result};
use swarmdr_archive::manifest::Manifest;

pub(crate) use change::Change;
pub use claim::claimed::Claiming;
pub use follow::Follow;
pub(crate) use formation::{compare_apart, form_apart};
pub(crate) use holding::KEY_LIMIT;
use journal::{Journal, Record};
pub use plan::{Decision, Here, Overrides, Readdress, RestorePlan};
pub use prepared::Prepared;
pub use ready::Waits;
pub use report::{Readdressed, RestoreReport};
pub use silence::Looked;

use crate::{
    archive::{fetched::Fetched, scratch::Scratch, source::Choice, specs::Specs, stage},
    host::files::{key_file, placement::Placement, space},
    keys::Keyring,
    outcome::{failpoint, phases::Phases},
    run::Run,
    vaults,
};

/// Space that a new manager needs before it works, in bytes: two preallocated log segments (etcd
/// `wal.SegmentSizeBytes`).
pub(crate) const FORMING: u64 = 2 * 64 * 1024 * 1024;

/// A request of the operator.
#[derive(Debug)]
pub struct Request {
    pub choice: Choice,
    pub overrides: Overrides,
    /// True if the operator vouches that the old managers are gone.
    pub fenced: bool,
    /// True if the caller itself looks for signs of life of another site.
    pub looks_for_life: bool,
    pub waits: Waits,
    pub dry_run: bool,
}

/// A restore run and its context.
#[derive(Debug)]
pub struct Restore<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
    /// Remove old managers from the restored swarm once they have been down for the configured grace period.
    pub prune_dead: bool,
    /// How services follow their images once the swarm is back; `None` if they stay as they are.
    pub follow: Option<Follow>,
    /// How the swarm is claimed; `None` if it is not.
    pub claiming: Option<Claiming>,
    /// The vaults in which claims and signs of life are.
    pub vaults: vaults::Shared,
}

impl Restore<'_> {
    /// Fetches the whole archive and checks every byte of it, without unpacking. Returns notes about the services that
    /// would follow their images.
    pub async fn rehearse(&self, prepared: &Prepared) -> Result<Vec<String>> {
        let room = prepared.found.source.room(&prepared.found.head);
        let scratch = Scratch::make(self.run.config, room)?;
        let recorded = self.fetch(prepared, scratch.path()).await?.check(&self.keyring).await?;
        Ok(recorded.map(|recorded| self.follow_notes(&recorded)).unwrap_or_default())
    }

    /// Carries the plan out; puts the old state back on failure.
    pub async fn run(&self, plan: RestorePlan, mut prepared: Prepared) -> Result<RestoreReport> {
        if let Some(target) = plan.readdress.clone() {
            return Box::pin(self.run_elsewhere(plan, target, prepared)).await;
        }
        let mut phases = Phases::new();
        let data_root = plan.data_root()?.to_owned();
        let placement = Placement::new(&data_root, &plan.id.to_string())?;

        let needed =
            prepared.found.head.archive_size + prepared.found.head.manifest.payload.tar_size + FORMING + journal::START;
        space::require(
            &data_root,
            needed,
            "the archive, the state that is unpacked from it and the new manager's log",
        )?;

        // From here on the next run finds this one, however it ends.
        let is_new = interrupted::unfinished::note_data_root(self.run.config, &data_root);
        let journal = self.make_ready(plan, &mut prepared, &placement, &mut phases).await.inspect_err(|_| {
            placement.tidy();
            if is_new {
                interrupted::unfinished::forget_data_root(self.run.config);
            }
        })?;
        let change = Change::new(self, placement, journal).await?.only_over(prepared.on_disk);
        let mut report = change.carry_out(&mut phases).await?;
        report.findings.extend(prepared.found.findings);
        report.phases = phases.finish();
        Ok(report)
    }

    /// Unpacks the state next to the old one, repeats the checks of this host, and writes the first record of the
    /// journal.
    async fn make_ready(
        &self,
        plan: RestorePlan,
        prepared: &mut Prepared,
        placement: &Placement,
        phases: &mut Phases,
    ) -> Result<Journal> {
        let data_root = plan.data_root()?.to_owned();
        let manifest = &prepared.found.head.manifest;
        phases.begin("fetch");
        let archive = self.fetch(prepared, &data_root).await?;
        if plan.formed {
            return self.make_formed_ready(plan, prepared, placement, archive, phases).await;
        }
        phases.begin("stage");
        let staging = placement.make_staging()?;
        let staged = archive.stage(staging.clone(), &self.keyring, Specs::Skip).await;
        let staged = staged.context("the backup cannot be restored; nothing was changed")?;
        let mut record = self.record(plan, manifest, &staged, placement, &staging)?;
        failpoint::reach("staged");
        self.check_again(prepared, &staged.examined).await?;
        let doubts = self.look_again(prepared).await?;
        prepared.note_findings(doubts);
        phases.begin("claim");
        self.claim(&mut record, prepared, &staged.examined).await?;
        Journal::begin(&data_root, record)
    }

    /// Does the same with a state that was formed beforehand. It is unpacked while the swarm is claimed: somebody waits, and
    /// what this host formed, sealed and verified is not expected to fail. If it does, the claim is given up.
    async fn make_formed_ready(
        &self,
        mut plan: RestorePlan,
        prepared: &mut Prepared,
        placement: &Placement,
        archive: Fetched,
        phases: &mut Phases,
    ) -> Result<Journal> {
        let data_root = plan.data_root()?.to_owned();
        let doubts = self.look_again(prepared).await?;
        prepared.note_findings(doubts);
        phases.begin("claim");
        let staging = placement.make_staging()?;
        let stage = archive.stage_formed(staging.clone(), &self.keyring);
        let carried = self.claiming.as_ref().map(|claiming| claiming.carried).unwrap_or_default();
        let (staged, claimed) = futures_util::join!(stage, self.claim_for(&mut plan, prepared, carried));
        let claimed = claimed?;
        let ready = async {
            let staged = staged.context("the state that was formed beforehand cannot be used; nothing was changed")?;
            let mut record = self.record(plan, prepared.manifest(), &staged, placement, &staging)?;
            record.claim.clone_from(&claimed);
            failpoint::reach("staged");
            self.check_again(prepared, &staged.examined).await?;
            Journal::begin(&data_root, record)
        };
        let ready = ready.await;
        if ready.is_err()
            && let Some(told) = self.give_up(claimed.as_ref()).await
        {
            tracing::warn!("{told}");
        }
        ready
    }

    /// Fetches the archive into `scratch` and verifies its stored bytes.
    async fn fetch(&self, prepared: &Prepared, scratch: &Path) -> Result<Fetched> {
        let source = &prepared.found.source;
        let fetched = Fetched::get(&self.run, &prepared.found, scratch).await?;
        let verified = fetched.verify_stored(&self.keyring).await;
        let verified = verified.and_then(|verified| verified.map_err(|why| source.payload_mismatch(why)));
        verified.with_context(|| format!("backup {} from {source} is not whole; nothing was changed", prepared.id()))
    }

    /// Makes the first record of the journal, for a state that may be placed.
    fn record(
        &self,
        mut plan: RestorePlan,
        manifest: &Manifest,
        staged: &stage::Staged,
        placement: &Placement,
        staging: &Path,
    ) -> Result<Record> {
        plan.notes.extend(plan::checks::staged(&staged.examined, manifest, self.run.now)?);
        let recorded = staged.recorded()?;
        let aside = placement.aside().map(Path::to_owned);
        let mut record = Record::new(self.run.now, plan, aside, manifest.counts, recorded);
        record.locked_key = key_file::locked_text(staging)?;
        self.note_follow(&mut record);
        Ok(record)
    }
}

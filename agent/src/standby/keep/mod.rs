//! The run of a standby: the newest backup that verifies is fetched, proven, formed beforehand and kept, all sealed.
//!
//! A run that finds what it kept before changes nothing. Otherwise the record of what is kept is replaced last, so that a
//! promotion finds the old backup or the new one, each whole.

mod checks;
mod fetch;
mod forming;
mod proof;
mod told;

use std::path::PathBuf;

use anyhow::Result;
use swarmdr_archive::manifest::Manifest;
use swarmdr_vault::catalog::Filter;

use super::report::{Outcome, StandbyReport};
use crate::{
    archive::{
        kept::{Formed, Kept, Shelf, archive_name},
        source::{Choice, Found, Source},
    },
    config::images::Check,
    host::{engine::EngineFacts, lock::HostLock},
    keys::Keyring,
    outcome::{failpoint, phases::Phases},
    run::Run,
};
use forming::Forming;
pub use forming::formed_source;
use told::{away, not_found};

/// Room beside the archives for a second engine's log: it preallocates two segments.
const FORMING: u64 = crate::restore::FORMING;

/// A standby's run and its context.
#[derive(Debug)]
pub struct Standby<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
}

/// Result of the look at the vaults and at what is kept.
#[derive(Debug)]
pub enum Step {
    /// There is nothing to do, or nothing can be done.
    Settled(Box<StandbyReport>),
    Ready(Box<Ready>),
}

/// A backup that is to be kept.
#[derive(Debug)]
pub struct Ready {
    found: Found,
    facts: EngineFacts,
    /// What is kept of this very backup, if its archive is whole.
    kept: Option<Kept>,
    forming: Forming,
}

impl Ready {
    pub fn manifest(&self) -> &Manifest {
        &self.found.head.manifest
    }
}

impl Standby<'_> {
    /// Finds the newest backup and compares it with what is kept. Changes nothing.
    pub async fn prepare(&self) -> Result<Step> {
        let config = self.run.config;
        let facts = self.look_at_host().await?;
        let shelf = Shelf::of(config);
        let kept = shelf.read()?;
        let found = match self.find(&Filter { cluster: config.standby.cluster.clone(), ..Filter::default() }).await {
            Ok(found) => found,
            Err(error) => return Ok(Step::Settled(Box::new(not_found(kept, error)?))),
        };
        let forming = Forming::of(&found.head.manifest, &self.keyring);
        // What was promoted is history, even if it is the newest.
        let same = kept.filter(Kept::waits).filter(|kept| kept.manifest == found.head.manifest_digest);
        let whole = match same {
            Some(kept) if self.is_whole(&kept.path(&shelf), &found).await => Some(kept),
            _ => None,
        };
        match whole {
            Some(kept) if self.has_formed(&kept, &forming, &facts).await => {
                let mut report = StandbyReport::of(Outcome::Unchanged, &kept, found.findings.clone());
                report.attention = self.complaints(&found.head.manifest, &facts);
                report.attention.extend(kept.attention);
                Ok(Step::Settled(Box::new(report)))
            }
            kept => Ok(Step::Ready(Box::new(Ready { found, facts, kept, forming }))),
        }
    }

    /// Reports what would be kept.
    pub fn rehearse(&self, ready: &Ready) -> StandbyReport {
        let kept = self.record(ready, None);
        let mut report = StandbyReport::of(Outcome::Planned, &kept, ready.found.findings.clone());
        report.attention = self.complaints(ready.manifest(), &ready.facts);
        report
            .notes
            .extend((ready.forming == Forming::Wanted).then(|| "its state would be formed beforehand".to_owned()));
        report
    }

    /// Keeps the backup: fetches it unless it is there, proves it, forms its state, and replaces the record.
    pub async fn keep(&self, mut ready: Ready) -> Result<StandbyReport> {
        let _keeping = HostLock::acquire(&HostLock::standby_path())?;
        let mut phases = Phases::new();
        let shelf = Shelf::of(self.run.config);
        shelf.make()?;
        shelf.sweep(shelf.read()?.as_ref());
        if ready.kept.is_none() {
            phases.begin("fetch");
            ready.found = self.fetch(ready.found, &shelf).await?;
        }
        let manifest = ready.manifest().clone();
        let local = self.local(&ready.found, shelf.path(&archive_name(manifest.id)));
        let mut attention = self.complaints(&manifest, &ready.facts);
        attention.extend(self.prove_if_open(&local, &mut phases).await?);
        let formed = self.form_if_wanted(&ready, &local, &shelf, &mut phases, &mut attention).await?;
        attention.extend(self.rehearse_the_day(&ready.found, &local, &mut phases).await);
        self.run.shutdown.check()?;
        phases.begin("record");
        let kept = Kept { attention, ..self.record(&ready, formed) };
        self.commit(&shelf, &kept).await?;
        let outcome = if ready.kept.is_some() { Outcome::Completed } else { Outcome::Kept };
        let mut report = StandbyReport::of(outcome, &kept, ready.found.findings);
        report.notes.extend(away(&manifest)?);
        report.phases = phases.finish();
        Ok(report)
    }

    /// Proves the backup if this host can open it. Returns what has to be looked after.
    async fn prove_if_open(&self, local: &Found, phases: &mut Phases) -> Result<Option<String>> {
        if self.keyring.identities.is_empty() && local.head.manifest.is_encrypted() {
            tracing::info!(
                "no identity is configured here: signature and digests were checked, and nothing was opened"
            );
            return Ok(None);
        }
        phases.begin("prove");
        self.prove(local).await
    }

    /// Forms the state if that is wanted; a failure only makes a promotion longer.
    async fn form_if_wanted(
        &self,
        ready: &Ready,
        local: &Found,
        shelf: &Shelf,
        phases: &mut Phases,
        attention: &mut Vec<String>,
    ) -> Result<Option<Formed>> {
        if ready.forming != Forming::Wanted {
            return Ok(None);
        }
        match self.form(ready, local, shelf, phases).await {
            Ok(formed) => Ok(Some(formed)),
            Err(error) => {
                self.run.shutdown.check()?;
                attention
                    .push(format!("its state could not be formed beforehand, so a promotion takes longer: {error:#}"));
                Ok(None)
            }
        }
    }

    /// Holds the drill and asks for the images, as configured. Returns what has to be looked after.
    async fn rehearse_the_day(&self, found: &Found, local: &Found, phases: &mut Phases) -> Vec<String> {
        let config = self.run.config;
        let mut attention = Vec::new();
        if config.standby.drill {
            phases.begin("drill");
            attention.extend(self.drill(found).await);
        }
        if config.images.check != Check::Off {
            phases.begin("images");
            attention.extend(self.images(local).await);
        }
        attention
    }

    /// Finds the newest backup, whose head verifies.
    async fn find(&self, filter: &Filter) -> Result<Found> {
        let choice = Choice::Vaults(filter.clone());
        let find = Source::find(self.run.config, &choice, &self.keyring.trusted, self.run.now);
        self.run.shutdown.or_interrupted(find).await
    }

    /// Replaces the record, unless a promotion of this host began meanwhile.
    async fn commit(&self, shelf: &Shelf, kept: &Kept) -> Result<()> {
        let _alone = HostLock::acquire(&HostLock::default_path())?;
        self.look_at_host().await?;
        failpoint::reach("standby-record");
        shelf.replace(kept)
    }

    fn record(&self, ready: &Ready, formed: Option<Formed>) -> Kept {
        let Found { source, head, stored, .. } = &ready.found;
        let before = ready.kept.as_ref().and_then(|kept| kept.stored);
        let not_formed = match &ready.forming {
            Forming::Not(why) => Some(why.clone()),
            Forming::Wanted => None,
        };
        Kept {
            version: Kept::version(),
            backup: head.manifest.id,
            cluster_id: head.manifest.cluster_id.clone(),
            manifest: head.manifest_digest,
            created_at: head.manifest.created_at,
            // Another vault may have got it later.
            stored: before.into_iter().chain(*stored).min(),
            source: ready.kept.as_ref().map_or_else(|| source.to_string(), |kept| kept.source.clone()),
            kept_at: self.run.now,
            archive: archive_name(head.manifest.id),
            formed,
            not_formed,
            attention: Vec::new(),
            promoted_at: None,
        }
    }

    /// The same backup, read from this host.
    fn local(&self, found: &Found, path: PathBuf) -> Found {
        Found { source: Source::File(path), head: found.head.clone(), stored: None, findings: Vec::new(), point: None }
    }
}

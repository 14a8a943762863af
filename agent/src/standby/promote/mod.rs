//! The promotion of a spare host: it takes the swarm over, once it is known that nobody else has it.
//!
//! In this order: the checks of a restore, with the probe of the old managers; the old site is cut off, or somebody vouches
//! for that; no other site shows signs of life; the backup is recent enough; the claim, right before the engine is stopped;
//! the restore, with its journal and its way back. A run that was killed is ended by the next one as a restore is, and what
//! comes after the restore is done then.

mod aftermath;
mod age;
mod certainty;
mod choice;
mod fence;
mod progress;
pub mod report;

use std::time::{Duration, Instant};

use anyhow::Result;
use swarmdr_archive::manifest::Manifest;
use swarmdr_vault::catalog::Filter;

use crate::{
    archive::source::{Choice, find_payload_mismatch},
    claims::Verb,
    keys::Keyring,
    observe::hooks::Hooks,
    outcome::{
        failpoint,
        phases::{Phase, Phases},
    },
    restore::{
        Claiming, Decision, Follow, KEY_LIMIT, Overrides, Prepared, Readdress, Request, Restore, RestorePlan, Waits,
    },
    run::Run,
    vaults,
};
use choice::Chosen;
pub use progress::Progress;
pub use report::PromoteReport;

/// Number of copies with a payload mismatch after which the run ends.
const MOST_MISMATCHES: usize = 8;

/// What the operator asks for.
#[derive(Debug, Clone)]
pub struct Terms {
    /// True if the operator vouches that the old site is cut off.
    pub fenced: bool,
    /// Age from which the newest backup is too old.
    pub max_lag: Option<Duration>,
    pub reason: Option<String>,
    pub despite_sign_of_life: bool,
    pub without_claim: bool,
    /// Set if the swarm gets an address of this host.
    pub readdress: Option<Readdress>,
    pub waits: Waits,
    /// Number of managers that the swarm is to have, if it is to grow.
    pub managers: Option<usize>,
    /// Time that services get to run.
    pub settle: Duration,
    pub dry_run: bool,
}

/// A promotion and its context.
#[derive(Debug)]
pub struct Promotion<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
    pub terms: Terms,
    /// The vaults, of which each look and the claim make use.
    pub vaults: vaults::Shared,
    /// Start of the run.
    pub since: Instant,
}

/// Result of the checks.
#[derive(Debug)]
pub enum Step {
    /// The swarm works on this host: an earlier run restored it, or this one ended that run.
    Serves(Box<PromoteReport>),
    Ready(Box<Ready>),
}

/// A promotion of which everything is checked.
#[derive(Debug)]
pub struct Ready {
    chosen: Chosen,
    prepared: Prepared,
    pub plan: Box<RestorePlan>,
    request: Request,
    claiming: Option<Claiming>,
    lag: i64,
    phases: Vec<Phase>,
}

impl<'a> Promotion<'a> {
    /// Checks everything. Changes nothing but what a restore's checks do; the hook `fence` runs unless this is a dry run.
    pub async fn prepare(&self, hooks: &Hooks) -> Result<Step> {
        let mut phases = Phases::new();
        phases.begin("resume");
        let filter = Filter { cluster: self.run.config.standby.cluster.clone(), ..Filter::default() };
        let newest = self.request(Choice::Vaults(filter.clone()));
        // Must not be interrupted: the recovery action brings the host into one of two complete states.
        let restore = self.restore(self.keyring.clone(), self.claiming(false));
        if let Some(report) = restore.resume_interrupted(&newest).await? {
            return Ok(Step::Serves(Box::new(PromoteReport::finished(report))));
        }
        phases.begin("choose");
        let chosen = choice::choose(&self.run, &self.keyring, &filter, self.terms.readdress.is_some()).await?;
        phases.begin("check");
        let request = self.request(chosen.choice.clone());
        let restore = self.restore(chosen.keyring.clone(), self.claiming(chosen.formed));
        let prepare = restore.prepare(&request);
        let (decision, prepared) = self.run.shutdown.or_interrupted(prepare).await?;
        let plan = match decision {
            Decision::Restore(mut plan) => {
                plan.formed = chosen.formed;
                plan
            }
            Decision::AlreadyThere => return Ok(Step::Serves(Box::new(PromoteReport::served(prepared.id())))),
            Decision::AlreadyThereLocked => {
                if !self.terms.dry_run {
                    restore.unlock_present(KEY_LIMIT).await?;
                }
                return Ok(Step::Serves(Box::new(PromoteReport::served(prepared.id()))));
            }
        };
        let claiming = self.claiming(chosen.formed).map(|claiming| Claiming {
            limit: chosen.patience(),
            carried: chosen.carried,
            ..claiming
        });
        let mut ready = Ready { lag: 0, claiming, chosen, prepared, plan, request, phases: Vec::new() };
        self.make_sure(&restore, &mut ready, hooks, &mut phases).await?;
        ready.phases = phases.finish();
        Ok(Step::Ready(Box::new(ready)))
    }

    /// Takes the swarm over. What was there is put back on failure.
    pub async fn carry_out(&self, ready: Ready) -> Result<PromoteReport> {
        let config = self.run.config;
        let Ready { chosen, mut prepared, mut plan, mut request, claiming, lag, phases } = ready;
        Progress { backup: plan.id, begun_at: self.run.now, is_done: false }.write(config)?;
        let until_restore = self.since.elapsed();
        let restore = self.restore(chosen.keyring.clone(), claiming);
        let mut mismatches = 0;
        let report = loop {
            let (formed, units) = (plan.formed, plan.units.clone());
            let looked = prepared.looked().cloned();
            let error = match restore.run(*plan, prepared).await {
                Ok(report) => break report,
                Err(error) => error,
            };
            // Nothing was changed yet: another copy, or the backup before it, is taken instead, and reported.
            let mismatch = find_payload_mismatch(&error).cloned().filter(|_| mismatches < MOST_MISMATCHES);
            let mismatch = mismatch.ok_or(error)?;
            mismatches += 1;
            tracing::warn!("{mismatch}; going on to the next best copy");
            request.choice.except(mismatch);
            let (decision, mut again) = self.run.shutdown.or_interrupted(restore.prepare(&request)).await?;
            let Decision::Restore(next) = decision else {
                return Ok(PromoteReport::served(again.id()));
            };
            again.note_look(looked);
            (plan, prepared) = (Box::new(RestorePlan { formed, units, ..*next }), again);
        };
        failpoint::reach("restored");
        let mut report = PromoteReport::promoted(&chosen, lag, report, until_restore);
        report.phases.splice(0..0, phases);
        Ok(report)
    }

    fn claiming(&self, formed: bool) -> Option<Claiming> {
        let claiming =
            || Claiming { verb: Verb::Promote, reason: self.terms.reason.clone(), formed, ..Claiming::default() };
        (!self.terms.without_claim).then(claiming)
    }

    fn restore(&self, keyring: Keyring, claiming: Option<Claiming>) -> Restore<'a> {
        Restore {
            run: self.run,
            keyring,
            prune_dead: false,
            follow: Some(Follow::default()),
            claiming,
            vaults: self.vaults.clone(),
        }
    }

    fn request(&self, choice: Choice) -> Request {
        Request {
            choice,
            overrides: Overrides { readdress: self.terms.readdress.clone(), ..Overrides::default() },
            fenced: self.terms.fenced,
            looks_for_life: true,
            waits: self.terms.waits,
            dry_run: self.terms.dry_run,
        }
    }
}

impl Ready {
    pub fn manifest(&self) -> &Manifest {
        self.prepared.manifest()
    }

    /// Returns what a dry run tells beside the plan.
    pub fn notes(&self) -> Vec<String> {
        let mut notes =
            vec![format!("what was changed in the last {} before the disaster is lost", age::human(self.lag))];
        if self.chosen.is_local {
            notes.push("the backup is kept on this host".to_owned());
        }
        notes.extend(self.chosen.notes.iter().chain(&self.chosen.attention).cloned());
        notes.extend_from_slice(self.prepared.findings());
        notes
    }

    pub fn needs_attention(&self) -> bool {
        !(self.chosen.attention.is_empty() && self.prepared.findings().is_empty())
    }
}

//! Recovery of a restore that an earlier run began and did not end: carries out the action that was decided on.

use anyhow::{Context, Result};
use swarmdr_archive::BackupId;
use swarmdr_vault::catalog::Filter;

use super::{action::RecoveryAction, decision::Terms};
use crate::{
    archive::source::Choice,
    host::{engine::EngineFacts, files::placement::Placement},
    outcome::{failure::Failure, phases::Phases},
    restore::{
        Request, Restore, RestoreReport,
        change::Change,
        journal::{Journal, Phase, Record},
        on_disk::OnDisk,
        readdress,
        ready::Waits,
    },
};

impl Restore<'_> {
    /// Ends an interrupted restore. Returns its report if its backup is back and this run does not ask for another one.
    pub async fn resume_interrupted(&self, request: &Request) -> Result<Option<RestoreReport>> {
        let force = request.overrides.force;
        let terms = Terms { waits: request.waits, force, fenced: request.fenced };
        let Some((id, report)) = self.resume_journal(terms, request.dry_run).await? else {
            return Ok(None);
        };
        let wants_it = match &request.choice {
            // A choice that is bounded by time or cluster may mean another backup.
            Choice::Vaults(Filter { id: None, before: None, after: None, cluster: None, .. }) => {
                !force && report.readdressed.is_some() == request.overrides.readdress.is_some()
            }
            Choice::Vaults(Filter { id: None, .. }) => false,
            Choice::Vaults(Filter { id: Some(wanted), .. }) => *wanted == id,
            // A point may mean another backup, and its data is told once it was found.
            Choice::Point(..) | Choice::File(_) => false,
        };
        Ok(Some(report).filter(|_| wants_it))
    }

    /// Ends an interrupted restore for a run that accepts any working swarm.
    pub async fn resume_any(&self, fenced: bool, may_change: bool) -> Result<Option<RestoreReport>> {
        let terms = Terms { waits: Waits::default(), force: false, fenced };
        Ok(self.resume_journal(terms, !may_change).await?.map(|(_, report)| report))
    }

    async fn resume_journal(&self, terms: Terms, dry_run: bool) -> Result<Option<(BackupId, RestoreReport)>> {
        let facts = self.await_engine(terms.waits.engine, !dry_run).await?;
        let Some(journal) = Journal::read(&facts.data_root)?.filter(|it| it.record.phase != Phase::Done) else {
            return Ok(None);
        };
        let id = journal.record.plan.id;
        let phase = journal.record.phase.word();
        if dry_run {
            tracing::warn!(
                "a restore of backup {id} was cut short in phase `{phase}`: a run without --dry-run ends it first"
            );
            return Ok(None);
        }
        let placement = Placement::resume(&facts.data_root, &id.to_string(), journal.record.aside.as_deref());
        let way = match journal.record.plan.readdress {
            Some(_) => readdress::recovery_action(self, &journal.record, &placement, terms.waits, terms.force).await?,
            None => self.recovery_action(&journal.record, &placement, terms).await?,
        };
        tracing::warn!("a restore of backup {id} was cut short in phase `{phase}`; {}", way.words());
        Ok(self.carry_out_action(way, placement, journal, &facts, terms).await?.map(|report| (id, report)))
    }

    async fn carry_out_action(
        &self,
        way: RecoveryAction,
        placement: Placement,
        journal: Journal,
        facts: &EngineFacts,
        terms: Terms,
    ) -> Result<Option<RestoreReport>> {
        let mut phases = Phases::new();
        let report = match way {
            RecoveryAction::Forget => {
                placement.tidy();
                self.end_claim(&journal).await;
                journal.forget()?;
                return Ok(None);
            }
            RecoveryAction::PutBack => {
                self.put_back(placement, journal).await?;
                return Ok(None);
            }
            RecoveryAction::Unclear => return Err(unclear(&journal.record)),
            RecoveryAction::Keep => {
                keep(&placement, journal)?;
                return Ok(None);
            }
            RecoveryAction::Refuse => return Err(refuse(&journal.record, facts)),
            RecoveryAction::FormAgain => {
                let told = self.require_claim(&journal, terms.fenced, terms.waits.silence).await?;
                let mut report = self.form_again(placement, journal, terms.fenced, &mut phases).await?;
                report.attention.extend(told);
                report
            }
            RecoveryAction::Confirm => {
                let undone = (journal.record.phase == Phase::Undo).then(|| not_undone(&journal.record));
                let mut report = Change::new(self, placement, journal).await?.confirm_late(&mut phases).await?;
                report.attention.extend(undone);
                report
            }
        };
        Ok(Some(RestoreReport { finished_earlier_run: true, phases: phases.finish(), ..report }))
    }

    /// Gives up the claim of a run that did not come about, or else the site that works stays superseded by it.
    async fn end_claim(&self, journal: &Journal) {
        if let Some(warning) = self.give_up_claim_of(&journal.record).await {
            tracing::warn!("{warning}");
        }
    }

    /// Puts the old state back, and drops the journal.
    async fn put_back(&self, placement: Placement, journal: Journal) -> Result<()> {
        let mut change = Change::new(self, placement, journal).await?;
        let kept = change.put_back().await.context("failed to put back what was there before an earlier run")?;
        if let Some(kept) = kept {
            tracing::info!("what that run had placed is kept in {}", kept.display());
        }
        change.placement.tidy();
        self.end_claim(&change.journal).await;
        change.journal.forget()
    }

    async fn form_again(
        &self,
        placement: Placement,
        journal: Journal,
        fenced: bool,
        phases: &mut Phases,
    ) -> Result<RestoreReport> {
        let mut change = Change::new(self, placement, journal).await?;
        let is_to_be_formed =
            async |change: &Change<'_>| self.is_still_to_be_formed(change.record(), &change.placement, fenced).await;
        if change.stop_if(is_to_be_formed, phases).await? {
            return change.form_again(phases).await;
        }
        Err(Failure::failed("the state that an earlier run had placed changed while its engine was stopped; the engine runs again, and nothing was changed")
            .advice("run the same command again: it looks at the swarm as it is then")
            .into())
    }
}

/// Leaves the swarm as it is, and ends the journal.
fn keep(placement: &Placement, mut journal: Journal) -> Result<()> {
    if let Some(aside) = journal.record.aside.as_ref().filter(|aside| aside.exists()) {
        tracing::warn!("what was there before that restore is kept in {}", aside.display());
    }
    placement.tidy();
    // A restore that was being undone was never confirmed, so its journal is not kept as a completed one.
    if journal.record.phase == Phase::Undo { journal.forget() } else { journal.finish() }
}

/// Describes an interrupted undo: this run cannot know whether the swarm has been used since.
fn not_undone(record: &Record) -> String {
    let aside = match &record.aside {
        Some(aside) => format!("; what was there before is kept in {}", aside.display()),
        None => String::new(),
    };
    format!("an earlier run was undoing this restore when it was cut short; the swarm works, and was left alone{aside}")
}

/// Refuses to decide about a log that cannot be read; the journal stays.
fn unclear(record: &Record) -> anyhow::Error {
    let mut failure = Failure::refused(format!(
        "a restore of backup {} was cut short, its swarm does not work now, and its raft log cannot be read, so whether it has been in use since is not known",
        record.plan.id
    ))
    .advice("if it is autolocked, see that the unlock key is the one of now: --unlock-key FILE")
    .advice("see `journalctl -u docker`, and `swarmdr-agent inspect --dir` for what breaks in the log");
    if let Some(aside) = &record.aside {
        failure = failure.advice(format!("what was there before the restore is in {}", aside.display()));
    }
    failure.advice("or use --force to restore once more (the present state is moved aside, not deleted)").into()
}

fn refuse(record: &Record, facts: &EngineFacts) -> anyhow::Error {
    let here = match (OnDisk::read(&record.plan.state_dir), &facts.swarm.node_id) {
        (OnDisk::State(held), _) => held.own.to_string(),
        (_, Some(node)) => format!("node {node}"),
        (_, None) => "its state directory does not name it".to_owned(),
    };
    let mut failure = Failure::refused(format!(
        "a restore of backup {} was cut short, and since then this host became part of another one ({here})",
        record.plan.id
    ))
    .advice("if that one is to stay, move the journal away: restore.json in the directory .swarmdr of the engine's data root");
    if let Some(aside) = &record.aside {
        failure = failure.advice(format!("what was there before the restore is in {}", aside.display()));
    }
    failure.advice("or use --force to move it aside").into()
}

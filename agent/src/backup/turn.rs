//! Whose turn it is: whether a backup is due, and whether this manager makes it.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, Digest, SwarmNode};

use super::{
    Backup, Request, Saved, When,
    deliver::Delivery,
    designation::{Designation, Memory, NotOurTurn, Poll},
    managers::Managers,
    previous::PreviousBackups,
    saved::Kept,
};
use crate::{
    config::{on_change::OnChange, schedule::Schedule},
    outcome::failure::Failure,
};

/// What a run has seen when it asks whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub own: &'a SwarmNode,
    pub previous: &'a PreviousBackups,
    pub sent: &'a [Delivery],
    pub managers: &'a Managers,
    /// Digest of what people set in the swarm.
    pub specs: Option<Digest>,
}

/// How managers take turns at one kind of backup.
#[derive(Debug)]
pub(super) struct Turn {
    pub memory: Memory,
    pub takeover: SignedDuration,
}

impl Backup<'_> {
    /// Decides whether a backup is due and this manager makes it; a run that was asked for one always goes on. Returns a
    /// note if this manager takes over from another one.
    pub(super) fn designate(&self, request: Request, asked: &Asked<'_>) -> Result<Result<Option<String>, NotOurTurn>> {
        let Some(turn) = self.turn(request.when)? else { return Ok(Ok(None)) };
        let due = match request.when {
            When::Changed => self.require_changed(asked, request.dry_run)?,
            When::Now | When::Due => self.require_due(asked)?,
        };
        if let Err(why) = due {
            turn.memory.forget();
            return Ok(Err(why));
        }
        let own = asked.own;
        let poll = Poll { cluster: own.cluster.clone(), newest: asked.previous.newest(), now: self.run.now };
        let designation = Designation::of(asked.managers, own.node.as_str())?;
        let outcome = designation.may_go(turn.memory.read().as_ref(), &poll, turn.takeover);
        if outcome.is_err() && !request.dry_run {
            turn.memory.wait(&poll);
        }
        Ok(outcome)
    }

    /// Returns how managers take turns, or `None` for a run that does not ask.
    pub(super) fn turn(&self, when: When) -> Result<Option<Turn>> {
        Ok(match when {
            When::Now => None,
            When::Due => {
                Some(Turn { memory: Memory::installed(), takeover: self.schedule()?.takeover_after(self.run.now) })
            }
            When::Changed => Some(Turn { memory: Memory::of_changes(), takeover: self.on_change()?.takeover_after() }),
        })
    }

    /// Whether a due time of the schedule has passed since the newest backup.
    fn require_due(&self, asked: &Asked<'_>) -> Result<Result<(), NotOurTurn>> {
        let newest = asked.previous.newest();
        if !self.is_due(newest)? {
            let schedule = self.schedule()?;
            let next = newest.and_then(|newest| schedule.next_after(newest.created_at()));
            let next = next.map_or_else(
                || "no backup is due: the schedule has no further time".to_owned(),
                |next| format!("no backup is due before {next}"),
            );
            return Ok(Err(NotOurTurn(next)));
        }
        match self.waiting(asked).max_by_key(|it| it.id) {
            Some(waiting) if !self.is_due(Some(waiting.id))? => Err(self.not_stored(waiting)),
            _ => Ok(Ok(())),
        }
    }

    pub(super) fn is_due(&self, newest: Option<BackupId>) -> Result<bool> {
        Ok(self.schedule()?.is_due(newest.map(|id| id.created_at()), self.run.now))
    }

    /// Whether people changed the swarm since its newest backup, and enough time has passed since then.
    fn require_changed(&self, asked: &Asked<'_>, dry_run: bool) -> Result<Result<(), NotOurTurn>> {
        let specs = asked.specs.context("what is set in the swarm is not known")?;
        let cluster = &asked.own.cluster;
        if let Some((id, _)) = asked.previous.newest_specs().filter(|(_, saved)| *saved == specs) {
            if !dry_run {
                let (cluster, noted_at) = (cluster.clone(), Timestamp::now());
                Saved { cluster, id, specs, kept: Kept::Vault, noted_at }.write(self.run.config);
            }
            return Ok(Err(NotOurTurn(format!("nothing was changed since backup {id}"))));
        }
        let saved = Saved::read(self.run.config).filter(|saved| saved.specs == specs && saved.cluster == *cluster);
        if let Some(waiting) = saved.and_then(|saved| self.waiting(asked).find(|it| it.id == saved.id)) {
            return Err(self.not_stored(waiting));
        }
        let next = asked.previous.newest().map(|newest| self.next_after_change(newest)).transpose()?;
        Ok(match next.filter(|next| *next > self.run.now) {
            Some(next) => Err(NotOurTurn(format!("the swarm was changed, and no backup of that is due before {next}"))),
            None => Ok(()),
        })
    }

    fn next_after_change(&self, newest: BackupId) -> Result<Timestamp> {
        let distance = self.on_change()?.at_most_every.signed();
        Ok(newest.created_at().checked_add(distance).unwrap_or(Timestamp::MAX))
    }

    /// The archives of this cluster that no vault took.
    fn waiting<'a>(&self, asked: &Asked<'a>) -> impl Iterator<Item = &'a Delivery> {
        let own = asked.own;
        asked.sent.iter().filter(|it| it.cluster == own.cluster && !it.is_stored())
    }

    pub(super) fn schedule(&self) -> Result<Schedule> {
        Schedule::from_config(&self.run.config.schedule)?.ok_or_else(|| {
            Failure::usage("--if-due needs a schedule, and schedule.cron is `off`")
                .advice("write `cron = \"30 3 * * *\"` below `[schedule]`, or leave it out for the same")
                .advice("if something else calls the agent, call `swarmdr-agent backup` without --if-due")
                .into()
        })
    }

    fn on_change(&self) -> Result<OnChange> {
        self.run.config.schedule.require_on_change()
    }

    /// Error of a run whose due backup is already in this host's spool: another copy of the state would not help.
    fn not_stored(&self, waiting: &Delivery) -> anyhow::Error {
        let spool = self.run.config.spool_dir();
        Failure::failed(format!("the backup that was due is made ({}), but could not be stored", waiting.id))
            .advice(format!("it waits, sealed, in {}; repair the vault, and the next run sends it", spool.display()))
            .because(anyhow::anyhow!("{}", waiting.complaints().join("; ")))
            .into()
    }
}

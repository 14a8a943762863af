//! Whose turn it is: whether a backup is due, and whether this manager makes it.

use anyhow::Result;
use swarmdr_archive::{BackupId, SwarmNode};

use super::{
    Backup, Request,
    deliver::Delivery,
    designation::{Designation, Memory, NotOurTurn, Poll},
    managers::Managers,
    previous::PreviousBackups,
};
use crate::{config::schedule::Schedule, outcome::failure::Failure};

impl Backup<'_> {
    /// Decides whether a backup is due and this manager makes it; a run without `--if-due` always goes on. Returns a
    /// note if this manager takes over from another one.
    pub(super) fn designate(
        &self,
        request: Request,
        own: &SwarmNode,
        previous: &PreviousBackups,
        sent: &[Delivery],
        managers: &Managers,
    ) -> Result<Result<Option<String>, NotOurTurn>> {
        if !request.if_due {
            return Ok(Ok(None));
        }
        let schedule = self.schedule()?;
        let memory = Memory::installed();
        let is_due = |newest: Option<BackupId>| schedule.is_due(newest.map(|id| id.created_at()), self.run.now);
        if !is_due(previous.newest()) {
            memory.forget();
            let next = previous.newest().and_then(|newest| schedule.next_after(newest.created_at()));
            let next = next.map_or_else(
                || "no backup is due: the schedule has no further time".to_owned(),
                |next| format!("no backup is due before {next}"),
            );
            return Ok(Err(NotOurTurn(next)));
        }
        let waiting = sent.iter().filter(|it| it.cluster == own.cluster && !it.is_stored());
        if let Some(waiting) = waiting.max_by_key(|it| it.id).filter(|it| !is_due(Some(it.id))) {
            return Err(not_stored(waiting, &self.run.config.spool_dir()));
        }
        let poll = Poll { cluster: own.cluster.clone(), newest: previous.newest(), now: self.run.now };
        let designation = Designation::of(managers, own.node.as_str())?;
        let outcome = designation.may_go(memory.read().as_ref(), &poll, schedule.takeover_after(self.run.now));
        if outcome.is_err() && !request.dry_run {
            memory.wait(&poll);
        }
        Ok(outcome)
    }

    pub(super) fn schedule(&self) -> Result<Schedule> {
        Schedule::from_config(&self.run.config.schedule)?.ok_or_else(|| {
            Failure::usage("--if-due needs a schedule, and schedule.cron is `off`")
                .advice("write `cron = \"30 3 * * *\"` below `[schedule]`, or leave it out for the same")
                .advice("if something else calls the agent, call `swarmdr-agent backup` without --if-due")
                .into()
        })
    }
}

/// Error of a run whose due backup is already in this host's spool: another copy of the state would not help.
fn not_stored(waiting: &Delivery, spool: &std::path::Path) -> anyhow::Error {
    Failure::failed(format!("the backup that was due is made ({}), but could not be stored", waiting.id))
        .advice(format!("it waits, sealed, in {}; repair the vault, and the next run sends it", spool.display()))
        .because(anyhow::anyhow!("{}", waiting.complaints().join("; ")))
        .into()
}

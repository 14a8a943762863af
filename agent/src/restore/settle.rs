//! What to do with a restore that an earlier run began and did not end.

use anyhow::{Context, Result};
use swarmdr_archive::BackupId;

use super::{
    Request, Restore, RestoreReport,
    change::Change,
    identity_in,
    journal::{Journal, Phase, Record},
    plan::checks,
    readdress,
};
use crate::{
    fault::Fault,
    host::{
        engine::{EngineFacts, LocalSwarm, SwarmState},
        key_file,
        placement::Placement,
    },
    report::Phases,
    source::Choice,
    vault::catalog::Filter,
};

/// The ways out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing of the host was changed yet.
    Forget,
    /// The swarm was not formed: what was there comes back.
    PutBack,
    /// The engine was asked to form the swarm, and it is not known to work.
    FormAgain,
    /// The swarm works, and may have been in use since.
    Confirm,
    /// Somebody made another swarm on this host in the meantime.
    Refuse,
}

/// A working swarm is never put away here: it may have been in use since the run was cut short.
fn way(record: &Record, swarm: &LocalSwarm, has_moved: bool, force: bool) -> Way {
    let is_ours = swarm.cluster_id == record.plan.cluster_id && swarm.node_id == record.plan.node_id;
    if record.phase <= Phase::Stop || !has_moved {
        Way::Forget
    } else if checks::works(swarm) && is_ours {
        Way::Confirm
    } else if matches!(record.phase, Phase::Init | Phase::Confirm) && !is_foreign(record, swarm) {
        Way::FormAgain
    } else if is_foreign(record, swarm) && !force {
        Way::Refuse
    } else {
        Way::PutBack
    }
}

fn is_foreign(record: &Record, swarm: &LocalSwarm) -> bool {
    let has_one = matches!(swarm.state, SwarmState::Active | SwarmState::Pending);
    has_one && !swarm.node_id.is_empty() && swarm.node_id != record.plan.node_id
}

impl Restore<'_> {
    /// Ends what an earlier run began. A report if that run's backup is back and this run wants no other one.
    pub async fn settle(&self, request: &Request) -> Result<Option<RestoreReport>> {
        let facts = self.await_engine(request.waits.engine, !request.dry_run).await?;
        let force = request.overrides.force;
        let Some((id, report)) = self.settle_journal(&facts, force, request.dry_run).await? else {
            return Ok(None);
        };
        let wants_it = match &request.choice {
            Choice::Vaults(Filter { id: None, .. }) => !force,
            Choice::Vaults(Filter { id: Some(wanted), .. }) => *wanted == id,
            Choice::File(_) => false,
        };
        Ok(Some(report).filter(|_| wants_it))
    }

    /// The same for a run that wants any working swarm.
    pub async fn settle_any(&self, may_change: bool) -> Result<Option<RestoreReport>> {
        let facts = self.await_engine(std::time::Duration::ZERO, may_change).await?;
        Ok(self.settle_journal(&facts, false, !may_change).await?.map(|(_, report)| report))
    }

    async fn settle_journal(
        &self,
        facts: &EngineFacts,
        force: bool,
        dry_run: bool,
    ) -> Result<Option<(BackupId, RestoreReport)>> {
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
            Some(_) => readdress::way(self, &journal.record, &facts.swarm, &placement, force).await?,
            None => way(&journal.record, &facts.swarm, placement.has_moved(), force),
        };
        tracing::warn!("a restore of backup {id} was cut short in phase `{phase}`; {}", way.words());
        Ok(self.follow(way, placement, journal, facts).await?.map(|report| (id, report)))
    }

    async fn follow(
        &self,
        way: Way,
        placement: Placement,
        journal: Journal,
        facts: &EngineFacts,
    ) -> Result<Option<RestoreReport>> {
        let mut phases = Phases::new();
        let report = match way {
            Way::Forget => {
                placement.tidy();
                journal.forget()?;
                return Ok(None);
            }
            Way::PutBack => {
                let mut change = Change::new(self, placement, journal).await?;
                let kept =
                    change.put_back().await.context("failed to put back what was there before an earlier run")?;
                if let Some(kept) = kept {
                    tracing::info!("what that run had placed is kept in {}", kept.display());
                }
                change.placement.tidy();
                change.journal.forget()?;
                return Ok(None);
            }
            Way::Refuse => return Err(refuse(&journal.record, facts)),
            Way::FormAgain => {
                self.check_can_unlock(&journal.record, &placement)?;
                Change::new(self, placement, journal).await?.form_again(&mut phases).await?
            }
            Way::Confirm => Change::new(self, placement, journal).await?.confirm_late(&mut phases).await?,
        };
        Ok(Some(RestoreReport { finished_earlier_run: true, phases: phases.finish(), ..report }))
    }

    pub(super) fn check_can_unlock(&self, record: &Record, placement: &Placement) -> Result<()> {
        if self.unlock_key.is_some() || !key_file::is_locked_in(&placement.state_dir())? {
            return Ok(());
        }
        Err(Fault::refused(format!(
            "the restore of backup {} was cut short, and its state is locked; the unlock key was not given",
            record.plan.id
        ))
        .advice("run it again with --unlock-key FILE")
        .into())
    }

    /// Unlocks the engine of a host that is healed; `docker swarm unlock` with the key that was given.
    pub async fn unlock_present(&self) -> Result<()> {
        let key = self.unlock_key.as_ref().context("there is no unlock key")?.for_engine();
        let socket = &self.config.engine.socket;
        let limit = std::time::Duration::from_secs(self.config.engine.start_timeout);
        let unlock = async { tokio::time::timeout(limit, key.unlock(socket)).await.context("it takes too long")? };
        unlock.await.map_err(|cause| {
            Fault::failed("this host holds the swarm of this backup, and the given key did not unlock it")
                .advice("see `journalctl -u docker`, and `docker swarm unlock`")
                .because(cause)
        })?;
        let engine = crate::host::engine::Engine::at(socket);
        engine.wait(limit, "the unlocked swarm to work", |facts| checks::works(&facts.swarm)).await?;
        Ok(())
    }
}

fn refuse(record: &Record, facts: &EngineFacts) -> anyhow::Error {
    let state_dir = &record.plan.state_dir;
    let here =
        identity_in(state_dir).map_or_else(|| facts.swarm.node_id.clone(), |(cluster, _)| format!("swarm {cluster}"));
    let mut fault = Fault::refused(format!(
        "a restore of backup {} was cut short, and since then this host became part of another one ({here})",
        record.plan.id
    ))
    .advice("if that one is to stay, move the journal away: restore.json in the directory .swarmdr of the engine's data root");
    if let Some(aside) = &record.aside {
        fault = fault.advice(format!("what was there before the restore is in {}", aside.display()));
    }
    fault.advice("or say --force to put it aside").into()
}

impl Way {
    fn words(self) -> &'static str {
        match self {
            Way::Forget => "it had changed nothing yet",
            Way::PutBack => "putting back what was there before",
            Way::FormAgain => "forming the swarm again from the state that it placed",
            Way::Confirm => "the swarm works, and is compared with the backup now",
            Way::Refuse => "this host has another swarm now",
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::manifest::Counts;

    use super::*;
    use crate::{restore::plan::tests::a_plan, swarm::inventory::Cluster};

    fn record(phase: Phase) -> Record {
        let recorded = crate::inspection::tests::inventory_of(Cluster::default());
        let now = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let plan = a_plan(std::path::Path::new("/data"));
        Record { phase, ..Record::new(now, plan, None, Counts::default(), recorded) }
    }

    fn swarm(state: SwarmState, cluster: &str, node: &str, error: &str) -> LocalSwarm {
        LocalSwarm {
            state,
            cluster_id: cluster.into(),
            node_id: node.into(),
            is_manager: state == SwarmState::Active,
            error: error.into(),
            root_rotation: false,
        }
    }

    #[test]
    fn how_far_it_came_and_what_runs_now_decide() {
        let none = swarm(SwarmState::Inactive, "", "", "");
        let ours = swarm(SwarmState::Active, "cluster", "node", "");
        let leaderless = swarm(SwarmState::Active, "", "node", "no leader");
        let broken = swarm(SwarmState::Error, "", "", "x509");
        let locked = swarm(SwarmState::Locked, "", "", "");
        let other = swarm(SwarmState::Active, "other", "someone", "");
        for (phase, has_moved, now, expected) in [
            (Phase::Ready, false, &none, Way::Forget),
            (Phase::Stop, false, &other, Way::Forget),
            (Phase::Aside, false, &other, Way::Forget),
            (Phase::Aside, true, &none, Way::PutBack),
            (Phase::Place, true, &none, Way::PutBack),
            (Phase::Start, true, &none, Way::PutBack),
            (Phase::Unlock, true, &none, Way::PutBack),
            (Phase::Undo, true, &broken, Way::PutBack),
            (Phase::Undo, false, &other, Way::Forget),
            (Phase::Start, true, &ours, Way::Confirm),
            (Phase::Undo, true, &ours, Way::Confirm),
            (Phase::Init, true, &none, Way::FormAgain),
            (Phase::Init, true, &leaderless, Way::FormAgain),
            (Phase::Init, true, &broken, Way::FormAgain),
            (Phase::Confirm, true, &locked, Way::FormAgain),
            (Phase::Init, true, &ours, Way::Confirm),
            (Phase::Confirm, true, &ours, Way::Confirm),
            (Phase::Place, true, &other, Way::Refuse),
            (Phase::Confirm, true, &other, Way::Refuse),
        ] {
            assert_eq!(way(&record(phase), now, has_moved, false), expected, "{phase:?} {has_moved} {now:?}");
        }
        assert_eq!(way(&record(Phase::Place), &other, true, true), Way::PutBack);
        assert_eq!(way(&record(Phase::Init), &other, true, true), Way::PutBack);
        assert_eq!(way(&record(Phase::Init), &ours, true, true), Way::Confirm, "it is put aside later, by its own run");
    }
}

//! What to do with a restore that an earlier run began and did not end.
//!
//! Decided by the identity that lies on the disk and by whether an engine has made that state its own, then by what the
//! engine says once that is settled, and last by whether the raft log has grown since the backup: never by one answer.
//! A state whose log has grown was formed and may have been in use since; nothing forms it again or puts it away.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use swarmdr_archive::BackupId;

use super::{
    Request, Restore, RestoreReport,
    change::Change,
    fence,
    holding::{Held, Holding, OnDisk, Wanted},
    journal::{Journal, Phase, Record},
    plan::checks,
    readdress,
    ready::Waits,
};
use crate::{
    fault::Fault,
    host::{
        engine::{EngineFacts, SwarmState},
        key_file, network,
        placement::Placement,
    },
    report::Phases,
    source::Choice,
    swarm::{Examined, Inventory, Proof, inventory::Raft},
    vault::catalog::Filter,
};

/// The ways out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing of the host was changed yet, or nothing of it is left.
    Forget,
    /// The swarm was not formed: what was there comes back.
    PutBack,
    /// The engine was asked to form the swarm, and has not done so.
    FormAgain,
    /// The swarm works, and may have been in use since.
    Confirm,
    /// The swarm was formed, may have been in use since, and does not work at the moment.
    Keep,
    /// Whether it was formed and used cannot be read from its log.
    Unclear,
    /// Somebody made another swarm on this host in the meantime.
    Refuse,
}

/// What of a request counts here.
#[derive(Debug, Clone, Copy)]
struct Terms {
    waits: Waits,
    force: bool,
    fenced: bool,
}

/// What the disk says before the engine is asked.
#[derive(Debug, PartialEq, Eq)]
enum Guess {
    Sure(Way),
    /// An engine has made the restored state its own.
    TakenUp,
}

fn guess(record: &Record, on_disk: &OnDisk, has_moved: bool, force: bool) -> Guess {
    if record.phase <= Phase::Stop || !has_moved {
        return Guess::Sure(Way::Forget);
    }
    let may_be_formed = matches!(record.phase, Phase::Init | Phase::Confirm);
    let foreign = Guess::Sure(if force { Way::PutBack } else { Way::Refuse });
    match on_disk {
        // Somebody left the restored swarm, or what there was is back already.
        OnDisk::Nothing if may_be_formed || (record.phase == Phase::Undo && record.aside.is_none()) => {
            Guess::Sure(Way::Forget)
        }
        OnDisk::Nothing => Guess::Sure(Way::PutBack),
        OnDisk::Unknown => foreign,
        OnDisk::State(held) if !held.is(&record.plan.cluster_id, &record.plan.node_id) => foreign,
        OnDisk::State(Held { is_taken_up: true, .. }) => Guess::TakenUp,
        OnDisk::State(_) if may_be_formed => Guess::Sure(Way::FormAgain),
        OnDisk::State(_) => Guess::Sure(Way::PutBack),
    }
}

/// What becomes of a restored state that an engine made its own and that does not work now.
fn way_of_taken_up(phase: Phase, recorded: Option<&Inventory>, examined: Option<&Examined>) -> Way {
    match (has_grown(recorded, examined), phase) {
        (Some(false), Phase::Undo) => Way::PutBack,
        (Some(false), _) => Way::FormAgain,
        (Some(true), _) => Way::Keep,
        (None, _) => Way::Unclear,
    }
}

/// Whether the log ends elsewhere than that of the backup, or has other members; `None` if it cannot be read. Forming a
/// cluster, leading it, joining it and every change in it append to the log; an engine that only looks for its old peers
/// does not.
fn has_grown(recorded: Option<&Inventory>, examined: Option<&Examined>) -> Option<bool> {
    let now = examined.filter(|examined| examined.proof == Proof::Proven)?.raft.as_ref()?;
    let Some(then) = recorded.and_then(|recorded| recorded.raft.as_ref()) else { return Some(true) };
    let members = |raft: &Raft| raft.members.iter().map(|member| member.raft_id).collect::<Vec<_>>();
    Some((then.raft_id, then.last_index, members(then)) != (now.raft_id, now.last_index, members(now)))
}

impl Restore<'_> {
    /// Ends what an earlier run began. A report if that run's backup is back and this run wants no other one.
    pub async fn settle(&self, request: &Request) -> Result<Option<RestoreReport>> {
        let force = request.overrides.force;
        let terms = Terms { waits: request.waits, force, fenced: request.fenced };
        let Some((id, report)) = self.settle_journal(terms, request.dry_run).await? else {
            return Ok(None);
        };
        let wants_it = match &request.choice {
            // Whoever bounds the choice by time or cluster may mean another backup.
            Choice::Vaults(Filter { id: None, before: None, after: None, cluster: None, .. }) => {
                !force && report.readdressed.is_some() == request.overrides.readdress.is_some()
            }
            Choice::Vaults(Filter { id: None, .. }) => false,
            Choice::Vaults(Filter { id: Some(wanted), .. }) => *wanted == id,
            Choice::File(_) => false,
        };
        Ok(Some(report).filter(|_| wants_it))
    }

    /// The same for a run that wants any working swarm.
    pub async fn settle_any(&self, fenced: bool, may_change: bool) -> Result<Option<RestoreReport>> {
        let terms = Terms { waits: Waits::default(), force: false, fenced };
        Ok(self.settle_journal(terms, !may_change).await?.map(|(_, report)| report))
    }

    async fn settle_journal(&self, terms: Terms, dry_run: bool) -> Result<Option<(BackupId, RestoreReport)>> {
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
            Some(_) => readdress::way(self, &journal.record, &placement, terms.waits, terms.force).await?,
            None => self.way(&journal.record, &placement, terms).await?,
        };
        tracing::warn!("a restore of backup {id} was cut short in phase `{phase}`; {}", way.words());
        Ok(self.follow(way, placement, journal, &facts, terms.fenced).await?.map(|report| (id, report)))
    }

    async fn way(&self, record: &Record, placement: &Placement, terms: Terms) -> Result<Way> {
        let state_dir = placement.state_dir();
        match guess(record, &OnDisk::read(&state_dir), placement.has_moved(), terms.force) {
            Guess::Sure(Way::FormAgain) => {
                self.check_can_unlock(record, placement)?;
                self.await_own_address(record, terms.waits).await?;
                return self.fenced(record, placement, terms.fenced).await;
            }
            Guess::Sure(way) => return Ok(way),
            Guess::TakenUp => {}
        }
        if let Some(holding) = self.works_after_all(record, placement, terms.waits).await? {
            tracing::info!("node {} of the restored swarm works", holding.facts.swarm.node_id);
            return Ok(Way::Confirm);
        }
        let examined = self.examine_present(&state_dir).await;
        match way_of_taken_up(record.phase, record.recorded.as_ref(), examined.as_ref()) {
            Way::FormAgain => {
                require_own_address(record)?;
                self.fenced(record, placement, terms.fenced).await
            }
            // The run that says so puts it aside.
            Way::Unclear if terms.force => Ok(Way::Keep),
            way => Ok(way),
        }
    }

    /// The swarm is not formed on a host that does not have its address: that may be another one's by now.
    async fn await_own_address(&self, record: &Record, waits: Waits) -> Result<()> {
        if record.plan.interface.is_some() {
            self.await_address(waits.address, record.plan.raft_addr.ip()).await?;
        }
        require_own_address(record)
    }

    /// Waits for the engine that has made the restored state its own; `None` if its swarm does not come to work.
    pub(super) async fn works_after_all(
        &self,
        record: &Record,
        placement: &Placement,
        waits: Waits,
    ) -> Result<Option<Holding>> {
        let address = record.plan.readdress.as_ref().map_or(record.plan.raft_addr, |target| target.addr).ip();
        if record.plan.readdress.is_some() || record.plan.interface.is_some() {
            self.await_address(waits.address, address).await?;
        }
        let node_id = record.plan.readdress.is_none().then_some(record.plan.node_id.as_str());
        let wanted = Wanted { cluster_id: &record.plan.cluster_id, node_id };
        let holding = self.await_settled(wanted, waits.engine, true).await?;
        if checks::works(&holding.facts.swarm) {
            return Ok(Some(holding));
        }
        if holding.facts.swarm.state == SwarmState::Locked {
            self.check_can_unlock(record, placement)?;
        }
        Ok(None)
    }

    /// Whoever forms the cluster again drops the managers of the state that lies there. Where they answer, what was there
    /// before comes back: it may be one of them.
    async fn fenced(&self, record: &Record, placement: &Placement, vouched: bool) -> Result<Way> {
        if vouched {
            return Ok(Way::FormAgain);
        }
        let asked = self.ask_managers(&self.others(record, placement).await).await;
        fence::require_asked(&asked.unasked())?;
        match checks::fence(&asked.living) {
            Ok(()) => Ok(Way::FormAgain),
            Err(error) if record.aside.is_some() => {
                tracing::warn!("{error:#}");
                Ok(Way::PutBack)
            }
            Err(error) => Err(error),
        }
    }

    /// Managers of the state that lies there now, and of the backup.
    async fn others(&self, record: &Record, placement: &Placement) -> Vec<SocketAddr> {
        let mut others = self.present_peers(&placement.state_dir()).await;
        let recorded = record.recorded.iter().flat_map(|recorded| &recorded.nodes);
        others.extend(recorded.filter_map(|node| crate::swarm::identity::usable(node.manager_addr.as_deref()?)));
        if record.plan.interface.is_some() {
            others.retain(|addr| *addr != record.plan.raft_addr);
        }
        others.sort();
        others.dedup();
        others
    }

    /// Whether what was decided about the state that lies there holds once its engine is stopped: until then it may have
    /// found its leader, and been used.
    async fn is_still_to_be_formed(&self, record: &Record, placement: &Placement, vouched: bool) -> Result<bool> {
        let state_dir = placement.state_dir();
        let on_disk = OnDisk::read(&state_dir);
        let is_ours = |held: &&Held| held.is(&record.plan.cluster_id, &record.plan.node_id);
        let Some(held) = on_disk.held().filter(is_ours) else { return Ok(false) };
        require_own_address(record)?;
        if held.is_taken_up {
            let examined = self.examine_present(&state_dir).await;
            if way_of_taken_up(record.phase, record.recorded.as_ref(), examined.as_ref()) != Way::FormAgain {
                return Ok(false);
            }
        }
        Ok(self.fenced(record, placement, vouched).await? == Way::FormAgain)
    }

    async fn follow(
        &self,
        way: Way,
        placement: Placement,
        mut journal: Journal,
        facts: &EngineFacts,
        fenced: bool,
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
            Way::Unclear => return Err(unclear(&journal.record)),
            Way::Keep => {
                if let Some(aside) = journal.record.aside.as_ref().filter(|aside| aside.exists()) {
                    tracing::warn!("what was there before that restore is kept in {}", aside.display());
                }
                placement.tidy();
                // One that was being undone was never confirmed: it leaves no receipt.
                if journal.record.phase == Phase::Undo {
                    journal.forget()?
                } else {
                    journal.finish()?
                }
                return Ok(None);
            }
            Way::Refuse => return Err(refuse(&journal.record, facts)),
            Way::FormAgain => self.form_again(placement, journal, fenced, &mut phases).await?,
            Way::Confirm => {
                let undone = (journal.record.phase == Phase::Undo).then(|| not_undone(&journal.record));
                let mut report = Change::new(self, placement, journal).await?.confirm_late(&mut phases).await?;
                report.attention.extend(undone);
                report
            }
        };
        Ok(Some(RestoreReport { finished_earlier_run: true, phases: phases.finish(), ..report }))
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
        Err(Fault::failed("the state that an earlier run had placed changed while its engine was stopped; the engine runs again, and nothing was changed")
            .advice("run the same command again: it looks at the swarm as it is then")
            .into())
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
}

/// The earlier run had found something wrong, and this one cannot tell whether the swarm has been used since.
fn not_undone(record: &Record) -> String {
    let aside = match &record.aside {
        Some(aside) => format!("; what was there before is kept in {}", aside.display()),
        None => String::new(),
    };
    format!("an earlier run was undoing this restore when it was cut short; the swarm works, and was left alone{aside}")
}

fn require_own_address(record: &Record) -> Result<()> {
    let wanted = record.plan.raft_addr.ip();
    let here = network::local_addresses()?;
    if record.plan.interface.is_none() || network::has(&here, wanted) {
        return Ok(());
    }
    Err(Fault::refused(format!(
        "a restore of backup {} was cut short before its swarm was formed at {wanted}, and this host has {}",
        record.plan.id,
        network::describe(&here)
    ))
    .advice(format!("give this host the address {wanted}, or wait for it: --wait-for-ip 120s"))
    .advice("if this disk was copied from another host, move the journal away: restore.json in the directory .swarmdr of the engine's data root")
    .into())
}

/// Nothing is decided about a log that cannot be read: the journal stays.
fn unclear(record: &Record) -> anyhow::Error {
    let mut fault = Fault::refused(format!(
        "a restore of backup {} was cut short, its swarm does not work now, and its raft log cannot be read, so whether it has been in use since is not known",
        record.plan.id
    ))
    .advice("if it is autolocked, see that the unlock key is the one of now: --unlock-key FILE")
    .advice("see `journalctl -u docker`, and `swarmdr-agent inspect --dir` for what breaks in the log");
    if let Some(aside) = &record.aside {
        fault = fault.advice(format!("what was there before the restore is in {}", aside.display()));
    }
    fault.advice("or say --force to restore once more (the present state is moved aside, not deleted)").into()
}

fn refuse(record: &Record, facts: &EngineFacts) -> anyhow::Error {
    let here = match OnDisk::read(&record.plan.state_dir) {
        OnDisk::State(held) => format!("node {} of swarm {}", held.node_id, held.cluster_id),
        _ if facts.swarm.node_id.is_empty() => "its state directory does not say which".to_owned(),
        _ => format!("node {}", facts.swarm.node_id),
    };
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
            Way::Forget => "nothing of it is left to be undone",
            Way::PutBack => "putting back what was there before",
            Way::FormAgain => "forming the swarm again from the state that it placed",
            Way::Confirm => "the swarm works, and is compared with the backup now",
            Way::Keep => "the swarm was formed and has been in use since: it stays as it is",
            Way::Unclear => "whether its swarm has been in use since cannot be read",
            Way::Refuse => "this host has another swarm now",
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::manifest::Counts;

    use super::*;
    use crate::{
        restore::plan::tests::{a_plan, examined},
        swarm::inventory::{Cluster, Member, Raft},
    };

    fn raft(last_index: u64) -> Raft {
        Raft { raft_id: 1, last_index, ..Raft::default() }
    }

    fn record(phase: Phase) -> Record {
        let mut recorded = crate::inspection::tests::inventory_of(Cluster::default());
        recorded.raft = Some(raft(100));
        let now = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let plan = a_plan(std::path::Path::new("/data"));
        Record { phase, ..Record::new(now, plan, None, Counts::default(), recorded) }
    }

    fn state(cluster: &str, node: &str, is_taken_up: bool) -> OnDisk {
        OnDisk::State(Held { cluster_id: cluster.into(), node_id: node.into(), is_manager: true, is_taken_up })
    }

    #[test]
    fn the_disk_decides_before_the_engine_is_asked() {
        let (placed, formed) = (state("cluster", "node", false), state("cluster", "node", true));
        let (other, joined) = (state("other", "someone", true), state("cluster", "someone", true));
        for (phase, has_moved, on_disk, expected) in [
            (Phase::Ready, false, &OnDisk::Nothing, Guess::Sure(Way::Forget)),
            (Phase::Stop, false, &other, Guess::Sure(Way::Forget)),
            (Phase::Aside, false, &other, Guess::Sure(Way::Forget)),
            (Phase::Aside, true, &OnDisk::Nothing, Guess::Sure(Way::PutBack)),
            (Phase::Place, true, &placed, Guess::Sure(Way::PutBack)),
            (Phase::Start, true, &placed, Guess::Sure(Way::PutBack)),
            (Phase::Unlock, true, &placed, Guess::Sure(Way::PutBack)),
            (Phase::Undo, true, &placed, Guess::Sure(Way::PutBack)),
            (Phase::Undo, true, &OnDisk::Nothing, Guess::Sure(Way::Forget)),
            (Phase::Undo, false, &other, Guess::Sure(Way::Forget)),
            (Phase::Init, true, &placed, Guess::Sure(Way::FormAgain)),
            (Phase::Confirm, true, &placed, Guess::Sure(Way::FormAgain)),
            (Phase::Init, true, &OnDisk::Nothing, Guess::Sure(Way::Forget)),
            (Phase::Start, true, &formed, Guess::TakenUp),
            (Phase::Undo, true, &formed, Guess::TakenUp),
            (Phase::Init, true, &formed, Guess::TakenUp),
            (Phase::Confirm, true, &formed, Guess::TakenUp),
            (Phase::Place, true, &other, Guess::Sure(Way::Refuse)),
            (Phase::Confirm, true, &other, Guess::Sure(Way::Refuse)),
            (Phase::Confirm, true, &joined, Guess::Sure(Way::Refuse)),
            (Phase::Confirm, true, &OnDisk::Unknown, Guess::Sure(Way::Refuse)),
        ] {
            assert_eq!(guess(&record(phase), on_disk, has_moved, false), expected, "{phase:?} {has_moved} {on_disk:?}");
        }
        assert_eq!(guess(&record(Phase::Init), &other, true, true), Guess::Sure(Way::PutBack));
        assert_eq!(guess(&record(Phase::Init), &formed, true, true), Guess::TakenUp, "its own run puts it aside later");
        let with_aside = Record { aside: Some("/data/swarm.before".into()), ..record(Phase::Undo) };
        assert_eq!(guess(&with_aside, &OnDisk::Nothing, true, false), Guess::Sure(Way::PutBack));
    }

    #[test]
    fn a_log_that_has_grown_is_never_formed_again_nor_put_away() {
        let record = record(Phase::Init);
        let recorded = record.recorded.as_ref();
        let at = |last_index| Examined { raft: Some(raft(last_index)), ..examined() };
        let joined = Raft { members: vec![Member { raft_id: 2, ..Member::default() }], ..raft(100) };
        for (phase, now, expected) in [
            (Phase::Init, Some(at(100)), Way::FormAgain),
            (Phase::Confirm, Some(at(100)), Way::FormAgain),
            (Phase::Undo, Some(at(100)), Way::PutBack),
            (Phase::Confirm, Some(at(101)), Way::Keep),
            (Phase::Undo, Some(at(101)), Way::Keep),
            (Phase::Confirm, Some(Examined { raft: Some(Raft { raft_id: 2, ..raft(100) }), ..examined() }), Way::Keep),
            (Phase::Confirm, Some(Examined { raft: None, ..examined() }), Way::Unclear),
            (Phase::Confirm, Some(Examined { raft: Some(joined), ..examined() }), Way::Keep),
            (Phase::Undo, None, Way::Unclear),
            (Phase::Confirm, None, Way::Unclear),
        ] {
            assert_eq!(way_of_taken_up(phase, recorded, now.as_ref()), expected, "{phase:?} {now:?}");
        }
        assert_eq!(way_of_taken_up(Phase::Init, None, Some(&at(100))), Way::Keep, "an old journal does not say");
    }
}

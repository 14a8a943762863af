//! The action that ends an interrupted restore, judged by what was found.
//!
//! The action depends on the identity on disk and on whether an engine has adopted that state, then on the engine's
//! answer once that is stable, and last on whether the raft log shows a leader since the backup: never on one answer
//! alone. A state that has had a leader since may have been in use; it is neither formed again nor replaced.

use swarm_state::{Examined, Inventory, Proof, inventory::Raft};

use crate::restore::{
    journal::{Phase, Record},
    on_disk::{Held, OnDisk},
};

/// Actions that end an interrupted restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::restore) enum RecoveryAction {
    /// Drop the journal: nothing of the host was changed yet, or nothing of the restore is left.
    Forget,
    /// Put the old state back: the swarm was not formed.
    PutBack,
    /// Form the swarm again: the engine was asked to, and has not done so.
    FormAgain,
    /// Confirm the swarm: it works, and may have been in use since.
    Confirm,
    /// Keep the swarm: it was formed, may have been in use since, and does not work at the moment.
    Keep,
    /// Refuse: the log does not show whether the swarm was formed and used.
    Unclear,
    /// Refuse: another swarm was created or joined on this host in the meantime.
    Refuse,
}

impl RecoveryAction {
    pub(super) fn words(self) -> &'static str {
        match self {
            RecoveryAction::Forget => "nothing of it is left to be undone",
            RecoveryAction::PutBack => "putting back what was there before",
            RecoveryAction::FormAgain => "forming the swarm again from the state that it placed",
            RecoveryAction::Confirm => "the swarm works, and is compared with the backup now",
            RecoveryAction::Keep => "the swarm was formed and has been in use since: it stays as it is",
            RecoveryAction::Unclear => "whether its swarm has been in use since cannot be read",
            RecoveryAction::Refuse => "this host has another swarm now",
        }
    }
}

/// Verdict by the disk alone, before the engine is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OnDiskVerdict {
    Certain(RecoveryAction),
    /// An engine has adopted the restored state.
    TakenUp,
}

pub(super) fn judge(record: &Record, on_disk: &OnDisk, has_moved: bool, force: bool) -> OnDiskVerdict {
    if record.phase <= Phase::Stop || !has_moved {
        return OnDiskVerdict::Certain(RecoveryAction::Forget);
    }
    let may_be_formed = matches!(record.phase, Phase::Init | Phase::Confirm);
    let foreign = OnDiskVerdict::Certain(if force { RecoveryAction::PutBack } else { RecoveryAction::Refuse });
    match on_disk {
        // This host left the restored swarm, or the old state is back already.
        OnDisk::Nothing if may_be_formed || (record.phase == Phase::Undo && record.aside.is_none()) => {
            OnDiskVerdict::Certain(RecoveryAction::Forget)
        }
        OnDisk::Nothing => OnDiskVerdict::Certain(RecoveryAction::PutBack),
        OnDisk::Unknown => foreign,
        OnDisk::State(held) if held.own != record.plan.swarm_node() => foreign,
        OnDisk::State(Held { is_taken_up: true, .. }) => OnDiskVerdict::TakenUp,
        OnDisk::State(_) if may_be_formed => OnDiskVerdict::Certain(RecoveryAction::FormAgain),
        OnDisk::State(_) => OnDiskVerdict::Certain(RecoveryAction::PutBack),
    }
}

/// Chooses the action for a restored state that an engine has adopted and that does not work now.
pub(super) fn action_for_taken_up(
    phase: Phase,
    recorded: Option<&Inventory>,
    examined: Option<&Examined>,
) -> RecoveryAction {
    match (has_had_leader(recorded, examined), phase) {
        (Some(false), Phase::Undo) => RecoveryAction::PutBack,
        (Some(false), _) => RecoveryAction::FormAgain,
        (Some(true), _) => RecoveryAction::Keep,
        (None, _) => RecoveryAction::Unclear,
    }
}

/// Returns whether the swarm has had a leader since the backup; `None` if the log cannot be read.
///
/// Leading a cluster, joining it and every change in it append to the log; an engine that only looks for its old peers
/// does not. At force-new-cluster an engine appends the removal of each other member, in one write, before any of it
/// counts (swarmkit `manager/state/raft/storage.go`). A power cut right after that leaves a longer log of which nothing
/// more is agreed on, and after the next boot an engine that looks for its old peers for ever (seen on 26.1).
fn has_had_leader(recorded: Option<&Inventory>, examined: Option<&Examined>) -> Option<bool> {
    let examined = examined.filter(|examined| examined.proof == Proof::Proven)?;
    let now = examined.raft.as_ref()?;
    let Some(then) = recorded.and_then(|recorded| recorded.raft.as_ref()) else { return Some(true) };
    let members = |raft: &Raft| raft.members.iter().map(|member| member.raft_id).collect::<Vec<_>>();
    // A living leader may also have replaced entries that were not agreed on when the backup was made.
    let is_same = (then.raft_id, then.commit, members(then)) == (now.raft_id, now.commit, members(now));
    let is_as_long = then.last_index == now.last_index;
    Some(!(is_same && (is_as_long || examined.uncommitted_of_leaders == 0)))
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::{SwarmNode, manifest::Counts};

    use super::*;
    use crate::restore::plan::tests::{a_plan, examined};
    use swarm_state::{
        Checked,
        inventory::{Cluster, Member, Raft},
    };

    fn raft(last_index: u64) -> Raft {
        Raft { raft_id: 1, last_index, commit: last_index, ..Raft::default() }
    }

    fn record(phase: Phase) -> Record {
        let mut recorded = swarm_state::Inventory::empty(Cluster::default());
        recorded.raft = Some(raft(100));
        let now = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let plan = a_plan(std::path::Path::new("/data"));
        Record { phase, ..Record::new(now, plan, None, Counts::default(), recorded) }
    }

    fn state(cluster: &str, node: &str, is_taken_up: bool) -> OnDisk {
        let own = SwarmNode::parse(cluster, node).expect("are ids");
        OnDisk::State(Held { own, is_manager: true, is_taken_up })
    }

    #[test]
    fn the_disk_decides_before_the_engine_is_asked() {
        let (placed, formed) = (state("cluster", "node", false), state("cluster", "node", true));
        let (other, joined) = (state("other", "someone", true), state("cluster", "someone", true));
        for (phase, has_moved, on_disk, expected) in [
            (Phase::Ready, false, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Stop, false, &other, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Aside, false, &other, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Aside, true, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Place, true, &placed, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Start, true, &placed, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Unlock, true, &placed, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Undo, true, &placed, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Undo, true, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Undo, false, &other, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Init, true, &placed, OnDiskVerdict::Certain(RecoveryAction::FormAgain)),
            (Phase::Confirm, true, &placed, OnDiskVerdict::Certain(RecoveryAction::FormAgain)),
            (Phase::Init, true, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Start, true, &formed, OnDiskVerdict::TakenUp),
            (Phase::Undo, true, &formed, OnDiskVerdict::TakenUp),
            (Phase::Init, true, &formed, OnDiskVerdict::TakenUp),
            (Phase::Confirm, true, &formed, OnDiskVerdict::TakenUp),
            (Phase::Place, true, &other, OnDiskVerdict::Certain(RecoveryAction::Refuse)),
            (Phase::Confirm, true, &other, OnDiskVerdict::Certain(RecoveryAction::Refuse)),
            (Phase::Confirm, true, &joined, OnDiskVerdict::Certain(RecoveryAction::Refuse)),
            (Phase::Confirm, true, &OnDisk::Unknown, OnDiskVerdict::Certain(RecoveryAction::Refuse)),
        ] {
            assert_eq!(judge(&record(phase), on_disk, has_moved, false), expected, "{phase:?} {has_moved} {on_disk:?}");
        }
        assert_eq!(judge(&record(Phase::Init), &other, true, true), OnDiskVerdict::Certain(RecoveryAction::PutBack));
        assert_eq!(
            judge(&record(Phase::Init), &formed, true, true),
            OnDiskVerdict::TakenUp,
            "its own run puts it aside later"
        );
        let with_aside = Record { aside: Some("/data/swarm.before".into()), ..record(Phase::Undo) };
        assert_eq!(judge(&with_aside, &OnDisk::Nothing, true, false), OnDiskVerdict::Certain(RecoveryAction::PutBack));
    }

    #[test]
    fn a_swarm_that_has_had_a_leader_is_never_formed_again_nor_put_away() {
        let record = record(Phase::Init);
        let recorded = record.recorded.as_ref();
        let at = |last_index| Examined { raft: Some(raft(last_index)), ..examined() };
        let uncommitted = |uncommitted_of_leaders| {
            let raft = Some(Raft { commit: 100, ..raft(102) });
            Examined { raft, uncommitted_of_leaders, ..examined() }
        };
        let as_long = |commit| Examined { raft: Some(Raft { commit, ..raft(100) }), ..examined() };
        let joined = Raft { members: vec![Member { raft_id: 2, ..Member::default() }], ..raft(100) };
        for (phase, now, expected) in [
            (Phase::Init, Some(at(100)), RecoveryAction::FormAgain),
            (Phase::Confirm, Some(at(100)), RecoveryAction::FormAgain),
            (Phase::Undo, Some(at(100)), RecoveryAction::PutBack),
            (Phase::Confirm, Some(at(101)), RecoveryAction::Keep),
            (Phase::Undo, Some(at(101)), RecoveryAction::Keep),
            (Phase::Init, Some(uncommitted(0)), RecoveryAction::FormAgain),
            (Phase::Undo, Some(uncommitted(0)), RecoveryAction::PutBack),
            (Phase::Init, Some(uncommitted(1)), RecoveryAction::Keep),
            (Phase::Init, Some(as_long(100)), RecoveryAction::FormAgain),
            (Phase::Init, Some(as_long(99)), RecoveryAction::Keep),
            (
                Phase::Confirm,
                Some(Examined { proof: Proof::Sealed(Checked { entries: 1, bytes: 1 }), ..uncommitted(0) }),
                RecoveryAction::Unclear,
            ),
            (
                Phase::Confirm,
                Some(Examined { raft: Some(Raft { raft_id: 2, ..raft(100) }), ..examined() }),
                RecoveryAction::Keep,
            ),
            (Phase::Confirm, Some(Examined { raft: None, ..examined() }), RecoveryAction::Unclear),
            (Phase::Confirm, Some(Examined { raft: Some(joined), ..examined() }), RecoveryAction::Keep),
            (Phase::Undo, None, RecoveryAction::Unclear),
            (Phase::Confirm, None, RecoveryAction::Unclear),
        ] {
            assert_eq!(action_for_taken_up(phase, recorded, now.as_ref()), expected, "{phase:?} {now:?}");
        }
        assert_eq!(
            action_for_taken_up(Phase::Init, None, Some(&at(100))),
            RecoveryAction::Keep,
            "an old journal does not say"
        );
    }
}

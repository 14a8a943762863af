//! Recovery of a restore at another address that an earlier run began and did not end.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;
use swarm_state::{Examined, Proof};

use super::SUCCESSION;
use crate::{
    host::{
        engine::Engine,
        files::{key_file, placement::Placement},
        second_engine::SecondEngine,
        systemd::Systemd,
    },
    restore::{
        Restore,
        interrupted::action::RecoveryAction,
        journal::{Phase, Record},
        on_disk::{Held, OnDisk},
        ready::Waits,
    },
};

/// Verdict by the disk alone, before the engine is asked.
#[derive(Debug, PartialEq, Eq)]
enum OnDiskVerdict {
    Certain(RecoveryAction),
    /// The swarm may be this host's alone by now, and in use.
    PerhapsAlone,
}

fn judge(record: &Record, on_disk: &OnDisk, has_moved: bool, force: bool) -> OnDiskVerdict {
    if record.phase <= Phase::Stop || !has_moved {
        return OnDiskVerdict::Certain(RecoveryAction::Forget);
    }
    // The old manager was demoted, or may have been before the undo began.
    let may_be_alone = matches!(record.phase, Phase::Demote | Phase::Remove | Phase::Confirm | Phase::Undo);
    let foreign = OnDiskVerdict::Certain(if force { RecoveryAction::PutBack } else { RecoveryAction::Refuse });
    match on_disk {
        OnDisk::State(held) if held.own.cluster != record.plan.cluster_id => foreign,
        // In earlier phases, this host may have been joined to the swarm by hand since, if that was brought back
        // elsewhere.
        OnDisk::State(held) if may_be_alone || held.is_taken_up => OnDiskVerdict::PerhapsAlone,
        OnDisk::Nothing if matches!(record.phase, Phase::Remove | Phase::Confirm) => {
            OnDiskVerdict::Certain(RecoveryAction::Forget)
        }
        OnDisk::Unknown if may_be_alone => foreign,
        _ => OnDiskVerdict::Certain(RecoveryAction::PutBack),
    }
}

/// Chooses the action for a state that was joined and does not work: one of its two managers died with the interrupted
/// run.
///
/// A log that cannot be read to its end was still being joined, unless the old manager may have been demoted, or the
/// state is locked: then its owner is unknown.
fn action_for_joined(
    phase: Phase,
    old: &str,
    own: &str,
    is_locked: bool,
    examined: Option<&Examined>,
) -> RecoveryAction {
    let raft = examined.filter(|examined| examined.proof == Proof::Proven).and_then(|examined| examined.raft.as_ref());
    let Some(raft) = raft else {
        return if phase < Phase::Demote && !is_locked { RecoveryAction::PutBack } else { RecoveryAction::Unclear };
    };
    let is = |wanted: &str| raft.members.iter().any(|member| member.node_id.as_deref() == Some(wanted));
    let nobody_else =
        raft.members.iter().all(|member| matches!(member.node_id.as_deref(), Some(id) if id == old || id == own));
    if is(old) && nobody_else { RecoveryAction::PutBack } else { RecoveryAction::Keep }
}

/// True if the state on disk cannot come from that run, which joins as a manager and records its node id.
fn is_unrelated(record: &Record, held: &Held) -> bool {
    !held.is_manager || record.joined.as_ref().is_some_and(|joined| *joined != held.own.node)
}

/// Chooses the recovery action. A swarm in which the old manager is still a member died with it, and no task of it ran
/// here.
pub async fn recovery_action(
    restore: &Restore<'_>,
    record: &Record,
    placement: &Placement,
    waits: Waits,
    force: bool,
) -> Result<RecoveryAction> {
    // Processes that are left of the old manager must not take part any more.
    SecondEngine::remove_left(&Systemd::connect().await?, restore.run.config).await?;
    let state_dir = placement.state_dir();
    let on_disk = OnDisk::read(&state_dir);
    if let OnDiskVerdict::Certain(way) = judge(record, &on_disk, placement.has_moved(), force) {
        return Ok(way);
    }
    if on_disk.held().is_some_and(|held| is_unrelated(record, held)) {
        return Ok(if force { RecoveryAction::PutBack } else { RecoveryAction::Refuse });
    }
    if restore.works_after_all(record, placement, waits).await?.is_some() {
        if record.phase < Phase::Demote {
            // The second engine is gone, so the swarm was brought back elsewhere, and this host was joined to it.
            return Ok(if force { RecoveryAction::PutBack } else { RecoveryAction::Refuse });
        }
        let engine = Engine::at(&restore.run.config.engine.socket);
        super::is_no_manager(&engine, record.plan.node_id.as_str(), SUCCESSION).await?;
        return Ok(RecoveryAction::Confirm);
    }
    let own = on_disk.held().map_or("", |held| held.own.node.as_str());
    let examined = restore.examine_present(&state_dir).await;
    let is_locked = key_file::is_locked_in(&state_dir).unwrap_or(true) && examined.is_none();
    let way = action_for_joined(record.phase, record.plan.node_id.as_str(), own, is_locked, examined.as_ref());
    match way {
        RecoveryAction::PutBack if may_be_alive(restore, record.plan.raft_addr, &state_dir).await => {
            Ok(RecoveryAction::Keep)
        }
        way => Ok(way),
    }
}

/// True if another manager answers, or cannot be asked. A second engine that died with the run does not answer, so a
/// manager that answers at the old address, or at another one, is alive.
async fn may_be_alive(restore: &Restore<'_>, old: SocketAddr, state_dir: &Path) -> bool {
    let mut others = restore.present_peers(state_dir).await;
    others.retain(|addr| *addr != old);
    let asked = restore.ask_managers(&[others, vec![old]].concat()).await;
    // There is no route to the old address by default.
    let unasked = asked.unasked.iter().any(|(addr, _)| *addr != old);
    !asked.living.is_empty() || unasked
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::{SwarmNode, manifest::Counts};

    use super::*;
    use crate::restore::{
        on_disk::Held,
        plan::tests::{a_plan, examined},
    };
    use swarm_state::inventory::{Cluster, Member, Raft};

    #[test]
    fn only_what_may_be_alone_is_looked_at() {
        let recorded = swarm_state::Inventory::empty(Cluster::default());
        let plan = a_plan(std::path::Path::new("/data"));
        let begun_at = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let record = Record::new(begun_at, plan, None, Counts::default(), recorded);
        let state = |cluster: &str| {
            let own = SwarmNode::parse(cluster, "new").expect("are ids");
            OnDisk::State(Held { own, is_manager: true, is_taken_up: true })
        };
        let (ours, other) = (state("cluster"), state("other"));
        for (phase, has_moved, on_disk, expected) in [
            (Phase::Ready, false, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Stop, false, &other, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Aside, false, &other, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Aside, true, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Start, true, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Join, true, &OnDisk::Unknown, OnDiskVerdict::Certain(RecoveryAction::PutBack)),
            (Phase::Join, true, &ours, OnDiskVerdict::PerhapsAlone),
            (Phase::Demote, true, &ours, OnDiskVerdict::PerhapsAlone),
            (Phase::Remove, true, &ours, OnDiskVerdict::PerhapsAlone),
            (Phase::Confirm, true, &ours, OnDiskVerdict::PerhapsAlone),
            (Phase::Undo, true, &ours, OnDiskVerdict::PerhapsAlone),
            (Phase::Confirm, true, &OnDisk::Nothing, OnDiskVerdict::Certain(RecoveryAction::Forget)),
            (Phase::Confirm, true, &OnDisk::Unknown, OnDiskVerdict::Certain(RecoveryAction::Refuse)),
            (Phase::Join, true, &other, OnDiskVerdict::Certain(RecoveryAction::Refuse)),
            (Phase::Confirm, true, &other, OnDiskVerdict::Certain(RecoveryAction::Refuse)),
        ] {
            let record = Record { phase, ..record.clone() };
            assert_eq!(judge(&record, on_disk, has_moved, false), expected, "{phase:?} {has_moved} {on_disk:?}");
        }
        assert_eq!(
            judge(&Record { phase: Phase::Join, ..record }, &other, true, true),
            OnDiskVerdict::Certain(RecoveryAction::PutBack)
        );
    }

    #[test]
    fn a_swarm_of_two_without_the_old_one_is_put_away_and_nothing_else() {
        let of = |members: &[&str]| {
            let member = |id: &&str| Member { node_id: Some((*id).to_owned()), ..Member::default() };
            Examined {
                raft: Some(Raft { members: members.iter().map(member).collect(), ..Raft::default() }),
                ..examined()
            }
        };
        for (now, expected) in [
            (Some(of(&["old", "new"])), RecoveryAction::PutBack),
            (Some(of(&["new"])), RecoveryAction::Keep),
            (Some(of(&["new", "joined"])), RecoveryAction::Keep),
            (Some(of(&["old", "new", "joined"])), RecoveryAction::Keep),
            (Some(Examined { raft: None, ..examined() }), RecoveryAction::Unclear),
            (None, RecoveryAction::Unclear),
        ] {
            assert_eq!(action_for_joined(Phase::Demote, "old", "new", false, now.as_ref()), expected, "{now:?}");
        }
        assert_eq!(action_for_joined(Phase::Join, "old", "new", false, None), RecoveryAction::PutBack);
        assert_eq!(action_for_joined(Phase::Join, "old", "new", true, None), RecoveryAction::Unclear);
        assert_eq!(
            action_for_joined(Phase::Join, "old", "new", false, Some(&of(&["new", "joined"]))),
            RecoveryAction::Keep
        );
    }

    #[test]
    fn a_worker_and_another_node_are_not_what_the_run_made() {
        let recorded = swarm_state::Inventory::empty(Cluster::default());
        let begun_at = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let record = Record::new(begun_at, a_plan(std::path::Path::new("/data")), None, Counts::default(), recorded);
        let held = |node: &str, is_manager| Held {
            own: SwarmNode::parse("cluster", node).expect("are ids"),
            is_manager,
            is_taken_up: true,
        };
        assert!(!is_unrelated(&record, &held("new", true)));
        assert!(is_unrelated(&record, &held("new", false)));
        let joined = Record { joined: Some("new".parse().expect("is an id")), ..record };
        assert!(!is_unrelated(&joined, &held("new", true)));
        assert!(is_unrelated(&joined, &held("byhand", true)));
    }
}

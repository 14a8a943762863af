//! What to do with a restore at another address that an earlier run began and did not end.

use anyhow::Result;

use super::SUCCESSION;
use crate::{
    host::{engine::Engine, key_file, placement::Placement, second_engine::SecondEngine, systemd::Systemd},
    restore::{
        Restore,
        holding::{Held, OnDisk},
        journal::{Phase, Record},
        ready::Waits,
        settle::Way,
    },
    swarm::{Examined, Proof},
};

/// What the disk says before the engine is asked.
#[derive(Debug, PartialEq, Eq)]
enum Guess {
    Sure(Way),
    /// The swarm may be this host's alone by now, and in use.
    PerhapsAlone,
}

fn guess(record: &Record, on_disk: &OnDisk, has_moved: bool, force: bool) -> Guess {
    if record.phase <= Phase::Stop || !has_moved {
        return Guess::Sure(Way::Forget);
    }
    // The old manager was asked to be none, or may have been before the way back was begun.
    let may_be_alone = matches!(record.phase, Phase::Demote | Phase::Remove | Phase::Confirm | Phase::Undo);
    let foreign = Guess::Sure(if force { Way::PutBack } else { Way::Refuse });
    match on_disk {
        OnDisk::State(held) if held.cluster_id != record.plan.cluster_id => foreign,
        // In the phases before, this host may have joined the swarm by hand since, where somebody else brought it back.
        OnDisk::State(held) if may_be_alone || held.is_taken_up => Guess::PerhapsAlone,
        OnDisk::Nothing if matches!(record.phase, Phase::Remove | Phase::Confirm) => Guess::Sure(Way::Forget),
        OnDisk::Unknown if may_be_alone => foreign,
        _ => Guess::Sure(Way::PutBack),
    }
}

/// What becomes of a state that was joined and does not work: of two managers one died with the run that was cut short.
///
/// A log that cannot be read to its end is one that was still being joined, unless the old manager may have been demoted,
/// or the state is locked: then it is not known whose it is by now.
fn way_of_joined(phase: Phase, old: &str, own: &str, is_locked: bool, examined: Option<&Examined>) -> Way {
    let raft = examined.filter(|examined| examined.proof == Proof::Proven).and_then(|examined| examined.raft.as_ref());
    let Some(raft) = raft else {
        return if phase < Phase::Demote && !is_locked { Way::PutBack } else { Way::Unclear };
    };
    let is = |wanted: &str| raft.members.iter().any(|member| member.node_id.as_deref() == Some(wanted));
    let nobody_else =
        raft.members.iter().all(|member| matches!(member.node_id.as_deref(), Some(id) if id == old || id == own));
    if is(old) && nobody_else { Way::PutBack } else { Way::Keep }
}

/// Whether what lies there cannot be what that run made: it joins as a manager, and writes down as which node.
fn is_of_another_day(record: &Record, held: &Held) -> bool {
    !held.is_manager || record.joined.as_ref().is_some_and(|joined| *joined != held.node_id)
}

/// A swarm of which the old manager is still a member died with that one, and nothing of it ran here.
pub async fn way(
    restore: &Restore<'_>,
    record: &Record,
    placement: &Placement,
    waits: Waits,
    force: bool,
) -> Result<Way> {
    // Whatever is left of the old manager takes no part any more.
    SecondEngine::remove_left(&Systemd::connect().await?, restore.config).await?;
    let state_dir = placement.state_dir();
    let on_disk = OnDisk::read(&state_dir);
    if let Guess::Sure(way) = guess(record, &on_disk, placement.has_moved(), force) {
        return Ok(way);
    }
    if on_disk.held().is_some_and(|held| is_of_another_day(record, held)) {
        return Ok(if force { Way::PutBack } else { Way::Refuse });
    }
    if restore.works_after_all(record, placement, waits).await?.is_some() {
        if record.phase < Phase::Demote {
            // Its second engine is gone, so somebody else brought the swarm back, and this host into it.
            return Ok(if force { Way::PutBack } else { Way::Refuse });
        }
        let engine = Engine::at(&restore.config.engine.socket);
        super::is_no_manager(&engine, &record.plan.node_id, SUCCESSION).await?;
        return Ok(Way::Confirm);
    }
    let own = on_disk.held().map_or("", |held| held.node_id.as_str());
    let examined = restore.examine_present(&state_dir).await;
    let is_locked = key_file::is_locked_in(&state_dir).unwrap_or(true) && examined.is_none();
    let way = way_of_joined(record.phase, &record.plan.node_id, own, is_locked, examined.as_ref());
    if way != Way::PutBack {
        return Ok(way);
    }
    // A second engine that died with the run does not answer: whoever does at the old address, or at another one, lives.
    let mut others = restore.present_peers(&state_dir).await;
    others.retain(|addr| *addr != record.plan.raft_addr);
    let asked = restore.ask_managers(&[others, vec![record.plan.raft_addr]].concat()).await;
    // To the old address there is no way by itself.
    let unasked = asked.unasked.iter().any(|(addr, _)| *addr != record.plan.raft_addr);
    Ok(if asked.living.is_empty() && !unasked { Way::PutBack } else { Way::Keep })
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::manifest::Counts;

    use super::*;
    use crate::{
        restore::{
            holding::Held,
            plan::tests::{a_plan, examined},
        },
        swarm::inventory::{Cluster, Member, Raft},
    };

    #[test]
    fn only_what_may_be_alone_is_looked_at() {
        let recorded = crate::inspection::tests::inventory_of(Cluster::default());
        let plan = a_plan(std::path::Path::new("/data"));
        let begun_at = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let record = Record::new(begun_at, plan, None, Counts::default(), recorded);
        let state = |cluster: &str| {
            let (cluster_id, node_id) = (cluster.into(), "new".into());
            OnDisk::State(Held { cluster_id, node_id, is_manager: true, is_taken_up: true })
        };
        let (ours, other) = (state("cluster"), state("other"));
        for (phase, has_moved, on_disk, expected) in [
            (Phase::Ready, false, &OnDisk::Nothing, Guess::Sure(Way::Forget)),
            (Phase::Stop, false, &other, Guess::Sure(Way::Forget)),
            (Phase::Aside, false, &other, Guess::Sure(Way::Forget)),
            (Phase::Aside, true, &OnDisk::Nothing, Guess::Sure(Way::PutBack)),
            (Phase::Start, true, &OnDisk::Nothing, Guess::Sure(Way::PutBack)),
            (Phase::Join, true, &OnDisk::Unknown, Guess::Sure(Way::PutBack)),
            (Phase::Join, true, &ours, Guess::PerhapsAlone),
            (Phase::Demote, true, &ours, Guess::PerhapsAlone),
            (Phase::Remove, true, &ours, Guess::PerhapsAlone),
            (Phase::Confirm, true, &ours, Guess::PerhapsAlone),
            (Phase::Undo, true, &ours, Guess::PerhapsAlone),
            (Phase::Confirm, true, &OnDisk::Nothing, Guess::Sure(Way::Forget)),
            (Phase::Confirm, true, &OnDisk::Unknown, Guess::Sure(Way::Refuse)),
            (Phase::Join, true, &other, Guess::Sure(Way::Refuse)),
            (Phase::Confirm, true, &other, Guess::Sure(Way::Refuse)),
        ] {
            let record = Record { phase, ..record.clone() };
            assert_eq!(guess(&record, on_disk, has_moved, false), expected, "{phase:?} {has_moved} {on_disk:?}");
        }
        assert_eq!(guess(&Record { phase: Phase::Join, ..record }, &other, true, true), Guess::Sure(Way::PutBack));
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
            (Some(of(&["old", "new"])), Way::PutBack),
            (Some(of(&["new"])), Way::Keep),
            (Some(of(&["new", "joined"])), Way::Keep),
            (Some(of(&["old", "new", "joined"])), Way::Keep),
            (Some(Examined { raft: None, ..examined() }), Way::Unclear),
            (None, Way::Unclear),
        ] {
            assert_eq!(way_of_joined(Phase::Demote, "old", "new", false, now.as_ref()), expected, "{now:?}");
        }
        assert_eq!(way_of_joined(Phase::Join, "old", "new", false, None), Way::PutBack);
        assert_eq!(way_of_joined(Phase::Join, "old", "new", true, None), Way::Unclear);
        assert_eq!(way_of_joined(Phase::Join, "old", "new", false, Some(&of(&["new", "joined"]))), Way::Keep);
    }

    #[test]
    fn a_worker_and_another_node_are_not_what_the_run_made() {
        let recorded = crate::inspection::tests::inventory_of(Cluster::default());
        let begun_at = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let record = Record::new(begun_at, a_plan(std::path::Path::new("/data")), None, Counts::default(), recorded);
        let held = |node: &str, is_manager| Held {
            cluster_id: "cluster".into(),
            node_id: node.into(),
            is_manager,
            is_taken_up: true,
        };
        assert!(!is_of_another_day(&record, &held("new", true)));
        assert!(is_of_another_day(&record, &held("new", false)));
        let joined = Record { joined: Some("new".to_owned()), ..record };
        assert!(!is_of_another_day(&joined, &held("new", true)));
        assert!(is_of_another_day(&joined, &held("by-hand", true)));
    }
}

//! What to do with a restore at another address that an earlier run began and did not end.

use anyhow::Result;

use super::{SUCCESSION, stands_alone};
use crate::{
    host::{
        engine::{Engine, LocalSwarm, SwarmState},
        placement::Placement,
        second_engine::SecondEngine,
        systemd::Systemd,
    },
    restore::{
        Restore,
        journal::{Phase, Record},
        settle::Way,
    },
};

/// What the journal and the engine say at once.
#[derive(Debug, PartialEq, Eq)]
enum Guess {
    Sure(Way),
    /// The swarm may be this host's alone; it is, if it leads without the old manager.
    PerhapsAlone,
    /// It is, and waits for its key.
    Locked,
}

fn guess(record: &Record, swarm: &LocalSwarm, has_moved: bool, force: bool) -> Guess {
    if record.phase <= Phase::Stop || !has_moved {
        return Guess::Sure(Way::Forget);
    }
    let is_foreign = !swarm.cluster_id.is_empty() && swarm.cluster_id != record.plan.cluster_id;
    if is_foreign {
        return Guess::Sure(if force { Way::PutBack } else { Way::Refuse });
    }
    match (record.phase, swarm.state) {
        (Phase::Remove | Phase::Confirm, SwarmState::Locked) => Guess::Locked,
        (Phase::Demote | Phase::Remove | Phase::Confirm, SwarmState::Active | SwarmState::Pending) => {
            Guess::PerhapsAlone
        }
        _ => Guess::Sure(Way::PutBack),
    }
}

/// A swarm of which the old manager is still a member died with that one, and nothing of it ran here.
pub async fn way(
    restore: &Restore<'_>,
    record: &Record,
    swarm: &LocalSwarm,
    placement: &Placement,
    force: bool,
) -> Result<Way> {
    // Whatever is left of the old manager takes no part any more.
    SecondEngine::remove_left(&Systemd::connect().await?, restore.config).await?;
    match guess(record, swarm, placement.has_moved(), force) {
        Guess::Sure(way) => return Ok(way),
        Guess::PerhapsAlone => {}
        Guess::Locked => {
            restore.check_can_unlock(record, placement)?;
            restore.unlock_present().await?;
        }
    }
    let engine = Engine::at(&restore.config.engine.socket);
    let own = engine.facts().await?.swarm.node_id;
    match stands_alone(&engine, &own, SUCCESSION).await {
        Ok(()) => Ok(Way::Confirm),
        Err(error) => {
            tracing::warn!("{error:#}");
            Ok(Way::PutBack)
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::manifest::Counts;

    use super::*;
    use crate::{restore::plan::tests::a_plan, swarm::inventory::Cluster};

    #[test]
    fn only_what_may_be_alone_is_looked_at() {
        let recorded = crate::inspection::tests::inventory_of(Cluster::default());
        let plan = a_plan(std::path::Path::new("/data"));
        let begun_at = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let record = Record::new(begun_at, plan, None, Counts::default(), recorded);
        let swarm = |state, cluster: &str| LocalSwarm { state, cluster_id: cluster.into(), ..LocalSwarm::default() };
        let none = swarm(SwarmState::Inactive, "");
        let ours = swarm(SwarmState::Active, "cluster");
        let leaderless = swarm(SwarmState::Active, "");
        let locked = swarm(SwarmState::Locked, "");
        let other = swarm(SwarmState::Active, "other");
        for (phase, has_moved, now, expected) in [
            (Phase::Ready, false, &none, Guess::Sure(Way::Forget)),
            (Phase::Stop, false, &other, Guess::Sure(Way::Forget)),
            (Phase::Aside, false, &other, Guess::Sure(Way::Forget)),
            (Phase::Aside, true, &none, Guess::Sure(Way::PutBack)),
            (Phase::Start, true, &none, Guess::Sure(Way::PutBack)),
            (Phase::Join, true, &ours, Guess::Sure(Way::PutBack)),
            (Phase::Join, true, &leaderless, Guess::Sure(Way::PutBack)),
            (Phase::Demote, true, &leaderless, Guess::PerhapsAlone),
            (Phase::Demote, true, &ours, Guess::PerhapsAlone),
            (Phase::Demote, true, &locked, Guess::Sure(Way::PutBack)),
            (Phase::Remove, true, &locked, Guess::Locked),
            (Phase::Confirm, true, &ours, Guess::PerhapsAlone),
            (Phase::Undo, true, &ours, Guess::Sure(Way::PutBack)),
            (Phase::Join, true, &other, Guess::Sure(Way::Refuse)),
        ] {
            let record = Record { phase, ..record.clone() };
            assert_eq!(guess(&record, now, has_moved, false), expected, "{phase:?} {has_moved} {now:?}");
        }
        assert_eq!(guess(&Record { phase: Phase::Join, ..record }, &other, true, true), Guess::Sure(Way::PutBack));
    }
}

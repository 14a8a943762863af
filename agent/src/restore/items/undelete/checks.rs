//! Whether a swarm can take objects at all. Each check refuses (exit 4).

use anyhow::{Result, anyhow};
use swarmdr_archive::ClusterId;

use crate::{
    host::engine::{EngineFacts, version, view::Node},
    outcome::failure::Failure,
};

/// Returns the swarm that the engine manages; refuses an engine that is no manager, or whose swarm has no leader.
pub fn cluster(facts: &EngineFacts) -> Result<ClusterId> {
    let swarm = &facts.swarm;
    if let Some(cluster) = swarm.cluster_id.clone().filter(|_| swarm.works()) {
        return Ok(cluster);
    }
    let what = match swarm.is_manager {
        true => "the swarm of this engine cannot be changed at this moment: it has no leader, or is locked".to_owned(),
        false => format!("this engine is no manager of a swarm (its swarm state is {:?})", swarm.state),
    };
    let failure = Failure::refused(what)
        .advice("run this on a manager of a swarm that has a leader: see `docker node ls`")
        .advice(
            "or point engine.socket at the socket of one: `ssh -nNT -L ./engine.sock:/run/docker.sock MANAGER`, and \
             SWARMDR_ENGINE__SOCKET with the whole path of engine.sock",
        );
    match swarm.error.as_str() {
        "" => Err(failure.into()),
        error => Err(failure.because(anyhow!(error.to_owned())).into()),
    }
}

/// Refuses an engine or a leader that is older than the engine of the backup.
pub fn versions(facts: &EngineFacts, nodes: &[Node], wrote: &str) -> Result<()> {
    version::require_not_older("the", &facts.version, wrote, "the backup")?;
    let leader = nodes.iter().find(|node| node.manager.as_ref().is_some_and(|manager| manager.leader));
    if let Some(version) = leader.and_then(|leader| leader.engine_version.as_deref()) {
        version::require_not_older("the leader's", version, wrote, "the backup")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::engine::{LocalSwarm, SwarmState, view::ManagerStatus},
        outcome::{exit::Exit, failure::Rendered},
    };

    fn facts(swarm: LocalSwarm) -> EngineFacts {
        EngineFacts {
            version: "26.1.5".to_owned(),
            hostname: "h".to_owned(),
            data_root: "/var/lib/docker".into(),
            live_restore: false,
            swarm,
        }
    }

    fn manager() -> LocalSwarm {
        let cluster_id = Some("c1".parse().expect("is an id"));
        LocalSwarm { state: SwarmState::Active, is_manager: true, cluster_id, ..LocalSwarm::default() }
    }

    #[test]
    fn only_a_manager_with_a_leader_takes_objects() {
        assert_eq!(cluster(&facts(manager())).expect("is one").as_str(), "c1");
        let no_leader = LocalSwarm { error: "no leader".to_owned(), ..manager() };
        let worker = LocalSwarm { is_manager: false, cluster_id: None, ..manager() };
        for wrong in [LocalSwarm::default(), worker, no_leader, LocalSwarm { cluster_id: None, ..manager() }] {
            let rendered = Rendered::of(&cluster(&facts(wrong.clone())).expect_err("takes nothing"));
            assert_eq!(rendered.exit, Exit::Refused, "{wrong:?}");
        }
    }

    #[test]
    fn neither_this_engine_nor_the_leader_may_be_older_than_the_backup() {
        let leader = |version: &str| Node {
            manager: Some(ManagerStatus { leader: true, ..ManagerStatus::default() }),
            engine_version: Some(version.to_owned()),
            ..Node::default()
        };
        for (wrote, leads, taken) in [
            ("26.1.5", "26.1.5", true),
            ("28.5.2", "28.5.2", false),
            ("26.1.5", "20.10.24", false),
            ("", "20.10.24", true),
        ] {
            let checked = versions(&facts(manager()), &[leader(leads)], wrote);
            assert_eq!(checked.is_ok(), taken, "{wrote} {leads}");
        }
    }
}

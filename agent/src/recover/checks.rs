//! Reasons not to recover a quorum on this host. Each check refuses (exit 4) and names the way out.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use swarm_state::{Examined, identity::usable};

use crate::{
    host::engine::{EngineFacts, SwarmState},
    outcome::failure::Failure,
    restore::fence::listed,
};

/// Returns the address that an interface of this host must have: the one in the raft log, unless the engine recorded
/// another one of this host (moby `daemon/cluster/swarm.go`, `Init`: `LocalAddr` is the advertised address only if an
/// interface has it).
pub(super) fn needed_address(examined: &Examined) -> Option<IpAddr> {
    let engine = examined.identity.engine.as_ref();
    let own = engine.and_then(|engine| [&engine.listen_addr, &engine.local_addr].into_iter().find_map(|it| usable(it)));
    own.or(examined.raft_address).map(|addr| addr.ip())
}

/// Refuses hosts whose state is not that of a manager without a leader.
pub(super) fn require_lost_leader(facts: &EngineFacts) -> Result<()> {
    match facts.swarm.state {
        SwarmState::Inactive => {
            Err(Failure::refused("this host is not part of a swarm; there is nothing to recover from")
                .advice("run this on a manager that survived, or bring the swarm back with `swarmdr-agent restore`")
                .into())
        }
        // A manager that only waits for its leader may look the same, but has its certificate.
        SwarmState::Pending if !facts.data_root.join("swarm/certificates/swarm-node.crt").exists() => {
            Err(Failure::refused("this host is still joining a swarm, and has no state of a manager yet")
                .advice(
                    "run this on a manager that survived, or bring the swarm back with `swarmdr-agent restore --force`",
                )
                .into())
        }
        SwarmState::Active if !facts.swarm.is_manager => {
            Err(Failure::refused("this host is a worker: only a manager holds the swarm's state")
                .advice("run this on the manager that survived")
                .into())
        }
        _ => Ok(()),
    }
}

/// Returns the refusal of a manager that was locked. A locked manager listens on no port, so after a power cut all
/// managers of an autolocked swarm are silent, although their state is whole.
pub(super) fn silent(others: &[SocketAddr]) -> anyhow::Error {
    Failure::refused(format!(
        "this manager was locked, so the others may only be locked too, and do not answer for that reason: {}",
        listed(others)
    ))
    .advice("unlock them: `docker swarm unlock` on each; with a majority the swarm is back")
    .advice("if they are gone for good, use --fenced")
    .into()
}

pub(super) fn fence(living: &[SocketAddr]) -> Result<()> {
    if living.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "other managers of this swarm answer at {}: a new cluster of this one would make them delete their state",
        listed(living)
    ))
    .advice("if the swarm can have its majority back, bring the missing managers back instead")
    .advice("if they are dying, shut them down or cut them off for good, then use --fenced")
    .advice(
        "if one of them has the newer state (`swarmdr-agent inspect --dir`), recover there and join this host to it",
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::engine::LocalSwarm,
        outcome::{exit::Exit, failure::Rendered},
        restore::plan::tests::examined,
    };
    use swarm_state::identity::EngineState;

    #[test]
    fn an_address_is_needed_unless_the_engine_knows_another_one_of_this_host() {
        for (listen, local, expected) in [
            // `docker swarm init`, alone or with the address of an interface.
            ("0.0.0.0:2377", "10.0.0.4", "10.0.0.4"),
            ("10.0.0.4:2377", "10.0.0.4", "10.0.0.4"),
            // `docker swarm init` with the address of a router: the address that the engine listens on may be late.
            ("0.0.0.0:2377", "192.168.7.5", "192.168.7.5"),
            ("192.168.7.5:2377", "", "192.168.7.5"),
            // `docker swarm join`: the engine recorded no other address.
            ("0.0.0.0:2377", "", "10.0.0.4"),
        ] {
            let mut state = examined();
            state.raft_address = Some("10.0.0.4:2377".parse().expect("is an address"));
            let engine = EngineState { listen_addr: listen.into(), local_addr: local.into(), ..EngineState::default() };
            state.identity.engine = Some(engine);
            let needed = needed_address(&state).map(|ip| ip.to_string());
            assert_eq!(needed.as_deref(), Some(expected), "{listen} {local}");
        }
    }

    #[test]
    fn a_living_manager_and_a_host_without_a_swarm_are_refused() {
        fence(&[]).expect("nobody answers");
        let rendered =
            Rendered::of(&fence(&["10.0.0.5:2377".parse().expect("is an address")]).expect_err("one answers"));
        assert!(rendered.exit == Exit::Refused && rendered.what.contains("10.0.0.5:2377"), "{rendered}");
        assert_eq!(rendered.advice.len(), 3, "{rendered}");
        let data_root = tempfile::tempdir().expect("is made");
        let facts = |state, is_manager| EngineFacts {
            version: String::new(),
            hostname: String::new(),
            data_root: data_root.path().to_owned(),
            live_restore: false,
            swarm: LocalSwarm { state, is_manager, ..LocalSwarm::default() },
        };
        let rendered =
            Rendered::of(&require_lost_leader(&facts(SwarmState::Pending, false)).expect_err("it has nothing yet"));
        assert!(rendered.exit == Exit::Refused && rendered.what.contains("still joining"), "{rendered}");
        let certificates = data_root.path().join("swarm/certificates");
        std::fs::create_dir_all(&certificates).expect("is made");
        std::fs::write(certificates.join("swarm-node.crt"), "").expect("is written");
        for (state, is_manager, allowed) in [
            (SwarmState::Active, true, true),
            (SwarmState::Pending, false, true),
            (SwarmState::Locked, false, true),
            (SwarmState::Active, false, false),
            (SwarmState::Inactive, false, false),
        ] {
            assert_eq!(require_lost_leader(&facts(state, is_manager)).is_ok(), allowed, "{state:?} {is_manager}");
        }
    }
}

//! The choice of the next step, from what was seen.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{Request, leaving::Leaving, look::Look, refusal::Refusal, why::Why, worker};
use crate::{
    nodes::standing::{self, Standing, Swarm},
    outcome::failure::Failure,
};

/// Time after which an attempt that neither fails nor succeeds is given up. Engines give up by themselves sooner (swarmkit
/// `ca/certificates.go`: five tries of some seconds).
const ATTEMPT_LIMIT: Duration = Duration::from_secs(180);

/// For how long this run has seen a state of things.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// The engine has been trying to join.
    pub pending: Duration,
    /// The managers have refused this node.
    pub refused: Duration,
}

/// What a round does.
#[derive(Debug)]
pub enum Step {
    /// This host is in the swarm.
    Done,
    /// It would do harm to go on.
    Refuse(Failure),
    /// The engine's answer is about to change.
    Wait(Why),
    /// Something is missing that may come.
    Retry(Why),
    /// End an attempt that went nowhere.
    Abandon,
    /// Give up the place of a node that the managers refuse, and join anew.
    Renew(Refusal),
    /// Leave the other swarm, or the wanted one as it was at other addresses, if its managers are all gone.
    Leave(Leaving),
    Attempt,
}

/// Chooses the step. `tried` are the managers through which this run has tried to join.
pub fn next(look: &Look, request: &Request, tried: &BTreeMap<SocketAddr, u32>, seen: Seen) -> Step {
    match look.standing {
        Standing::Free => Step::Attempt,
        Standing::Blocked(what) => Step::Refuse(blocked(look, what)),
        Standing::Unclear => Step::Wait(Why::unsettled(&look.facts.swarm)),
        Standing::Joining | Standing::Failed if !is_ours(look, tried) => {
            Step::Wait(Why::AnothersAttempt(through(look)))
        }
        Standing::Joining if seen.pending < ATTEMPT_LIMIT => Step::Wait(Why::StillJoining(through(look))),
        Standing::Joining | Standing::Failed => Step::Abandon,
        Standing::Member { swarm, is_settled } => member(look, request, seen, (swarm, is_settled)),
    }
}

fn member(look: &Look, request: &Request, seen: Seen, (swarm, is_settled): (Swarm, bool)) -> Step {
    match swarm {
        Swarm::Wanted if look.is_manager() && is_settled => Step::Done,
        Swarm::Wanted if look.is_manager() => Step::Wait(Why::unsettled(&look.facts.swarm)),
        Swarm::Wanted => worker::next(look, request, seen, is_settled),
        Swarm::WantedByAddress if !is_settled => Step::Wait(Why::UnsettledWithOtherCa),
        Swarm::WantedByAddress if look.is_manager() || look.is_reached_where_wanted() => Step::Done,
        Swarm::WantedByAddress => Step::Wait(Why::ReusedAddress),
        Swarm::Unknown => Step::Retry(Why::UnknownSwarm(look.no_token.as_ref().map(|error| format!("{error:#}")))),
        Swarm::Other if look.is_manager() => Step::Refuse(manager_elsewhere(look)),
        Swarm::Other if request.leave_dead => Step::Leave(Leaving::Other),
        Swarm::Other => Step::Refuse(elsewhere(look)),
    }
}

/// True if the attempt of the engine is one to join the wanted swarm: it may be that of a run that was killed.
fn is_ours(look: &Look, tried: &BTreeMap<SocketAddr, u32>) -> bool {
    look.on_disk.joined_through.is_some_and(|addr| tried.contains_key(&addr) || look.wanted.names([&addr]))
}

fn through(look: &Look) -> String {
    look.on_disk.joined_through.map_or_else(|| "an unknown manager".to_owned(), |addr| addr.to_string())
}

/// The other swarm in words: its id, and its managers.
pub fn described(look: &Look) -> String {
    let cluster = look.on_disk.node.as_ref().map_or("unknown", |node| node.cluster.as_str());
    let managers: Vec<String> =
        standing::managers_of(&look.facts.swarm, &look.on_disk).iter().map(ToString::to_string).collect();
    match managers.is_empty() {
        true => format!("swarm {cluster}"),
        false => format!("swarm {cluster}, with managers at {}", managers.join(", ")),
    }
}

fn elsewhere(look: &Look) -> Failure {
    Failure::refused(format!("this host is in another swarm: {}", described(look)))
        .advice("if it is to change: drain it there, then `docker swarm leave` here; its tasks end")
        .advice("if the managers of that swarm are gone for good: run this with --leave-dead")
}

fn manager_elsewhere(look: &Look) -> Failure {
    let state_dir = look.facts.data_root.join("swarm");
    let what = format!("this host is a manager of another swarm, and is not taken out of it: {}", described(look));
    Failure::refused(what)
        .advice("if that swarm lives: `docker node demote` this node there, then `docker swarm leave` here")
        .advice(format!(
            "if it is gone for good: stop the engine, move {} aside (it may be the last copy of that swarm), and start \
             the engine",
            state_dir.display()
        ))
}

pub fn blocked(look: &Look, what: &str) -> Failure {
    let state_dir = look.facts.data_root.join("swarm");
    Failure::refused(format!("this host is in no swarm, but {} has {what}", state_dir.display())).advice(format!(
        "see whether it is needed (`swarmdr-agent inspect --dir {0}`); if not: stop the engine, move {0} aside, and start \
         the engine",
        state_dir.display()
    ))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::{
        host::engine::{EngineFacts, LocalSwarm, SwarmState},
        nodes::{
            join::{contact::Contact, refusal::Heard},
            managers::Found,
            standing::{Node, OnDisk, Wanted},
        },
        outcome::{exit::Exit, failure::Rendered},
    };

    pub fn look(standing: Standing) -> Look {
        Look {
            facts: EngineFacts {
                version: String::new(),
                hostname: String::new(),
                data_root: "/data".into(),
                live_restore: false,
                swarm: LocalSwarm::default(),
            },
            on_disk: OnDisk::default(),
            found: Found::default(),
            wanted: Wanted { managers: vec!["10.0.0.1:2377".parse().expect("is one")], ca: None },
            standing,
            no_token: None,
            heard: Heard::NoRefusal,
            contact: Contact::NotAsked,
        }
    }

    pub fn request(leave_dead: bool) -> Request {
        Request { managers: Vec::new(), advertise_addr: None, wait: Duration::ZERO, leave_dead, dry_run: false }
    }

    fn choose(look: &Look, leave_dead: bool, pending: Duration) -> Step {
        next(look, &request(leave_dead), &BTreeMap::new(), Seen { pending, ..Seen::default() })
    }

    fn in_other(is_manager: bool) -> Look {
        let node = Node { id: "n".to_owned(), cluster: "c".to_owned(), is_manager };
        let on_disk = OnDisk { has_certificate: true, node: Some(node), ..OnDisk::default() };
        Look { on_disk, ..look(Standing::Member { swarm: Swarm::Other, is_settled: true }) }
    }

    fn refusal(step: Step) -> Rendered {
        let Step::Refuse(failure) = step else { panic!("{step:?}") };
        let rendered = Rendered::of(&failure.into());
        assert_eq!(rendered.exit, Exit::Refused);
        rendered
    }

    #[test]
    fn a_host_in_another_swarm_stays_there_unless_told_otherwise() {
        let rendered = refusal(choose(&in_other(false), false, Duration::ZERO));
        assert!(rendered.advice.iter().any(|advice| advice.contains("--leave-dead")), "{rendered}");
        assert!(matches!(choose(&in_other(false), true, Duration::ZERO), Step::Leave(Leaving::Other)));
    }

    #[test]
    fn a_manager_is_never_taken_out_of_its_swarm() {
        let by_engine = {
            let mut look = in_other(false);
            look.facts.swarm.is_manager = true;
            look
        };
        let locked = {
            let mut look = in_other(false);
            look.facts.swarm.state = SwarmState::Locked;
            look
        };
        let unreadable = {
            let mut look = in_other(false);
            look.on_disk.node = None;
            look
        };
        for look in [in_other(true), by_engine, locked, unreadable] {
            let rendered = refusal(choose(&look, true, Duration::ZERO));
            assert!(rendered.advice.iter().any(|advice| advice.contains("move /data/swarm aside")), "{rendered}");
        }
    }

    #[test]
    fn what_passes_is_waited_for_and_what_does_not_is_ended() {
        let wanted = |is_settled| look(Standing::Member { swarm: Swarm::Wanted, is_settled });
        assert!(matches!(choose(&wanted(true), false, Duration::ZERO), Step::Done));
        assert!(matches!(choose(&wanted(false), true, Duration::ZERO), Step::Wait(_)));
        let by_address = look(Standing::Member { swarm: Swarm::WantedByAddress, is_settled: false });
        assert!(matches!(choose(&by_address, true, Duration::ZERO), Step::Wait(Why::UnsettledWithOtherCa)));
        assert!(matches!(choose(&look(Standing::Unclear), true, Duration::ZERO), Step::Wait(_)));
        assert!(matches!(choose(&look(Standing::Free), false, Duration::ZERO), Step::Attempt));
        let unknown = look(Standing::Member { swarm: Swarm::Unknown, is_settled: true });
        assert!(matches!(choose(&unknown, true, Duration::ZERO), Step::Retry(_)));
        let ours = |standing| {
            let mut look = look(standing);
            look.on_disk.joined_through = Some(look.wanted.managers[0]);
            look
        };
        assert!(matches!(choose(&ours(Standing::Joining), false, Duration::ZERO), Step::Wait(Why::StillJoining(_))));
        assert!(matches!(choose(&ours(Standing::Joining), false, ATTEMPT_LIMIT), Step::Abandon));
        assert!(matches!(choose(&ours(Standing::Failed), false, Duration::ZERO), Step::Abandon));
    }

    /// Its dead manager's address is that of a manager of the wanted swarm by now.
    #[test]
    fn a_host_whose_swarm_knows_a_reused_address_is_not_in_the_wanted_one() {
        let at = |addr: &str| Contact::Reached(addr.parse().expect("is one"));
        for (contact, is_done) in [
            (at("10.0.0.1:2377"), true),
            (at("10.0.0.2:2377"), false),
            (Contact::Silent { elsewhere: None }, false),
            (Contact::Masked { told: "10.0.0.1:2377 takes connections".to_owned(), elsewhere: None }, false),
        ] {
            let standing = Standing::Member { swarm: Swarm::WantedByAddress, is_settled: true };
            let look = Look { contact, ..look(standing) };
            match choose(&look, true, Duration::ZERO) {
                Step::Done => assert!(is_done, "{look:?}"),
                Step::Wait(Why::ReusedAddress) => assert!(!is_done, "{look:?}"),
                step => panic!("{step:?}"),
            }
        }
    }

    /// Somebody may join this host by hand, to wherever they want.
    #[test]
    fn the_attempt_of_somebody_else_is_left_alone() {
        for standing in [Standing::Joining, Standing::Failed] {
            let mut look = look(standing);
            look.on_disk.joined_through = Some("10.0.0.9:2377".parse().expect("is one"));
            assert!(matches!(choose(&look, true, ATTEMPT_LIMIT), Step::Wait(Why::AnothersAttempt(_))));
            // An address that a name led to when this run tried it.
            let tried = BTreeMap::from([("10.0.0.9:2377".parse().expect("is one"), 1)]);
            assert!(matches!(
                next(&look, &request(false), &tried, Seen { pending: ATTEMPT_LIMIT, refused: Duration::ZERO }),
                Step::Abandon
            ));
        }
    }

    #[test]
    fn a_leftover_of_a_swarm_is_in_the_way() {
        let rendered = refusal(choose(&look(Standing::Blocked("the raft log of a manager")), true, Duration::ZERO));
        assert!(rendered.what.contains("/data/swarm has the raft log of a manager"), "{rendered}");
    }
}

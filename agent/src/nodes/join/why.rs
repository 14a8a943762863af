//! Why this host is not in the swarm yet, and what to do about it.

use std::{fmt, net::SocketAddr, time::Duration};

use anyhow::anyhow;

use super::{pacing::Pacing, refusal::Refusal};
use crate::{
    host::engine::LocalSwarm,
    nodes::token::without_tokens,
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
    restore::fence::listed,
};

/// One reason. Those that say more come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The engine tries to join through another manager than the wanted ones.
    AnothersAttempt(String),
    /// Managers of the swarm to leave could not be asked.
    Unasked(String),
    TokenRefused(SocketAddr),
    OtherCa(SocketAddr),
    Clock(SocketAddr, String),
    /// The engine failed otherwise, in its words.
    Failed(SocketAddr, String),
    /// The engine did not give up a place that leads nowhere.
    NotGivenUp(String),
    StillJoining(String),
    /// The managers refuse this node. With the reason why there is no token for another place.
    Refused(Refusal, Option<String>),
    /// No manager that this worker knows answers, and none of them is to be left now.
    Silent(String),
    /// Connections are taken where this worker knows managers, and nothing there is one.
    Masked(String),
    /// The engine of this worker gets no answer, although a manager can be reached.
    Unanswered,
    /// A manager that this worker knows answers only at an address that it does not know.
    KnownElsewhere(SocketAddr),
    /// This host is a node of the swarm, and the engine is not in it.
    Unsettled(String),
    /// The same, and the token names another root CA.
    UnsettledWithOtherCa,
    /// The same, the engine is in it, and no wanted manager shows a certificate of it.
    ReusedAddress,
    UnknownSwarm(Option<String>),
    NoInterface(String),
    NoToken(String),
    /// What answers at the address of a wanted manager, if anything, does not show that it is one.
    NoManager(SocketAddr, String),
    Closed(SocketAddr, String),
    NoAddress(String),
}

impl Why {
    /// Reads the engine's answer to a join.
    pub fn of_answer(manager: SocketAddr, error: &anyhow::Error) -> Self {
        let said = without_tokens(&format!("{error:#}"));
        let says = |text| said.contains(text);
        match () {
            () if says("valid join token is necessary") || says("invalid join token") => Self::TokenRefused(manager),
            () if says("does not match fingerprint") => Self::OtherCa(manager),
            () if says("expired or is not yet valid") => Self::Clock(manager, said),
            () => Self::Failed(manager, said),
        }
    }

    /// The engine is not in the swarm of this host at this moment.
    pub fn unsettled(swarm: &LocalSwarm) -> Self {
        let state = format!("{:?}", swarm.state).to_lowercase();
        match swarm.error.as_str() {
            "" => Self::Unsettled(format!("it is {state}")),
            error => Self::Unsettled(format!("it is {state}: {}", without_tokens(error))),
        }
    }

    /// No known manager answers, and that has not been so for the time that it takes to leave them.
    pub fn silent(known: &[SocketAddr], needed: Duration) -> Self {
        let told = listed(known);
        Self::Silent(format!("{told}; a worker leaves them for others after {} s of silence", needed.as_secs()))
    }

    /// True if another token may help.
    pub fn is_of_the_token(&self) -> bool {
        matches!(self, Self::TokenRefused(_) | Self::OtherCa(_))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::AnothersAttempt(_) | Self::Unasked(_) => Exit::Refused,
            _ => Exit::Failed,
        }
    }

    fn headline(&self) -> &'static str {
        match self {
            Self::AnothersAttempt(_) => "the engine is joining another swarm",
            Self::Unasked(_) => "whether the managers of its present swarm live is not known",
            Self::TokenRefused(_) => "the worker token is refused",
            Self::OtherCa(_) => "the token is of another swarm than the managers",
            Self::Clock(..) => "by this host's clock, a certificate of the swarm is not valid",
            Self::Failed(..) => "the engine could not join",
            Self::NotGivenUp(_) => "the engine keeps a membership that leads nowhere",
            Self::StillJoining(_) => "the engine has been trying, and goes on in the background",
            Self::Refused(Refusal::Removed, _) => "its node was removed, and it gives up that place only after a while",
            Self::Refused(Refusal::Unknown, _) => {
                "its node is not known, and it gives up that place only after a while"
            }
            Self::Silent(_) => "it is a node of the swarm, and no manager that it knows answers",
            Self::Masked(_) => "it is a node of the swarm, and what answers where it knows managers is none",
            Self::KnownElsewhere(_) => "a manager that it knows lives, but not where its engine looks for it",
            Self::Unanswered => "it is a node of the swarm, and its engine got no answer from a manager",
            Self::Unsettled(_) => "it is a node of the swarm, and its engine is not in it",
            Self::UnsettledWithOtherCa => {
                "it is a node of a swarm with these managers, and its root CA is not that of the token"
            }
            Self::ReusedAddress => {
                "it is a node of a swarm that knows a wanted manager's address, and shows not that it is the wanted one"
            }
            Self::UnknownSwarm(_) => "it is in a swarm, and no token tells whether that is the wanted one",
            Self::NoInterface(_) => "its advertised address is missing",
            Self::NoToken(_) => "there is no worker token",
            Self::NoManager(..) => {
                "no manager of the wanted swarm shows its certificate and its root CA, so the present one is not left"
            }
            Self::Closed(..) => "no manager accepts a connection",
            Self::NoAddress(_) => "no address of a manager is known",
        }
    }

    fn advice(&self) -> &'static [&'static str] {
        const PUBLISH: &str = "publish the present token with `swarmdr-agent node publish-token` on the leader, and see what \
                               join.token_file or join.token_command gives here";
        match self {
            Self::AnothersAttempt(_) => &["see `docker info`; if it is not wanted: `docker swarm leave`"],
            Self::Unasked(_) => &[
                "see `ip route` and this host's firewall, and run it again when the network is up",
                "if what takes connections is a load balancer: see whether it has a manager behind it",
            ],
            Self::TokenRefused(_) => &["it was rotated, or never was one of this swarm", PUBLISH],
            Self::OtherCa(_) => &[
                "see whether join.managers are those of the swarm that the token is for; if its root CA was rotated, \
                   the token changed too",
                PUBLISH,
            ],
            Self::Clock(..) => &["compare `timedatectl` here and on the managers, and correct the clock"],
            Self::NotGivenUp(_) => &["see `docker info` and `journalctl -u docker`"],
            Self::Failed(..) => &["see `journalctl -u docker` here and on the managers"],
            Self::StillJoining(_) => &["see `docker info`, and run it again: it goes on from there"],
            Self::Refused(_, Some(_)) => &[
                "give this host a token for a new place, and run it again: without one it would end in no swarm",
                PUBLISH,
            ],
            Self::Refused(_, None) => &["it joins anew after two minutes of that: run it again with --wait 5m"],
            Self::Silent(_) => &[
                "if they are only off for a while, nothing is to be done",
                "if the swarm was restored at other addresses: name those in join.managers, and run it again with --wait \
                 15m, which leaves the old ones when they have been silent for join.dead_after",
            ],
            Self::Masked(_) => &[
                "a load balancer takes connections without a manager behind it: see whether it has one. If they are only \
                 off for a while, nothing is to be done",
                "if the swarm was restored at other addresses: name those in join.managers, and run it again with \
                 --leave-dead --wait 15m, which leaves what shows no manager for join.dead_after",
            ],
            Self::KnownElsewhere(_) => &[
                "see whether port 2377/tcp of the addresses that `docker info` names is open from this host, and run it \
                 again: a worker does not leave a swarm that lives",
                "if the manager has a new address for good: `docker swarm leave` here, then run this again; what runs here \
                 ends",
            ],
            Self::Unanswered => &[
                "run it again with --wait 5m: its engine asks the managers that it knows one after the other",
                "see `journalctl -u docker` here, and `docker node ls` on a manager",
            ],
            Self::Unsettled(_) => &[
                "see `docker info` and `journalctl -u docker`; a locked manager needs `docker swarm unlock`",
                "if the node was removed from the swarm, and there is no token yet: give it one, and run it again",
            ],
            Self::UnsettledWithOtherCa => &[
                "if another swarm was made at the same addresses: `docker swarm leave` here, then run it again",
                "if the root CA was rotated: see `docker info` and `journalctl -u docker` for what else is in the way",
                PUBLISH,
            ],
            Self::ReusedAddress => &[
                "if a manager of another swarm has that address by now: drain this host there, then `docker swarm leave` here, and \
                 run it again; what runs here ends",
                "if the root CA was rotated, and the wanted managers are only off for a while, nothing is to be done",
                PUBLISH,
            ],
            Self::UnknownSwarm(_) => &["see whether join.managers names a manager of its present swarm", PUBLISH],
            Self::NoInterface(_) => &["see `ip address`, --advertise-addr and join.advertise_addr"],
            Self::NoToken(_) => &[PUBLISH],
            Self::NoManager(..) => &[
                "see whether join.managers are those of the swarm that the token is for, whether they run, and whether port \
                 2377/tcp is open from this host to them",
                PUBLISH,
            ],
            Self::Closed(..) => {
                &["see whether the managers run, and whether port 2377/tcp is open from this host to them"]
            }
            Self::NoAddress(_) => &["see join.managers and join.managers_command, and this host's name server"],
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnothersAttempt(through) => write!(f, "the engine is joining through {through}, which is not wanted"),
            Self::Unasked(managers) => write!(f, "managers that cannot be asked whether they live: {managers}"),
            Self::TokenRefused(manager) => write!(f, "{manager} refuses the token"),
            Self::OtherCa(manager) => write!(f, "{manager} has another root CA than the one that the token names"),
            Self::Clock(manager, said) | Self::Failed(manager, said) => write!(f, "{manager}: {said}"),
            Self::StillJoining(through) => write!(f, "the engine is joining through {through}"),
            Self::Refused(refusal, None) => write!(f, "{refusal}"),
            Self::Refused(refusal, Some(no_token)) => write!(f, "{refusal}; {no_token}"),
            Self::Silent(managers) => write!(f, "no manager that it knows answers: {managers}"),
            Self::Masked(told) => write!(f, "no manager answers where it knows one: {told}"),
            Self::KnownElsewhere(manager) => {
                write!(f, "{manager} is a manager that it knows, and none answers at an address that it knows")
            }
            Self::Unanswered => f.write_str("the sessions of its engine fail, and no manager has said why"),
            Self::Unsettled(said) => write!(f, "the engine is not in its swarm; {said}"),
            Self::UnsettledWithOtherCa => f.write_str(
                "the engine is not in its swarm, whose managers are the wanted ones and whose root CA is not",
            ),
            Self::ReusedAddress => f.write_str(
                "the token names another root CA than that of this host's swarm, and no wanted manager shows a certificate of it",
            ),
            Self::UnknownSwarm(Some(why)) => write!(f, "its managers are not the wanted ones, and {why}"),
            Self::UnknownSwarm(None) => write!(f, "its managers are not the wanted ones"),
            Self::NoInterface(given) => write!(f, "no interface of this host has the name `{given}`"),
            Self::NotGivenUp(said) => write!(f, "it was told to leave: {}", without_tokens(said)),
            Self::NoToken(why) => f.write_str(why),
            Self::NoManager(manager, why) | Self::Closed(manager, why) => write!(f, "{manager}: {why}"),
            Self::NoAddress(why) => f.write_str(why),
        }
    }
}

/// Makes the failure of a round: the reason that says most, and all of them in words.
pub fn gave_up(mut whys: Vec<Why>, pacing: &Pacing) -> Failure {
    whys.sort();
    whys.dedup();
    let all: Vec<String> = whys.iter().map(Why::to_string).collect();
    let Some(first) = whys.first() else { return Failure::failed("this host did not join the swarm") };
    let what = format!("this host did not join the swarm: {}", first.headline());
    let mut failure = Failure::new(first.exit(), what).because(anyhow!(all.join("; ")));
    for advice in first.advice() {
        failure = failure.advice(*advice);
    }
    match pacing.wait().is_zero() {
        true => failure.advice("what comes by itself can be waited for: --wait 15m"),
        false => failure,
    }
}

/// The failure of a round as a log has it.
pub fn in_one_line(failure: &Failure) -> String {
    let because = std::error::Error::source(failure).map(ToString::to_string).unwrap_or_default();
    format!("{failure} ({because})")
}

/// Refuses a host that is in the middle of a restore: it is to be a manager.
pub fn restore_under_way(what: &str) -> anyhow::Error {
    Failure::refused("this host is not to join a swarm now").because(anyhow!(what.to_owned())).into()
}

/// True for a mistake in the configuration, which no wait mends.
pub fn is_mistake(error: &anyhow::Error) -> bool {
    Rendered::of(error).exit == Exit::Usage
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::nodes::token::testing::token_of;

    fn manager(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 2377).into()
    }

    #[test]
    fn answers_of_engines_are_understood_and_show_no_token() {
        let planted = token_of(&[1; 32], "planted");
        for (said, expected) in [
            (
                "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster",
                "10.0.0.1:2377 refuses the token",
            ),
            ("invalid join token", "10.0.0.1:2377 refuses the token"),
            ("remote CA does not match fingerprint. Expected: 1234", "10.0.0.1:2377 has another root CA"),
            ("x509: certificate has expired or is not yet valid: current time", "10.0.0.1:2377: x509"),
            ("could not connect to prerequisite endpoint", "10.0.0.1:2377: could not connect"),
        ] {
            let error = anyhow!("{said} {planted}");
            let why = Why::of_answer(manager(1), &error);
            let shown = why.to_string();
            assert!(shown.contains(expected) && !shown.contains("planted"), "{shown}");
            assert_eq!(why.is_of_the_token(), shown.contains("token"), "{shown}");
        }
    }

    /// A program that makes tokens is not run again because a manager is off.
    #[test]
    fn a_manager_that_shows_nothing_puts_no_token_in_doubt() {
        assert!(!Why::NoManager(manager(1), "it accepts no connection".to_owned()).is_of_the_token());
        assert!(Why::OtherCa(manager(1)).is_of_the_token());
    }

    #[test]
    fn the_reason_that_says_most_is_the_headline_and_all_are_told() {
        let whys = vec![
            Why::NoAddress("the name m3 cannot be resolved".to_owned()),
            Why::Closed(manager(1), "it accepts no connection".to_owned()),
            Why::TokenRefused(manager(2)),
        ];
        let failure = gave_up(whys, &Pacing::new(Duration::from_secs(900)));
        let rendered = Rendered::of(&failure.into());
        assert_eq!(rendered.exit, Exit::Failed);
        assert_eq!(rendered.what, "this host did not join the swarm: the worker token is refused");
        let all = &rendered.because[0];
        assert!(
            ["m3", "10.0.0.1:2377: it accepts", "10.0.0.2:2377 refuses"].iter().all(|it| all.contains(it)),
            "{all}"
        );
        assert!(rendered.advice.iter().all(|advice| !advice.contains("--wait")), "{rendered}");
        let at_once = gave_up(vec![Why::NoToken("x".to_owned())], &Pacing::new(Duration::ZERO));
        assert!(Rendered::of(&at_once.into()).advice.iter().any(|advice| advice.contains("--wait 15m")));
    }

    #[test]
    fn what_is_not_this_hosts_to_end_is_refused() {
        for why in [Why::AnothersAttempt("x".to_owned()), Why::Unasked("x".to_owned())] {
            let failure = gave_up(vec![why], &Pacing::new(Duration::ZERO));
            assert_eq!(Rendered::of(&failure.into()).exit, Exit::Refused);
        }
    }
}

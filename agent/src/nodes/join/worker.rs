//! The step of a worker of the wanted swarm: whether it stays in its place.
//!
//! An engine alone does not know (`look::Look::is_kept`). What its managers say decides, or that none of them says anything.

use std::time::Duration;

use super::{
    Request,
    contact::{self, Contact},
    leaving::Leaving,
    look::Look,
    refusal::Heard,
    step::{Seen, Step},
    why::Why,
};
use crate::restore::fence::listed;

/// Time for which the managers have to refuse a node before it gives up its place. The state of a manager may be replaced
/// by a newer one, which has the node.
const REFUSED: Duration = Duration::from_secs(120);

/// Chooses the step. Its place is given up only with a token at hand, so that the host does not end
/// in no swarm, and never while a manager that it knows answers and does not refuse it.
pub fn next(look: &Look, request: &Request, seen: Seen, is_settled: bool) -> Step {
    let has_token = look.wanted.ca.is_some();
    let no_token = || look.no_token.as_ref().map(|error| format!("{error:#}"));
    match (look.heard.refusal(), &look.contact) {
        (Some(refusal), _) if has_token && (seen.refused >= REFUSED || request.dry_run) => Step::Renew(refusal),
        (Some(refusal), _) => Step::Wait(Why::Refused(refusal, no_token())),
        (None, Contact::Silent { elsewhere: Some(_) }) if has_token => Step::Leave(Leaving::Old),
        (None, Contact::Masked { elsewhere: Some(_), .. }) if has_token && request.leave_dead => {
            Step::Leave(Leaving::Old)
        }
        (None, Contact::KnownElsewhere(manager)) => Step::Wait(Why::KnownElsewhere(*manager)),
        (None, Contact::Silent { .. }) if is_settled => Step::Wait(Why::Silent(listed(&contact::known(look)))),
        (None, Contact::Masked { told, elsewhere }) if is_settled || elsewhere.is_some() => {
            Step::Wait(Why::Masked(told.clone()))
        }
        (None, Contact::Unasked(managers)) if is_settled => Step::Wait(Why::Silent(managers.clone())),
        (None, _) if is_settled && look.heard == Heard::Unanswered => Step::Wait(Why::Unanswered),
        (None, _) if is_settled => Step::Done,
        (None, _) => Step::Wait(Why::unsettled(&look.facts.swarm)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        nodes::{
            join::{
                pacing::Pacing,
                refusal::Refusal,
                step::{
                    self,
                    tests::{look, request},
                },
                why::gave_up,
            },
            standing::{Node, OnDisk, Standing, Swarm},
        },
        outcome::{exit::Exit, failure::Rendered},
    };

    fn worker_of_the_wanted(contact: Contact, heard: Heard, is_settled: bool) -> Look {
        let standing = Standing::Member { swarm: Swarm::Wanted, is_settled };
        let node = Node { id: "n".to_owned(), cluster: "c".to_owned(), is_manager: false };
        let on_disk = OnDisk {
            has_certificate: true,
            node: Some(node),
            managers: ["10.0.0.9:2377".parse().expect("is one")].into(),
            ..OnDisk::default()
        };
        Look { on_disk, contact, heard, ..look(standing) }
    }

    fn with_token(mut look: Look) -> Look {
        look.wanted.ca = Some([1; 32]);
        look
    }

    fn after(look: &Look, refused: Duration) -> Step {
        step::next(look, &request(false), &BTreeMap::new(), Seen { refused, ..Seen::default() })
    }

    #[test]
    fn a_node_that_is_refused_for_long_joins_anew_once_it_has_a_token() {
        let reached = || Contact::Reached(([10, 0, 0, 9], 2377).into());
        for (refusal, is_settled) in
            [(Refusal::Removed, true), (Refusal::Removed, false), (Refusal::Unknown, true), (Refusal::Unknown, false)]
        {
            let refused = || worker_of_the_wanted(reached(), Heard::Refused(refusal), is_settled);
            assert!(matches!(after(&refused(), REFUSED), Step::Wait(Why::Refused(..))), "there is no token");
            let refused = with_token(refused());
            let almost = REFUSED.saturating_sub(Duration::from_secs(1));
            assert!(matches!(after(&refused, almost), Step::Wait(Why::Refused(..))), "{refusal}");
            assert!(matches!(after(&refused, REFUSED), Step::Renew(it) if it == refusal), "{refusal}");
        }
        let elsewhere = Look {
            standing: Standing::Member { swarm: Swarm::Other, is_settled: false },
            ..with_token(worker_of_the_wanted(reached(), Heard::Refused(Refusal::Unknown), false))
        };
        assert!(matches!(after(&elsewhere, REFUSED), Step::Refuse(_)));
    }

    #[test]
    fn a_worker_moves_only_if_no_known_manager_answers_and_a_wanted_one_does() {
        let silent = |open: bool| Contact::Silent { elsewhere: open.then(|| ([10, 0, 0, 1], 2377).into()) };
        let reached = || Contact::Reached(([10, 0, 0, 9], 2377).into());
        for is_settled in [true, false] {
            let of = |contact| worker_of_the_wanted(contact, Heard::NoRefusal, is_settled);
            assert!(matches!(after(&with_token(of(silent(true))), REFUSED), Step::Leave(Leaving::Old)));
            for stays in [
                of(silent(true)),
                with_token(of(silent(false))),
                with_token(of(Contact::Unasked("no route".to_owned()))),
                with_token(of(Contact::KnownElsewhere(([10, 0, 0, 1], 2377).into()))),
                with_token(of(reached())),
                with_token(of(Contact::NotAsked)),
            ] {
                let is_kept = matches!(stays.contact, Contact::Reached(_) | Contact::NotAsked);
                match after(&stays, REFUSED) {
                    Step::Done => assert!(is_settled && is_kept, "{stays:?}"),
                    Step::Wait(_) => assert!(!is_settled || !is_kept, "{stays:?}"),
                    step => panic!("{step:?}: {stays:?}"),
                }
            }
        }
    }

    /// A worker that knows only a load balancer, and whose swarm was restored at another address.
    #[test]
    fn what_takes_connections_and_is_no_manager_is_left_only_if_that_is_asked_for() {
        let masked = |open: bool| Contact::Masked {
            told: "10.0.0.9:2377 takes connections".to_owned(),
            elsewhere: open.then(|| ([10, 0, 0, 1], 2377).into()),
        };
        for (is_settled, elsewhere, token, leave_dead, expected) in [
            (true, true, true, true, "leave"),
            (false, true, true, true, "leave"),
            (true, true, true, false, "masked"),
            (false, true, true, false, "masked"),
            (true, true, false, true, "masked"),
            (true, false, true, true, "masked"),
            (false, false, true, true, "unsettled"),
        ] {
            let look = worker_of_the_wanted(masked(elsewhere), Heard::NoRefusal, is_settled);
            let look = if token { with_token(look) } else { look };
            let step = step::next(&look, &request(leave_dead), &BTreeMap::new(), Seen::default());
            let is_expected = match &step {
                Step::Leave(Leaving::Old) => expected == "leave",
                Step::Wait(why @ Why::Masked(_)) => {
                    let failure = gave_up(vec![why.clone()], &Pacing::new(Duration::ZERO));
                    let rendered = Rendered::of(&failure.into());
                    let says = rendered.advice.iter().any(|it| it.contains("--leave-dead --wait 15m"));
                    expected == "masked" && says && rendered.exit == Exit::Failed
                }
                Step::Wait(_) => expected == "unsettled",
                _ => false,
            };
            assert!(is_expected, "{is_settled} {elsewhere} {token} {leave_dead}: {step:?}");
        }
    }

    /// A worker may know a dead manager beside one that refuses it.
    #[test]
    fn a_worker_whose_engine_gets_no_answer_is_not_done() {
        let reached = || Contact::Reached(([10, 0, 0, 9], 2377).into());
        for refused in [Duration::ZERO, REFUSED] {
            let look = with_token(worker_of_the_wanted(reached(), Heard::Unanswered, true));
            let step = after(&look, refused);
            assert!(matches!(step, Step::Wait(Why::Unanswered)), "{step:?}");
        }
    }

    #[test]
    fn a_manager_of_the_wanted_swarm_never_gives_its_place_up() {
        for is_settled in [true, false] {
            let mut manager = with_token(worker_of_the_wanted(
                Contact::Silent { elsewhere: Some(([10, 0, 0, 1], 2377).into()) },
                Heard::Refused(Refusal::Unknown),
                is_settled,
            ));
            manager.on_disk.has_log = true;
            let step = after(&manager, REFUSED);
            assert!(
                matches!(step, Step::Done) == is_settled && !matches!(step, Step::Renew(_) | Step::Leave(_)),
                "{step:?}"
            );
        }
    }
}

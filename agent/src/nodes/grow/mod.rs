//! `node grow`: ready workers become managers, one after the other, until there are as many as wanted.
//!
//! What the swarm does (swarmkit `manager/role_manager.go`, `ca/server.go`, `manager/state/raft/raft.go`):
//!
//! - An update of the role changes what is wanted. The leader's role manager changes the node's role in the same moment,
//!   and tries again every five seconds what did not work. The node gets a certificate as a manager, starts one, and asks
//!   the leader to let it join.
//! - The leader calls it back on its address before it becomes a member of the raft group (`checkHealth`, five seconds). So
//!   a node whose port 2377 is closed stays outside, and the swarm works on as before.
//! - From then on it counts. **Two managers need each other**: a majority of two is two, so the second one that dies before
//!   there is a third takes the swarm's control plane with it. That window cannot be closed, only kept short: the group is
//!   joined by one node at a time, and by the next one as soon as the last one keeps up.
//! - A demotion is refused where it would cost the majority (`CanRemoveMember`), so there is no way back from two without
//!   the second one: it has to return, or `recover-quorum` makes a group of one again.
//! - A node that stays outside has no vote, so it does not stop the others: it is passed over for the rest of the run, and
//!   the next run waits for it again. So is a member that does not answer, once it is a worker again (`take_back`); that one
//!   is not tried again for an hour.
//!
//! A run that is killed leaves a label on the node that it has promoted (`mark`), so that the next one goes on with it.
//!
//! The API does not tell how far a manager's log is (`backup::lag` reads that from a manager's own disk). What it tells is
//! used: the manager is reachable for the leader, it accepts a connection, both for as long as an election takes, and then
//! the swarm takes a change. Among two managers no change is taken that the second one does not have, with everything
//! before it.
//!
//! A number is even only on the way to the next odd one, unless it is the wanted one: a promotion begins if there are nodes
//! for all that follow up to such a number, whose ports have all been asked for. Four managers survive as many failures as three, which is told; two survive
//! fewer than one, and are refused.

mod change;
mod mark;
mod plan;
pub mod report;
mod rule;
mod take_back;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use jiff::Timestamp;

use super::{
    label::Label,
    roster::{self, Led, Listed, set_label},
};
use crate::{
    config::grow::NodeLabel,
    host::engine::Engine,
    outcome::{
        exit::Exit,
        failpoint,
        failure::{Failure, Rendered},
    },
    run::Run,
};
use change::{Chosen, Promotion, Settled};
use mark::{LABEL, Mark};
use plan::{Standing, Step};
pub use report::GrowReport;
use report::PassedOver;
use rule::Rule;
use take_back::TakenBack;

/// Time between two looks for more workers, and after a promotion that somebody else's change came before.
const POLL: Duration = Duration::from_secs(2);

/// A run of `node grow`.
#[derive(Debug)]
pub struct Grow<'a> {
    pub run: Run<'a>,
    /// Number of managers that is wanted; not 0 and not 2.
    pub managers: usize,
    /// Property whose values the managers are to differ in.
    pub spread: Option<&'a Label>,
    /// Label that a worker must have to become a manager.
    pub only: Option<&'a NodeLabel>,
    /// Whether workers that did not become managers in the last hour are tried again.
    pub again: bool,
    /// Time to wait for workers that are missing.
    pub wait: Duration,
    /// Time that a promoted node gets to become a manager that keeps up.
    pub limit: Duration,
    pub dry_run: bool,
}

impl Grow<'_> {
    /// Runs the whole flow. Refuses a host that does not lead the swarm (exit 3), and a swarm with a manager that does not
    /// answer (exit 4). What happens after the first change is in the report.
    pub async fn run(&self) -> Result<GrowReport> {
        require_useful(self.managers)?;
        let Run { config, shutdown, .. } = self.run;
        let engine = Engine::at(&config.engine.socket);
        let led = shutdown.or_interrupted(Led::of(engine, "makes managers")).await?;
        let mut report = GrowReport::new(self.managers, self.dry_run);
        let grown = shutdown.or_interrupted(self.grow(&led, &mut report)).await;
        match grown {
            Ok(()) => {}
            Err(error) if !report.has_acted => return Err(error),
            Err(error) => report.stopped(Rendered::of(&error)),
        }
        Ok(report.finish())
    }

    async fn grow(&self, led: &Led, report: &mut GrowReport) -> Result<()> {
        let begun = Instant::now();
        let mut passed_over = BTreeMap::new();
        loop {
            // Asked anew before each promotion: managers may have died since, and workers have gone.
            let standing = Standing::of(led, &self.rule(led, &passed_over)).await?;
            standing.require_well()?;
            report.stands(&standing, self.spread);
            if !self.dry_run {
                note_undone(led, &standing.undone).await;
            }
            let (node, is_new) = match standing.next(self.managers, self.spread) {
                Step::Enough => {
                    report.enough(&standing);
                    return Ok(());
                }
                step if self.dry_run => {
                    report.would(&standing, &step, self.managers, self.spread);
                    return Ok(());
                }
                Step::Await(node) => {
                    tracing::info!(node = node.id(), hostname = node.name(), "waiting for an earlier promotion");
                    (node, false)
                }
                Step::Promote(node) => {
                    // All of them, before the first one: if one fell away between an odd number and the next, an even
                    // number would be left.
                    let shut = take_back::shut(&standing.promotions(self.managers, self.spread)).await;
                    if !shut.is_empty() {
                        shut.into_iter().for_each(|node| report.shut(node, &mut passed_over));
                        continue;
                    }
                    (node, true)
                }
                Step::Missing(missing) if begun.elapsed() >= self.wait => {
                    report.misses(missing, &standing);
                    return Ok(());
                }
                Step::Missing(_) => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            self.promote(led, (node, is_new), &mut passed_over, report).await?;
        }
    }

    fn rule<'a>(&'a self, led: &'a Led, passed_over: &'a BTreeMap<String, String>) -> Rule<'a> {
        let (now, again) = (Timestamp::now(), self.again);
        Rule { leader_engine: &led.facts.version, only: self.only, passed_over, now, again }
    }

    /// Makes a node a manager, or waits for a promotion that is under way. One that is late is passed over.
    async fn promote(
        &self,
        led: &Led,
        (node, is_new): (&Listed, bool),
        passed_over: &mut BTreeMap<String, String>,
        report: &mut GrowReport,
    ) -> Result<()> {
        let promotion = Promotion { led, id: node.id(), name: node.name(), limit: self.limit };
        let is_own = is_new || Mark::of(node).is_some_and(|mark| mark.is_own(Timestamp::now()));
        if is_new {
            let chosen = Chosen { node, spread: self.spread };
            if !promotion.begin(&self.rule(led, passed_over), &chosen).await? {
                tokio::time::sleep(POLL).await;
                return Ok(());
            }
            report.promoted(node, self.spread);
            failpoint::reach("promoted");
        }
        match promotion.settle().await? {
            Settled::Member => {
                tracing::info!(node = node.id(), hostname = node.name(), "is a manager now");
                report.has_acted = true;
                failpoint::reach("grown");
            }
            // One of an earlier run that turned out to be a worker again is a candidate as others.
            Settled::Undone if !is_new => {}
            Settled::Undone => return Err(undone(node.name())),
            Settled::Late(late) => {
                let (why, is) = pass_over(&promotion, is_own, late).await?;
                report.pass_over(node, &why, is);
                passed_over.insert(node.id().to_owned(), why);
                failpoint::reach("passed-over");
            }
        }
        Ok(())
    }
}

/// Notes on workers that somebody else took their role back. Whoever promotes one of them by hand later means it to stay,
/// and the label would say that `node grow` did it.
async fn note_undone(led: &Led, undone: &[Listed]) {
    for listed in undone {
        let note = |spec: &mut serde_json::Value| {
            set_label(spec, LABEL, Mark::of(listed).map(|mark| mark.undone().to_string()));
        };
        if let Err(error) = listed.update(&led.objects, note).await {
            tracing::warn!("the label of {} was not changed: {error:#}", listed.name());
        }
    }
}

/// Takes a node that is late back as far as that can be, and returns why it is passed over, and what it is now. An error if
/// it cannot be taken back: without a majority nothing can be changed, and no other is to be tried. So is one that answers
/// at this moment, and did not for long enough: it counts, and has its mark until a run sees that it keeps up. One that no
/// run of `node grow` has promoted is only looked at, since an operator has done it.
async fn pass_over(promotion: &Promotion<'_>, is_own: bool, late: anyhow::Error) -> Result<(String, PassedOver)> {
    tracing::warn!("{late:#}");
    let what = Rendered::of(&late).what;
    let now = match is_own {
        true => promotion.take_back().await,
        false => promotion.look().await.and_then(|seen| take_back::as_it_is(seen, promotion.name)),
    };
    match now {
        Ok(TakenBack::Worker) => Ok((format!("{what}; it is a worker again"), PassedOver::TakenBack)),
        Ok(TakenBack::Told) => {
            Ok((format!("{what}; it was told to be a worker again, which the new leader ends"), PassedOver::TakenBack))
        }
        Ok(TakenBack::Outside) => Ok((what, PassedOver::Outside)),
        Ok(TakenBack::Member) => Err(late),
        Err(error) if is_elsewhere(&error) => Err(error),
        Err(error) => {
            tracing::warn!("{} was not made a worker again: {error:#}", promotion.name);
            Err(late)
        }
    }
}

/// Refuses numbers of managers that are worse than one less: none, and two, which survive the loss of none and both of
/// which are needed.
pub fn require_useful(managers: usize) -> Result<()> {
    let worse = match managers {
        0 => "no manager is wanted",
        2 => "2 managers are wanted: the loss of either stops the swarm's changes, and 1 has one that can be lost",
        _ => return Ok(()),
    };
    Err(Failure::usage(worse).advice("ask for an odd number: 3 survive the loss of one, 5 of two").into())
}

/// What an even number of managers means; `None` for an odd one.
fn even(managers: usize) -> Option<String> {
    match managers {
        2 => Some(
            "there are 2 managers, and both are needed: if either is lost, nothing can be changed. Let more workers join, \
             or make one of the two a worker (`docker node demote`) while both answer"
                .to_owned(),
        ),
        0 => None,
        even if even % 2 == 0 => {
            Some(format!("{even} managers survive the loss of {}, as {} do", (even - 1) / 2, even - 1))
        }
        _ => None,
    }
}

/// The error for a promotion that somebody else took back: what one does on purpose the other must not repeat.
fn undone(name: &str) -> anyhow::Error {
    Failure::failed(format!("somebody made {name} a worker again, or removed it, while this ran"))
        .advice("run this again if managers are still missing")
        .into()
}

/// True if an error only says that this host is not the one to go on.
fn is_elsewhere(error: &anyhow::Error) -> bool {
    roster::is_led_elsewhere(error)
}

/// The exit of a run that has changed something and could not go on.
fn exit_after(error: Exit) -> Exit {
    match error {
        Exit::Refused | Exit::NotOurTurn => Exit::Attention,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nodes::grow::{
            change::tests::{group, node},
            plan::tests::sort,
        },
        restore::fake_engine::FakeEngine,
    };

    /// It may have been reachable for this moment only, and then the next promotion would begin with one that is not.
    #[tokio::test]
    async fn a_member_that_comes_and_goes_is_neither_proven_nor_followed_by_another() {
        let fake = FakeEngine::start();
        let (led, _listener) = group(&fake, "reachable").await;
        let promotion = Promotion { led: &led, id: "w", name: "host-w", limit: Duration::ZERO };
        let error = pass_over(&promotion, true, anyhow::anyhow!("it is late")).await.expect_err("ends the run");
        assert_eq!(error.to_string(), "it is late");
        assert_eq!(fake.requests(), Vec::<String>::new());
        let listed = node(&led, "w").await;
        assert!(listed.node.is_manager_by_role() && matches!(Mark::of(&listed), Some(Mark::Promoted(_))), "{listed:?}");
    }

    /// Else it would be made a worker again by the next run that finds it silent, as one of an earlier run.
    #[tokio::test]
    async fn a_worker_that_somebody_made_one_is_an_operators_when_it_is_promoted_by_hand() {
        let fake = FakeEngine::start();
        let (led, _listener) = group(&fake, "reachable").await;
        let role = |role: &'static str| move |spec: &mut serde_json::Value| spec["Role"] = role.into();
        fake.state.lock().expect("no panic").objects[2].1["ManagerStatus"] = serde_json::Value::Null;
        node(&led, "w").await.update(&led.objects, role("worker")).await.expect("is demoted by hand");
        let standing = sort(vec![node(&led, "m").await, node(&led, "w").await]);
        note_undone(&led, &standing.undone).await;
        node(&led, "w").await.update(&led.objects, role("manager")).await.expect("is promoted by hand");
        let mark = Mark::of(&node(&led, "w").await).expect("has one");
        assert!(!mark.is_own(Timestamp::now()) && mark.why_not("w", Timestamp::now()).is_some(), "{mark}");
    }

    #[test]
    fn a_number_of_managers_that_is_worse_than_one_less_is_a_mistake() {
        for (managers, taken) in [(0, false), (1, true), (2, false), (3, true), (4, true), (5, true)] {
            match require_useful(managers) {
                Ok(()) => assert!(taken, "{managers}"),
                Err(error) => assert!(!taken && Rendered::of(&error).exit == Exit::Usage, "{managers}"),
            }
        }
    }

    #[test]
    fn an_even_number_is_told() {
        for (managers, told) in [(0, None), (1, None), (2, Some("both are needed")), (3, None), (5, None)] {
            match (even(managers), told) {
                (None, None) => {}
                (Some(said), Some(told)) => assert!(said.contains(told), "{said}"),
                (said, _) => panic!("{managers}: {said:?}"),
            }
        }
        assert_eq!(even(4).as_deref(), Some("4 managers survive the loss of 1, as 3 do"));
        assert_eq!(even(6).as_deref(), Some("6 managers survive the loss of 2, as 5 do"));
    }

    #[test]
    fn a_refusal_after_a_change_is_no_refusal() {
        assert_eq!(exit_after(Exit::Refused), Exit::Attention);
        assert_eq!(exit_after(Exit::NotOurTurn), Exit::Attention);
        assert_eq!(exit_after(Exit::Failed), Exit::Failed);
    }
}

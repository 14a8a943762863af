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
//!
//! The API does not tell how far a manager's log is (`backup::lag` reads that from a manager's own disk). What it tells is
//! used: the manager is reachable for the leader, it accepts a connection, both for as long as an election takes, and then
//! the swarm takes a change. Among two managers no change is taken that the second one does not have, with everything
//! before it.
//!
//! A number is even only on the way to the next odd one: a promotion begins if there are nodes for all that follow up to an
//! odd number. Four managers survive as many failures as three.

mod change;
mod plan;
pub mod report;

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    label::Label,
    roster::{self, Led},
};
use crate::{
    host::engine::Engine,
    outcome::{
        exit::Exit,
        failpoint,
        failure::{Failure, Rendered},
    },
    run::Run,
};
use change::Promotion;
use plan::{Standing, Step};
pub use report::GrowReport;

/// Time between two looks for more workers, and after a promotion that somebody else's change came before.
const POLL: Duration = Duration::from_secs(2);

/// A run of `node grow`.
#[derive(Debug)]
pub struct Grow<'a> {
    pub run: Run<'a>,
    /// Number of managers that is wanted; odd.
    pub managers: usize,
    /// Property whose values the managers are to differ in.
    pub spread: Option<&'a Label>,
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
        require_odd(self.managers)?;
        let Run { config, shutdown, .. } = self.run;
        let engine = Engine::at(&config.engine.socket);
        let led = shutdown.or_interrupted(Led::of(engine, "makes managers")).await?;
        let mut report = GrowReport::new(self.managers, self.dry_run);
        let grown = shutdown.or_interrupted(self.grow(&led, &mut report)).await;
        match grown {
            Ok(()) => {}
            Err(error) if report.promoted.is_empty() => return Err(error),
            Err(error) => report.stopped(Rendered::of(&error)),
        }
        Ok(report.finish())
    }

    async fn grow(&self, led: &Led, report: &mut GrowReport) -> Result<()> {
        let begun = Instant::now();
        loop {
            // Asked anew before each promotion: managers may have died since, and workers have gone.
            let standing = Standing::of(led).await?;
            standing.require_well()?;
            report.stands(&standing, self.spread);
            match standing.next(self.managers, self.spread) {
                Step::Enough => return Ok(()),
                step if self.dry_run => {
                    report.would(&standing, &step, self.managers, self.spread);
                    return Ok(());
                }
                Step::Await(node) => {
                    tracing::info!(node = node.id(), hostname = node.name(), "waiting for an earlier promotion");
                    // One that turned out to be a worker again is a candidate as others.
                    Promotion { led, id: node.id(), name: node.name(), limit: self.limit }.settle().await?;
                }
                Step::Promote(node) => {
                    let promotion = Promotion { led, id: node.id(), name: node.name(), limit: self.limit };
                    if !promotion.begin().await? {
                        tokio::time::sleep(POLL).await;
                        continue;
                    }
                    report.promoted(node, self.spread);
                    failpoint::reach("promoted");
                    if !promotion.settle().await? {
                        return Err(undone(node.name()));
                    }
                    tracing::info!(node = node.id(), hostname = node.name(), "is a manager now");
                    failpoint::reach("grown");
                }
                Step::Missing(missing) if begun.elapsed() >= self.wait => {
                    report.misses(missing, &standing);
                    return Ok(());
                }
                Step::Missing(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
}

/// Refuses an even number of managers.
pub fn require_odd(managers: usize) -> Result<()> {
    if managers % 2 == 1 {
        return Ok(());
    }
    Err(Failure::usage(format!("{managers} managers are wanted, and an even number survives no more than one less"))
        .advice("ask for an odd number: 3 survive the loss of one, 5 of two")
        .into())
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

    #[test]
    fn an_even_number_of_managers_is_a_mistake() {
        for (managers, taken) in [(0, false), (1, true), (2, false), (3, true), (4, false), (5, true)] {
            match require_odd(managers) {
                Ok(()) => assert!(taken, "{managers}"),
                Err(error) => assert!(!taken && Rendered::of(&error).exit == Exit::Usage, "{managers}"),
            }
        }
    }

    #[test]
    fn a_refusal_after_a_change_is_no_refusal() {
        assert_eq!(exit_after(Exit::Refused), Exit::Attention);
        assert_eq!(exit_after(Exit::NotOurTurn), Exit::Attention);
        assert_eq!(exit_after(Exit::Failed), Exit::Failed);
    }
}

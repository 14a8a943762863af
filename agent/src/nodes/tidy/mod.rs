//! `node tidy`: nodes that have been down for long are taken out of the swarm.
//!
//! After a restore every old worker is such a node, and each still holds addresses. What was seen on 20.10.24, 26.1.5 and
//! 28.5.2, on a restored swarm with a network of /28 (13 addresses for tasks and load balancers) that ten dead workers had
//! used:
//!
//! | done | ten new tasks on that network |
//! |---|---|
//! | nothing | none starts: each task of a dead node keeps its address for 24 hours, and the node one for its load balancer |
//! | `docker node rm --force` of nodes that are down | all start within 4 s |
//! | drained, waited for, removed, as here | all start within 4 s |
//! | `docker node rm --force` in the first seconds, while nodes are `unknown` and tasks are to run on them | all start within 5 s in 34 of 35 runs (5 on 20.10, 25 on 26.1, 5 on 28.5); in one on 26.1 none had started after 45 s: "node is missing network attachments, ip addresses may be exhausted" |
//!
//! So moby#37338 does not concern nodes that are down, whose tasks are to be shut down already: the leader marks the tasks
//! of a removed node as orphaned in the same step (swarmkit `manager/controlapi/node.go`, `orphanNodeTasks`), and frees what
//! they and the node hold. Before that the order of many small steps decides. This waits until a node is down and no task is
//! to run on it, so it never gets there. By its source, a leader that starts counts the addresses anew from the state
//! (`manager/allocator/network.go`, `doNetworkInit`); that remedy could not be tried, since the one case did not come again.
//!
//! Since when a node is down is not in the API. Its object changes with its state, so it has been down at least since the
//! object changed last (`UpdatedAt`). A leader that has just started knows only what the state says, which is old after a
//! restore: nothing counts from before the start of its engine. The drain changes the object too, so a label on the node
//! keeps the moment, and tells that the drain is not an operator's.

mod change;
mod left_over;
mod plan;
mod report;
mod survey;
mod waiting;

use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::roster::Led;
use crate::{
    host::engine::{Engine, process::EngineProcess},
    outcome::failpoint,
    run::Run,
};
use change::Change;
pub use left_over::{REMEDY, left_over, named, told};
use plan::{Plan, Verdict};
pub use report::TidyReport;
use report::{NodeOutcome, Outcome};
use survey::Survey;

/// A run of `node tidy`.
#[derive(Debug)]
pub struct Tidy<'a> {
    pub run: Run<'a>,
    /// Time for which a node must have been down.
    pub dead_for: Duration,
    pub dry_run: bool,
}

impl Tidy<'_> {
    /// Runs the whole flow. Refuses a host that does not lead the swarm (exit 3).
    pub async fn run(&self) -> Result<TidyReport> {
        let Run { config, shutdown, .. } = self.run;
        let engine = Engine::at(&config.engine.socket);
        shutdown
            .or_interrupted(async {
                let led = Led::of(engine, "removes dead nodes").await?;
                let survey = Survey::of(&led, config.restore.fence_timeout_ms.duration()).await?;
                let plan = Plan::of(&survey, self.rule(&led).await);
                match self.dry_run {
                    true => Ok(TidyReport::of(self.dead_for, true, NodeOutcome::foretold(plan), Vec::new())),
                    false => self.carry_out(&led, plan).await,
                }
            })
            .await
    }

    async fn rule(&self, led: &Led) -> plan::Rule {
        let now = Timestamp::now();
        // Without an answer nothing counts from before this run.
        let age = EngineProcess::answering(led.engine.socket()).await.and_then(|engine| engine.age());
        let age = age.inspect_err(|error| tracing::warn!("it is not known since when the engine runs: {error:#}"));
        let age = SignedDuration::try_from(age.unwrap_or_default()).unwrap_or_default();
        let dead_for = SignedDuration::try_from(self.dead_for).unwrap_or(SignedDuration::MAX);
        plan::Rule { now, engine_since: now.checked_sub(age).unwrap_or(now), dead_for }
    }

    async fn carry_out(&self, led: &Led, plan: Plan) -> Result<TidyReport> {
        let change = Change { led, probe_limit: self.run.config.restore.fence_timeout_ms.duration() };
        let mut outcomes = Vec::new();
        let mut due = Vec::new();
        for (listed, verdict) in plan.nodes {
            match verdict {
                Verdict::Due { since } => match change.drain(listed.id(), since).await {
                    Ok(None) => due.push((listed, since)),
                    Ok(Some(outcome)) => outcomes.push(NodeOutcome::of(&listed, Some(since), outcome)),
                    Err(error) => outcomes.push(NodeOutcome::of(&listed, Some(since), Outcome::kept(&error))),
                },
                Verdict::Back => {
                    let given = change.give_back(listed.id()).await;
                    let outcome = given.unwrap_or_else(|error| Outcome::kept(&error));
                    outcomes.push(NodeOutcome::of(&listed, None, outcome));
                }
                other => outcomes.push(NodeOutcome::of(&listed, other.since(), Outcome::of(&other))),
            }
        }
        failpoint::reach("drained");
        change.wait_let_go(due.iter().map(|(listed, _)| listed.id())).await?;
        for (listed, since) in due {
            let outcome = change.remove(listed.id()).await.unwrap_or_else(|error| Outcome::kept(&error));
            if outcome == Outcome::Removed {
                tracing::info!(node = listed.id(), hostname = listed.name(), "removed a node that is gone");
            }
            outcomes.push(NodeOutcome::of(&listed, Some(since), outcome));
            failpoint::reach("node-removed");
        }
        let removed = outcomes.iter().any(|it| it.outcome == Outcome::Removed);
        let waiting = if removed { waiting::after(led).await? } else { Vec::new() };
        Ok(TidyReport::of(self.dead_for, false, outcomes, waiting))
    }
}

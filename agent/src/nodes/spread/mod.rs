//! `node spread`: services use the nodes that have joined, by one forced update after the other.
//!
//! The swarm never moves a task that runs. A forced update (`ForceUpdate` of the task template plus one, as
//! `docker service update --force` does it) replaces the tasks one by one by the service's own update settings, and the
//! scheduler puts each new one on the node with the fewest of them.
//!
//! It costs a restart of every task of the service, so only services that gain from it are updated: replicated ones, whole
//! and at rest, of which some node that may have their tasks has at least two fewer than another. What an update would do
//! besides is a reason to leave a service: it goes on where one was paused, begins jobs and ended tasks again (see
//! `restore::images::renew`). What cannot be judged from outside, such as a constraint of an unknown form, is one too.
//!
//! An update may leave a service uneven. With `start-first` the scheduler counts the old tasks too, so that six tasks of one
//! node become three and three on two new ones, and none on the old one (seen on 26.1.5). Or it knows better, for instance
//! that a node has just failed several tasks. So each update is remembered with the nodes that there were, on the service
//! itself (`memory`), and is not made for the same ones again.
//!
//! A service whose tasks use volumes, directories, ports or the network of their nodes is left where it is unless the
//! operator says that this may be cut (`bonds`).

mod bonds;
mod fit;
mod host_network;
mod level;
mod memory;
mod plan;
pub mod report;
mod service;
mod update;

use std::time::Duration;

use anyhow::Result;
use swarm_state::inventory::ObjectKind;
use wildmatch::WildMatch;

use super::roster::Led;
use crate::{
    host::engine::{Engine, Refusal},
    outcome::failpoint,
    restore::images::renew::surplus::Suspects,
    run::Run,
};
pub use bonds::Cut;
use plan::{Planned, Verdict, View};
pub use report::SpreadReport;
use report::{Outcome, ServiceLine};
use update::Ended;

/// A run of `node spread`.
#[derive(Debug)]
pub struct Spread<'a> {
    pub run: Run<'a>,
    /// Patterns of names of services that are meant; all without any.
    pub services: &'a [WildMatch],
    /// What may tie the tasks of a service to their nodes, and is cut.
    pub cut: Cut,
    /// Number of services that are updated at most.
    pub at_most: Option<usize>,
    /// Time that the update of one service gets.
    pub limit: Duration,
    pub dry_run: bool,
}

impl Spread<'_> {
    /// Runs the whole flow. Refuses a host that does not lead the swarm (exit 3).
    pub async fn run(&self) -> Result<SpreadReport> {
        let Run { config, shutdown, .. } = self.run;
        let engine = Engine::at(&config.engine.socket);
        let led = shutdown.or_interrupted(Led::of(engine, "spreads the services")).await?;
        shutdown.or_interrupted(self.spread(&led)).await
    }

    async fn spread(&self, led: &Led) -> Result<SpreadReport> {
        let view = View::of(led).await?;
        let mut lines = Vec::new();
        let mut updated = 0;
        for planned in view.judge(self.cut).into_iter().filter(|planned| self.is_meant(&planned.name)) {
            if planned.verdict != Verdict::Uneven {
                lines.push(ServiceLine::of(&planned, Outcome::of(&planned.verdict)));
                continue;
            }
            if self.at_most.is_some_and(|most| updated >= most) {
                lines.push(ServiceLine::of(&planned, Outcome::Later));
                continue;
            }
            updated += 1;
            if self.dry_run {
                lines.push(ServiceLine::of(&planned, Outcome::Would));
                continue;
            }
            let line = self.update(led, &planned).await;
            let is_failure = line.outcome.is_failure();
            lines.push(line);
            failpoint::reach("service-spread");
            if is_failure {
                break;
            }
        }
        Ok(SpreadReport::of(self.dry_run, lines))
    }

    fn is_meant(&self, name: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|pattern| pattern.matches(name))
    }

    /// Updates a service that is still to be updated, and finds out what became of it.
    async fn update(&self, led: &Led, planned: &Planned) -> ServiceLine {
        match self.try_update(led, planned).await {
            Ok(line) => line,
            Err(error) => ServiceLine::of(planned, Outcome::Failed { why: format!("{error:#}") }),
        }
    }

    async fn try_update(&self, led: &Led, planned: &Planned) -> Result<ServiceLine> {
        // What was true when the run began may have changed while other services were updated.
        let view = View::of(led).await?;
        let Some(now) = view.judge(self.cut).into_iter().find(|it| it.id == planned.id) else {
            return Ok(ServiceLine::of(planned, Outcome::Gone));
        };
        if now.verdict != Verdict::Uneven {
            return Ok(ServiceLine::of(&now, Outcome::of(&now.verdict)));
        }
        let rollback_lost = match update::begin(led, &now.id, &now.nodes).await {
            Ok(Some(rollback_lost)) => rollback_lost,
            Ok(None) => {
                let why = "somebody changed it while this ran".to_owned();
                return Ok(ServiceLine::of(&now, Outcome::Left { why, needs_attention: true }));
            }
            Err(error) if Refusal::is_not_found(&error) => return Ok(ServiceLine::of(&now, Outcome::Gone)),
            Err(error) => return Err(error),
        };
        tracing::info!(service = now.name, "its tasks are placed anew");
        failpoint::reach("update-begun");
        let ended = update::wait(led, &now.id, self.limit).await?;
        if let Ended::Failed { why } = ended {
            return Ok(ServiceLine { rollback_lost, ..ServiceLine::of(&now, Outcome::Failed { why }) });
        }
        if now.starts_first {
            let suspects = Suspects { updated: [now.id.clone()].into(), ..Suspects::default() };
            suspects.end_surplus(&led.objects).await?;
        }
        let after = View::of(led).await?.judge(self.cut).into_iter().find(|it| it.id == now.id);
        let Some(after) = after else { return Ok(ServiceLine::of(&now, Outcome::Gone)) };
        let outcome = match after.verdict {
            Verdict::Uneven | Verdict::Tried => Outcome::StillUneven,
            _ => Outcome::Spread,
        };
        Ok(ServiceLine { rollback_lost, before: now.placed, ..ServiceLine::of(&after, outcome) })
    }
}

/// The kind of object that is updated.
const KIND: ObjectKind = ObjectKind::Service;

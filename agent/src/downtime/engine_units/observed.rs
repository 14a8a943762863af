//! The units and containers that run because the engine runs. They are observed again right before a stop, and recorded
//! before anything is stopped.

use std::{collections::BTreeSet, mem, time::Duration};

use anyhow::Result;

use super::EngineControl;
use crate::{
    downtime::{
        bring_back_list::BringBackList,
        related_units,
        running_before::{RunningBefore, SocketAccess},
    },
    host::engine::containers::{self, Container},
};

/// Limit of the inspection of all containers together, however many of them hang.
const INSPECT_LIMIT: Duration = Duration::from_secs(30);

/// Limit of the inspection right before a stop, which is part of the pause: only new containers are inspected then.
const LAST_INSPECT_LIMIT: Duration = Duration::from_secs(5);

/// The units and containers that are known to run because the engine runs.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub found: RunningBefore,
    /// The containers that were inspected, tasks of a swarm among them.
    pub inspected: Vec<Container>,
    /// True once the engine was asked to stop: from then on everything in `found` must be brought back.
    pub stopped: bool,
    /// Dependents that were asked to start since then.
    pub asked: BTreeSet<String>,
}

impl EngineControl {
    /// Inspects the containers that run now. Returns all of them, tasks of a swarm too; those that could not be
    /// inspected are noted in [`RunningBefore::unseen`].
    pub async fn inspect_containers(&self) -> Result<Vec<Container>> {
        let inspected = containers::inspect_running(&self.socket, &[], INSPECT_LIMIT).await?;
        let now = RunningBefore {
            containers: not_tasks(&inspected.containers),
            unseen: inspected.unseen,
            ..RunningBefore::default()
        };
        let mut observed = self.observed();
        observed.found.join(&now);
        observed.inspected.clone_from(&inspected.containers);
        Ok(inspected.containers)
    }

    /// Notes a sentence about what could not be inspected, for a run that continues without it.
    pub(in crate::downtime) fn note_unseen(&self, sentence: String) {
        self.observed().found.join(&RunningBefore { unseen: vec![sentence], ..RunningBefore::default() });
    }

    /// Returns the active ones of the engine's own units and their dependents, and the units that matter to a start.
    pub(super) async fn inspect_units(&self) -> Result<RunningBefore> {
        let mut active = Vec::new();
        for unit in self.engine.iter() {
            if self.systemd.state(unit).await?.is_on() {
                active.push(unit.clone());
            }
        }
        let dependents = related_units::dependents(&self.systemd, &self.engine).await?;
        let starters = related_units::starters(&self.systemd, &self.engine, &dependents).await?;
        let off = related_units::off(&self.systemd, &[self.engine.as_slice(), &dependents].concat()).await?;
        let access = SocketAccess::of(&self.socket);
        Ok(RunningBefore { engine: active, dependents, starters, off, access, ..RunningBefore::default() })
    }

    /// Returns everything that runs right before a stop, some time after the first inspection, and everything that an
    /// earlier run did not bring back.
    async fn inspect_again(&self, is_on: bool) -> Result<RunningBefore> {
        let mut found = self.inspect_units().await?;
        let (known, before) = {
            let observed = self.observed();
            (observed.inspected.clone(), observed.found.clone())
        };
        found.unseen.clone_from(&before.unseen);
        let inspected = match is_on {
            // A call on a socket that is activated starts the engine behind it.
            false => Ok(containers::Inspected::default()),
            // Nothing was inspected before.
            true if known.is_empty() => containers::inspect_running(&self.socket, &[], INSPECT_LIMIT).await,
            true => containers::inspect_running(&self.socket, &known, LAST_INSPECT_LIMIT).await,
        };
        match inspected {
            Ok(inspected) => {
                let now = RunningBefore {
                    containers: not_tasks(&inspected.containers),
                    unseen: inspected.unseen,
                    ..RunningBefore::default()
                };
                found.join(&now);
            }
            Err(error) => {
                found.containers = before.containers;
                found
                    .unseen
                    .push(format!("what was started right before the engine was stopped is not known: {error:#}"));
            }
        }
        if let Some(earlier) = BringBackList::read_or_warn(&self.list) {
            found.join(&earlier.found.owed(is_on));
        }
        Ok(found)
    }

    /// Records what runs, on disk. Nothing is stopped that is not recorded; but if the engine was down already, neither
    /// a failing disk nor a failing call may keep it from coming back.
    pub(super) async fn write_down(&self, is_on: bool) -> Result<()> {
        let write = async {
            let found = self.inspect_again(is_on).await?;
            self.observed().found = found.clone();
            self.require_stoppable().await?;
            BringBackList::new(&self.socket, found)?.write(&self.list)
        };
        let written = write.await;
        let had_stopped = mem::replace(&mut self.observed().stopped, written.is_ok());
        self.observed().asked.clear();
        match written {
            Err(error) if had_stopped => {
                self.observed().stopped = true;
                tracing::error!("{error:#}; going on without it");
                Ok(())
            }
            written => written,
        }
    }
}

fn not_tasks(containers: &[Container]) -> Vec<Container> {
    containers.iter().filter(|it| it.task.is_none()).cloned().collect()
}

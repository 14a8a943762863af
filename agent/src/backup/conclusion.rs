//! The end of the pause: the copied state, or the error, and what else of the host runs again.

use anyhow::{Context, Result};

use super::{Backup, BackupPlan, aftermath::Aftermath, attempt::Attempt, snapshot::Snapshot};
use crate::{
    config::Mode,
    downtime::{engine_units::EngineControl, pause::Downtime},
    host::engine::{Engine, EngineFacts, SwarmState, unlock::RunningKey},
    outcome::failure::Failure,
};

/// The copied state, and the state of the engine afterwards.
pub struct Taken {
    pub snapshot: Snapshot,
    /// `None` if the engine was left running.
    pub downtime: Option<Downtime>,
    /// Notes for the operator.
    pub notes: Vec<String>,
    /// Findings about the engine, and about units and containers that do not run again.
    pub attention: Vec<String>,
    /// The error with which the engine did not come back.
    pub away: Option<anyhow::Error>,
}

impl Backup<'_> {
    /// Brings back what ran before, and tells what came of the attempt.
    pub(super) async fn conclude(
        &self,
        plan: &BackupPlan,
        control: &EngineControl,
        attempt: Attempt,
        key: Option<&RunningKey>,
        mut notes: Vec<String>,
    ) -> Result<Taken> {
        let Attempt { snapshot, copied, downtime, resumed, overdue } = attempt;
        let copied = copied.and_then(|()| snapshot.context("the copy was lost"));
        match (copied, resumed) {
            (Ok(snapshot), Ok(())) => {
                // The copy is good whatever happens to the engine, so it is stored before that is reported.
                let late = self.await_engine(key).await.err();
                let mut attention: Vec<String> = late.iter().map(|error| format!("{error:#}")).collect();
                attention.extend(bring_back(plan, control, &mut notes).await);
                Ok(Taken { snapshot, downtime: Some(downtime), notes, attention, away: None })
            }
            // The engine was not even asked to stop.
            (Err(error), Ok(_)) if plan.mode == Mode::Cold && !control.was_stopped() => {
                Err(error.context("no backup was made; the engine was not touched"))
            }
            (Err(error), Ok(_)) => {
                let back = self.await_engine(key).await;
                let missing = bring_back(plan, control, &mut notes).await;
                notes.iter().for_each(|note| tracing::warn!("{note}"));
                let late = back.err().map(|late| format!("{late:#}"));
                let missing = late.into_iter().chain(missing).collect();
                Err(Aftermath { away: None, missing }.add_to(made_none(plan.mode, overdue, error)))
            }
            (Ok(snapshot), Err(error)) => {
                tracing::error!(
                    "the engine did not come back, and the copy of its state is good: storing it first: {error:#}"
                );
                let (downtime, attention) = (Some(downtime), Vec::new());
                Ok(Taken { snapshot, downtime, notes, attention, away: Some(error) })
            }
            (Err(first), Err(error)) => Err(Aftermath { away: Some(error), missing: Vec::new() }.add_to(first)),
        }
    }

    /// Waits until the manager works again, and unlocks a locked one: a started unit is not yet a working manager.
    async fn await_engine(&self, key: Option<&RunningKey>) -> Result<()> {
        let limit = self.run.config.engine.start_timeout.duration();
        let engine = Engine::at(&self.run.config.engine.socket);
        let back = |facts: &EngineFacts| matches!(facts.swarm.state, SwarmState::Active | SwarmState::Locked);
        let facts = engine.wait(limit, "the swarm on this host to be back", back).await?;
        if facts.swarm.state == SwarmState::Locked {
            let key = key.context("this manager is locked: unlock it with `docker swarm unlock`")?;
            let unlock = tokio::time::timeout(limit, key.unlock(&self.run.config.engine.socket));
            unlock
                .await
                .context("the engine took too long to unlock its swarm; do it with `docker swarm unlock`")??;
            let active = |facts: &EngineFacts| facts.swarm.state == SwarmState::Active;
            engine.wait(limit, "the unlocked swarm to be active", active).await?;
        }
        Ok(())
    }
}

/// Brings back the units and containers that ran before; called when the swarm is back and unlocked. Returns a line for
/// each that is not as it was.
async fn bring_back(plan: &BackupPlan, control: &EngineControl, notes: &mut Vec<String>) -> Vec<String> {
    if plan.mode == Mode::Freeze {
        return Vec::new();
    }
    control.ask_for_dependents().await;
    let back = control.bring_back().await;
    notes.extend(back.notes);
    back.attention
}

/// Error of a backup that was not made, of an engine that runs again.
fn made_none(mode: Mode, overdue: bool, cause: anyhow::Error) -> anyhow::Error {
    let failure = Failure::failed("no backup was made; the engine runs again");
    let failure = if overdue { failure.advice(advice_on_time(mode)) } else { failure };
    failure.because(cause).into()
}

fn advice_on_time(mode: Mode) -> &'static str {
    match mode {
        Mode::Cold => "find out why the disk is so slow, or raise backup.max_pause",
        Mode::Freeze => {
            "this host is too slow or too busy to freeze its engine for a moment: write `mode = \"cold\"` below `[backup]`"
        }
    }
}

//! The only part of a backup in which the engine is away.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Backup, BackupPlan, snapshot::Snapshot};
use crate::{
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        engine_units::EngineControl,
        quiesce::{Downtime, Quiesced},
        unlock::RunningKey,
    },
    report::Phases,
};

/// A stopped engine's state, copied, and the engine back.
pub struct Taken {
    pub snapshot: Snapshot,
    pub downtime: Downtime,
    /// What is wrong with the engine that came back.
    pub attention: Vec<String>,
}

impl Backup<'_> {
    /// Stops the engine, copies its state, starts it again. It is started again on every way out.
    pub(super) async fn take(&self, plan: &BackupPlan, key: Option<&RunningKey>, phases: &mut Phases) -> Result<Taken> {
        let mut quiesced = Quiesced::new(EngineControl::connect(self.config).await?);
        phases.begin("quiesce");
        let stopped = self.shutdown.or_interrupted(quiesced.stop()).await;
        phases.begin("snapshot");
        let copied = match stopped {
            Ok(()) => self.copy(plan, &quiesced).await,
            Err(error) => Err(error),
        };
        phases.begin("resume");
        let resumed = quiesced.resume().await;
        match (copied, resumed) {
            (Ok(snapshot), Ok(downtime)) => {
                // The copy is good whatever becomes of the engine, so it is stored first and told after.
                let late = self.await_engine(key).await.err();
                let attention = late.iter().map(|error| format!("{error:#}")).collect();
                Ok(Taken { snapshot, downtime, attention })
            }
            (Err(error), Ok(_)) => {
                let back = self.await_engine(key).await;
                let error = error.context("no backup was made; the engine runs again");
                Err(match back {
                    Ok(()) => error,
                    Err(late) => late.context(format!("{error:#}")),
                })
            }
            (Ok(_), Err(error)) => Err(error),
            (Err(first), Err(error)) => Err(error.context(format!("{first:#}"))),
        }
    }

    async fn copy(&self, plan: &BackupPlan, quiesced: &Quiesced) -> Result<Snapshot> {
        let (state_dir, snapshot_dir) = (plan.state_dir.clone(), plan.snapshot_dir.clone());
        let shutdown = self.shutdown.clone();
        let copy = tokio::task::spawn_blocking(move || Snapshot::take(&state_dir, &snapshot_dir, &shutdown));
        let snapshot = copy.await.context("the copy ended unexpectedly")??;
        quiesced.check_still_stopped().await?;
        Ok(snapshot)
    }

    /// A started unit is not yet a working manager; an autolocked one is locked.
    async fn await_engine(&self, key: Option<&RunningKey>) -> Result<()> {
        let limit = Duration::from_secs(self.config.engine.start_timeout);
        let engine = Engine::at(&self.config.engine.socket);
        let back = |facts: &EngineFacts| matches!(facts.swarm.state, SwarmState::Active | SwarmState::Locked);
        let facts = engine.wait(limit, "the swarm on this host to be back", back).await?;
        if facts.swarm.state == SwarmState::Locked {
            let key = key.context("this manager is locked: unlock it with `docker swarm unlock`")?;
            let unlock = tokio::time::timeout(limit, key.unlock(&self.config.engine.socket));
            unlock
                .await
                .context("the engine took too long to unlock its swarm; do it with `docker swarm unlock`")??;
            let active = |facts: &EngineFacts| facts.swarm.state == SwarmState::Active;
            engine.wait(limit, "the unlocked swarm to be active", active).await?;
        }
        Ok(())
    }
}

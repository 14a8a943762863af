//! The stop of the engine: reasons to refuse it, the request, and the proof that no process of the engine is left.

use std::{
    process,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{EngineControl, identity};
use crate::{
    downtime::related_units,
    host::{
        engine::{config_file, containers, process::EngineProcess},
        systemd::{JobType, UnitState},
    },
    outcome::failure::Failure,
};

impl EngineControl {
    /// Refuses a stop that would end the run that asks for it, or that systemd itself would undo.
    pub async fn require_stoppable(&self) -> Result<()> {
        self.require_survivable().await?;
        config_file::require_readable(&self.systemd, &self.service).await?;
        let dependents = self.found().dependents;
        self.require_startable(&dependents).await?;
        match related_units::upholder(&self.systemd, &self.engine, &dependents).await? {
            None => Ok(()),
            Some((unit, upheld)) => Err(Failure::refused(format!(
                "{unit} upholds {upheld}: systemd starts that whenever it is off, so it cannot be kept stopped for a copy"
            ))
            .advice(format!("take Upholds={upheld} out of {unit} (`systemctl edit {unit}`)"))
            .advice("or write `mode = \"freeze\"` below `[backup]`: the engine is not stopped then")
            .into()),
        }
    }

    /// Refuses a stop of units that could not be started again.
    async fn require_startable(&self, dependents: &[String]) -> Result<()> {
        for unit in dependents {
            if !self.systemd.can_be_started_again(unit).await? {
                return Err(Failure::refused(format!(
                    "{unit} would be stopped with {}, and could not be started again: it was made by a command, or its unit refuses that",
                    self.service
                ))
                .advice(format!("stop it first, or take its Requires=, BindsTo= or PartOf= on {} away", self.service))
                .advice("or write `mode = \"freeze\"` below `[backup]`: nothing is stopped then")
                .into());
            }
        }
        Ok(())
    }

    async fn require_survivable(&self) -> Result<()> {
        let Some(own) = self.systemd.unit_of(process::id()).await else { return Ok(()) };
        if own == self.service || self.is_container(&own).await {
            return Err(Failure::refused(format!(
                "this runs in {own}, which ends with {}: it would end itself in the middle",
                self.service
            ))
            .advice(
                "run it on the host itself: from a shell, or by its timer (`systemctl start swarmdr-backup.service`)",
            )
            .into());
        }
        if !self.found().dependents.contains(&own) {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "{own}, which this runs in, hangs on {}: it would be stopped with it",
            self.service
        ))
        .advice(format!("take Requires=, BindsTo= and PartOf= on {} out of {own}; After= is enough", self.service))
        .into())
    }

    /// Stops the engine and checks that no process of it is left. Returns the state of the service after that.
    pub async fn stop(&self) -> Result<UnitState> {
        self.stop_within(self.stop_limit).await
    }

    /// Refuses if the engine was started since it was stopped; `stopped` is what [`EngineControl::stop`] returned.
    pub async fn check_stopped(&self, stopped: &UnitState) -> Result<()> {
        let now = self.state().await?;
        if now.is_stopped() && now.invocation == stopped.invocation {
            return Ok(());
        }
        let started = format!("{} was started by someone else while its state was being copied", self.service);
        Err(self
            .name_starters(Failure::failed(format!("{started}; the copy was discarded")))
            .advice("find what starts the engine (`journalctl -u docker`): a package upgrade, a monitoring script, a hand; then run it again")
            .into())
    }

    /// Stops the engine as [`EngineControl::stop`] does, within `limit`. When that is over, systemd still continues its
    /// stop job, and a start replaces that job.
    ///
    /// The units and containers that run are recorded on disk first. The process that was the engine is checked too: an
    /// inactive unit says nothing about an engine that runs elsewhere.
    pub async fn stop_within(&self, limit: Duration) -> Result<UnitState> {
        let begun = Instant::now();
        let before = self.state().await?;
        self.write_down(before.is_on()).await?;
        let process = match (self.process, before.main_pid) {
            (Some(process), _) if !process.has_ended()? => Some(process),
            (_, 0) => None,
            (_, pid) => Some(EngineProcess::of(pid)?),
        };
        let left = limit.min(self.stop_limit).saturating_sub(begun.elapsed());
        self.run(JobType::Stop, &self.units(), left)
            .await
            .map_err(|cause| self.name_starters(Failure::failed("failed to stop the engine")).because(cause))?;
        let state = self.state().await?;
        if !state.is_stopped() {
            return Err(self
                .name_starters(Failure::failed(format!(
                    "{} was stopped but is {} with main process {}",
                    self.service, state.active, state.main_pid
                )))
                .into());
        }
        if let Some(process) = process.filter(|process| process.has_ended().is_ok_and(|ended| !ended)) {
            bail!("{} was stopped, but the engine's process {} runs on", self.service, process.pid);
        }
        Ok(state)
    }

    fn name_starters(&self, failure: Failure) -> Failure {
        let starters = self.found().starters;
        if starters.is_empty() {
            return failure;
        }
        let starters = starters.join(" and ");
        failure
            .advice(format!(
                "{starters} may have started it, by Wants= and Restart=: take Wants={} out of that (After= is enough)",
                self.service
            ))
            .advice("or write `mode = \"freeze\"` below `[backup]`: the engine is not stopped then")
    }

    /// True if the unit is the scope of a container of this engine; a process that entered the host's namespaces is
    /// still in it.
    async fn is_container(&self, unit: &str) -> bool {
        let Some(id) = identity::container_id(unit).filter(|_| self.process.is_some()) else { return false };
        containers::inspect(&self.socket, id).await.is_ok_and(|seen| seen.is_some())
    }
}

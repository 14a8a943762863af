//! Keeps the engine stopped for the time of a copy, and starts it again on every way out.
//!
//! Cold is Docker's documented way. Containers of the host stop with the engine: in swarm mode there
//! is no live-restore.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{engine_units::EngineControl, systemd::UnitState};
use crate::fault::Fault;

/// An engine that is being kept stopped. Make it before the stop, so that a stop that fails half-way
/// is undone too; call [`Quiesced::resume`] in the end. Dropping it starts the engine as well,
/// without waiting: that is the way out of a panic.
#[derive(Debug)]
pub struct Quiesced {
    control: EngineControl,
    stop_requested: Instant,
    stopped: Option<(Instant, UnitState)>,
    resumed: bool,
}

/// How long the engine was away, as measured from this side of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Downtime {
    /// From asking for the stop until the unit was active again.
    pub total_ms: u64,
    /// The engine's own time to stop, its containers included.
    pub stopping_ms: u64,
    /// From inactive until the start was asked for: the agent's share.
    pub ours_ms: u64,
    /// The engine's own time to start.
    pub starting_ms: u64,
}

impl Quiesced {
    /// Changes nothing yet.
    pub fn new(control: EngineControl) -> Self {
        Self { control, stop_requested: Instant::now(), stopped: None, resumed: false }
    }

    /// Stops the engine and checks that nothing of it is left.
    pub async fn stop(&mut self) -> Result<()> {
        self.stop_requested = Instant::now();
        let state = self.control.stop().await?;
        self.stopped = Some((Instant::now(), state));
        Ok(())
    }

    /// Checks that the engine was not started since [`Quiesced::stop`], by whomever: a copy made
    /// beside a running engine is worth nothing.
    pub async fn check_still_stopped(&self) -> Result<()> {
        let (_, before) = self.stopped.as_ref().context("the engine was not stopped")?;
        let now = self.control.state().await?;
        if now.is_stopped() && now.invocation == before.invocation {
            return Ok(());
        }
        Err(Fault::failed(format!(
            "somebody started {} while its state was being copied; the copy was thrown away",
            self.control.service()
        ))
        .advice("find what starts the engine (`journalctl -u docker`): a package upgrade, a monitoring script, a hand; then run the backup again")
        .into())
    }

    /// Starts the engine and waits until systemd calls it active.
    pub async fn resume(mut self) -> Result<Downtime> {
        let requested = Instant::now();
        self.control.start().await?;
        self.resumed = true;
        let active = Instant::now();
        let stopped = self.stopped.as_ref().map_or(requested, |(at, _)| *at);
        Ok(Downtime {
            total_ms: millis(self.stop_requested, active),
            stopping_ms: millis(self.stop_requested, stopped),
            ours_ms: millis(stopped, requested),
            starting_ms: millis(requested, active),
        })
    }
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        if self.resumed {
            return;
        }
        let units = self.control.units();
        tracing::error!(?units, "starting the engine on an unplanned way out");
        match Command::new("systemctl").args(["start", "--no-block"]).args(&units).status() {
            Ok(status) if status.success() => {}
            outcome => tracing::error!(?outcome, ?units, "the engine could not be started: start it by hand"),
        }
    }
}

fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

//! The engine as systemd units: stopped and started as one.
//!
//! Socket and service are changed in one go: with the service alone, any client that connects to
//! `docker.sock` starts a stopped engine again (moby/moby#37468).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::systemd::{Systemd, UnitState, Verb};
use crate::{config::Config, fault::Fault};

const START_ATTEMPTS: u32 = 3;
const START_PAUSE: Duration = Duration::from_secs(1);

/// The units, and how long systemd may take to change them.
#[derive(Debug, Clone)]
pub struct EngineControl {
    systemd: Systemd,
    service: String,
    /// `None` where the engine is not socket-activated.
    socket: Option<String>,
    stop_limit: Duration,
    start_limit: Duration,
}

impl EngineControl {
    /// Looks at the units; an engine that is no systemd service is an error.
    pub async fn connect(config: &Config) -> Result<Self> {
        let systemd = Systemd::connect().await?;
        let units = &config.engine;
        let service = systemd.state(&units.service).await?;
        if service.load != "loaded" {
            return Err(Fault::failed(format!("systemd knows no unit {} (it is {})", units.service, service.load))
                .advice("name the engine's unit with `engine.service` in the configuration")
                .into());
        }
        let has_socket = !units.socket_unit.is_empty() && systemd.state(&units.socket_unit).await?.load == "loaded";
        Ok(Self {
            systemd,
            service: units.service.clone(),
            socket: has_socket.then(|| units.socket_unit.clone()),
            stop_limit: Duration::from_secs(units.stop_timeout),
            start_limit: Duration::from_secs(units.start_timeout),
        })
    }

    /// The names of the units, in the order in which they are changed.
    pub fn units(&self) -> Vec<&str> {
        self.socket.iter().chain([&self.service]).map(String::as_str).collect()
    }

    pub fn service(&self) -> &str {
        &self.service
    }

    pub fn systemd(&self) -> &Systemd {
        &self.systemd
    }

    pub async fn state(&self) -> Result<UnitState> {
        self.systemd.state(&self.service).await
    }

    /// Stops the engine and checks that nothing of it is left; answers with what the service then is.
    pub async fn stop(&self) -> Result<UnitState> {
        self.stop_within(self.stop_limit).await
    }

    /// Refuses if the engine was started since it was stopped; `stopped` is what [`EngineControl::stop`] returned.
    pub async fn check_stopped(&self, stopped: &UnitState) -> Result<()> {
        let now = self.state().await?;
        if now.is_stopped() && now.invocation == stopped.invocation {
            return Ok(());
        }
        Err(Fault::failed(format!("somebody started {} while its state was being copied", self.service))
            .advice("find what starts the engine (`journalctl -u docker`): a package upgrade, a monitoring script, a hand; then run it again")
            .into())
    }

    /// As [`EngineControl::stop`], with less patience. When the limit is over systemd goes on stopping; a start replaces that.
    pub async fn stop_within(&self, limit: Duration) -> Result<UnitState> {
        self.run(Verb::Stop, limit.min(self.stop_limit)).await.context("failed to stop the engine")?;
        let state = self.state().await?;
        if !state.is_stopped() {
            bail!("{} was stopped but is {} with main process {}", self.service, state.active, state.main_pid);
        }
        Ok(state)
    }

    /// Starts the engine, whatever failed before, and waits until systemd calls it active.
    ///
    /// A start that fails is tried again: what an engine that was killed has left may stop its successor once (seen on
    /// 20.10 after a stop that ended in SIGKILL), and not every unit has `Restart=`.
    pub async fn start(&self) -> Result<()> {
        let begun = Instant::now();
        for left in (0..START_ATTEMPTS).rev() {
            self.systemd.reset_failed(&self.service).await;
            let limit = self.start_limit.saturating_sub(begun.elapsed());
            match self.run(Verb::Start, limit).await {
                Ok(()) => return Ok(()),
                Err(error) if left > 0 && begun.elapsed() + START_PAUSE < self.start_limit => {
                    tracing::warn!("{} did not start and is asked again: {error:#}", self.service);
                    tokio::time::sleep(START_PAUSE).await;
                }
                Err(error) => return Err(self.did_not_start(error)),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn did_not_start(&self, cause: anyhow::Error) -> anyhow::Error {
        Fault::failed(format!("{} did not start", self.service))
            .advice(format!(
                "start it by hand: `systemctl reset-failed {0}; systemctl start {0}`, and see `journalctl -u {0}`",
                self.service
            ))
            .because(cause)
            .into()
    }

    async fn run(&self, verb: Verb, limit: Duration) -> Result<()> {
        let jobs: Vec<(Verb, &str)> = self.units().into_iter().map(|unit| (verb, unit)).collect();
        self.systemd.run_jobs(&jobs, limit).await
    }
}

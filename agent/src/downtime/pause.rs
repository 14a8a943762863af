//! Keeps the engine from writing for the time of a copy, and brings it back on every way out.
//!
//! Cold mode is Docker's documented way: the engine is stopped, and the host's containers with it, since in swarm mode
//! there is no live-restore. Freeze mode freezes it in its cgroup (see [`super::freeze`]).

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    engine_units::EngineControl,
    failsafe::{Failsafe, Rescue},
    freeze::Freezer,
};
use crate::{
    host::{files::copy::Deadline, systemd::UnitState},
    outcome::{failpoint, failure::Failure},
};

/// Time by which the failsafe thaws later than the agent, so that it does not interfere with an agent that works.
const THAW_GRACE: Duration = Duration::from_secs(1);

/// An engine that is kept from writing, with its failsafe armed. Call [`Quiesced::hold`], copy, call
/// [`Quiesced::check_held`], and finally, whatever happened, [`Quiesced::resume`]. Dropping it brings the engine back
/// as well, without waiting and with the failsafe left armed: that is the way out of a panic.
#[derive(Debug)]
pub struct Quiesced {
    method: Method,
    /// `None` once the engine is back.
    failsafe: Option<Failsafe>,
    /// Time for which the engine may be down.
    limit: Duration,
    until: Instant,
    requested: (Instant, Timestamp),
    held: Option<Instant>,
}

#[derive(Debug)]
enum Method {
    Stop { control: EngineControl, stopped: Option<UnitState> },
    Freeze(Freezer),
}

/// Downtime of the engine, as measured on this side of the D-Bus calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Downtime {
    /// Time at which the engine was asked to stop or freeze: changes that were acknowledged before are in the copy.
    pub since: Timestamp,
    /// From asking for the stop until the unit was active again, or from asking for the freeze until it was thawed.
    pub total_ms: u64,
    /// The engine's own time to stop, its containers included; systemd's to freeze it.
    pub stopping_ms: u64,
    /// The agent's share: from stopped or frozen until the start or thaw was asked for.
    pub ours_ms: u64,
    /// The agent's share in microseconds.
    pub ours_us: u64,
    /// The engine's own time to start; systemd's to thaw it.
    pub starting_ms: u64,
}

impl Quiesced {
    /// Arms the failsafe that will start the engine; does not touch the engine yet.
    pub async fn arm_cold(control: EngineControl, tag: &str, limit: Duration) -> Result<Self> {
        let failsafe = Failsafe::arm(control.systemd(), tag, &control.rescue(), limit).await?;
        Ok(Self::new(Method::Stop { control, stopped: None }, failsafe, limit))
    }

    /// Arms the failsafe that will thaw the engine; does not touch the engine yet.
    pub async fn arm_freeze(freezer: Freezer, tag: &str, limit: Duration) -> Result<Self> {
        let rescue = Rescue::Thaw(freezer.service().to_owned());
        let failsafe = Failsafe::arm(freezer.systemd(), tag, &rescue, limit + THAW_GRACE).await?;
        Ok(Self::new(Method::Freeze(freezer), failsafe, limit))
    }

    fn new(method: Method, failsafe: Failsafe, limit: Duration) -> Self {
        let now = Instant::now();
        let until = failsafe.fires_at().min(now + limit);
        Self { method, failsafe: Some(failsafe), limit, until, requested: (now, Timestamp::now()), held: None }
    }

    /// Time by which the copy must be done: from then on this process or the failsafe brings the engine back.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// The deadline of a copy, which is [`Self::until`].
    pub fn deadline(&self) -> Deadline {
        deadline(self.until, self.limit)
    }

    pub fn is_overdue(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Stops or freezes the engine, and checks that it is.
    pub async fn hold(&mut self) -> Result<()> {
        self.requested = (Instant::now(), Timestamp::now());
        match &mut self.method {
            Method::Stop { control, stopped } => {
                let process = control.process().with_context(|| {
                    format!("no engine answers on {}: none could be seen to end", control.socket().display())
                })?;
                // A stop in the middle of an operator's restart would undo that.
                if !control.state().await?.is_active() || process.has_ended()? {
                    return Err(Failure::failed(format!(
                        "{} was stopped or restarted by someone else right before the agent would have stopped it; it was left alone",
                        control.service()
                    ))
                    .advice("run it again; the timer does so by itself")
                    .into());
                }
                let left = self.until.saturating_duration_since(Instant::now());
                let state = control.stop_within(left).await;
                let overdue = Instant::now() >= self.until;
                *stopped = Some(
                    state.map_err(|cause| if overdue { refuses_to_stop(control, self.limit, cause) } else { cause })?,
                );
            }
            Method::Freeze(freezer) => {
                self.until = self.until.min(Instant::now() + self.limit);
                let frozen = tokio::time::timeout_at(self.until.into(), freezer.freeze()).await;
                frozen.with_context(|| {
                    format!("{} was not frozen within {} ms", freezer.service(), self.limit.as_millis())
                })??;
            }
        }
        self.held = Some(Instant::now());
        Ok(())
    }

    /// Checks that the engine was stopped or frozen ever since [`Quiesced::hold`]: a copy that is made while it runs is
    /// worth nothing.
    pub async fn check_held(&self) -> Result<()> {
        match &self.method {
            Method::Stop { control, stopped } => {
                let before = stopped.as_ref().context("the engine was not stopped")?;
                let held = control.check_stopped(before).await;
                if self.is_overdue() { Err(overdue(self.limit)) } else { held }
            }
            Method::Freeze(freezer) => {
                let frozen = freezer.is_frozen()?;
                // In this order: an engine that is still frozen before the deadline was not thawed by the failsafe.
                if self.is_overdue() {
                    return Err(overdue(self.limit));
                }
                if frozen {
                    return Ok(());
                }
                Err(Failure::failed(format!(
                    "{} was thawed by someone else while its state was being copied; the copy was discarded",
                    freezer.service()
                ))
                .into())
            }
        }
    }

    /// Brings the engine back, waits until systemd says so, calls `on_back`, and removes the failsafe. On an error the
    /// failsafe stays, and fires when its time has come.
    ///
    /// The units that depend on the engine are asked for, and not waited for: one of them may need a swarm that is
    /// still locked. If the engine `comes_locked`, they are not asked for either: the caller does so once it has
    /// unlocked it.
    pub async fn resume(mut self, comes_locked: bool, on_back: impl FnOnce()) -> (Downtime, Result<()>) {
        let requested = Instant::now();
        let back = match &self.method {
            // Another process stopped or restarts the engine, which is left to it.
            Method::Stop { control, .. } if !control.was_stopped() => Ok(()),
            Method::Stop { control, .. } => start(control, self.failsafe.as_ref()).await,
            Method::Freeze(freezer) => freezer.thaw().await,
        };
        let downtime = self.downtime(requested, Instant::now());
        if back.is_err() {
            return (downtime, back);
        }
        on_back();
        failpoint::reach("back");
        if let Method::Stop { control, .. } = &self.method
            && !comes_locked
            && control.was_stopped()
        {
            control.ask_for_dependents().await;
        }
        if let Some(failsafe) = self.failsafe.take()
            && let Err(error) = failsafe.disarm().await
        {
            // It would start an engine that runs, or thaw one that is not frozen: both do nothing.
            tracing::warn!("the failsafe could not be removed; it will find nothing to do: {error:#}");
        }
        (downtime, Ok(()))
    }

    fn downtime(&self, requested: Instant, back: Instant) -> Downtime {
        let held = self.held.unwrap_or(requested);
        Downtime {
            since: self.requested.1,
            total_ms: millis(self.requested.0, back),
            stopping_ms: millis(self.requested.0, held),
            ours_ms: millis(held, requested),
            ours_us: u64::try_from(requested.duration_since(held).as_micros()).unwrap_or(u64::MAX),
            starting_ms: millis(requested, back),
        }
    }
}

async fn start(control: &EngineControl, failsafe: Option<&Failsafe>) -> Result<()> {
    let Err(error) = control.start_engine().await else {
        return Ok(());
    };
    if control.systemd().is_stopping().await {
        return Err(Failure::failed(
            "the host is shutting down, so the engine stays stopped; it starts with the next boot",
        )
        .because(error)
        .into());
    }
    let left = failsafe.map(|failsafe| failsafe.fires_at().saturating_duration_since(Instant::now()).as_secs());
    Err(match left {
        Some(left @ 1..) => Failure::failed(format!(
            "the engine did not come back; the failsafe starts it in {left} s, and again each second until it runs"
        ))
        .advice("to repair it undisturbed, end that first: `systemctl stop 'swarmdr-failsafe-*'`")
        .because(error)
        .into(),
        _ => error,
    })
}

fn refuses_to_stop(control: &EngineControl, limit: Duration, cause: anyhow::Error) -> anyhow::Error {
    let service = control.service();
    Failure::failed(format!("{service} did not stop within {} s (backup.max_pause)", limit.as_secs()))
        .advice(format!(
            "see `journalctl -u {service}` for what it waits for; systemd ends it when its own TimeoutStopSec is over, and then starts it"
        ))
        .advice("if stopping takes that long on this host, raise backup.max_pause, or use `mode = \"freeze\"`")
        .because(cause)
        .into()
}

/// The error of a copy that was not done in time.
pub fn overdue(limit: Duration) -> anyhow::Error {
    Failure::failed(overdue_message(limit)).into()
}

/// The deadline of a copy for which the engine may be down for `limit`.
pub fn deadline(at: Instant, limit: Duration) -> Deadline {
    Deadline { at, message: overdue_message(limit) }
}

fn overdue_message(limit: Duration) -> String {
    let limit = limit.as_millis();
    format!("the copy was not finished when the engine had been down for {limit} ms; it was discarded")
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        if self.failsafe.is_none() {
            return;
        }
        let (words, units): (&[&str], Vec<String>) = match &self.method {
            Method::Stop { control, .. } => {
                let engine = control.units().into_iter().map(str::to_owned);
                (["start", "--no-block"].as_slice(), engine.chain(control.found().dependents).collect())
            }
            Method::Freeze(freezer) => (["thaw"].as_slice(), vec![freezer.service().to_owned()]),
        };
        tracing::error!(?units, "bringing the engine back on an unplanned way out");
        match Command::new("systemctl").args(words).args(&units).status() {
            Ok(status) if status.success() => {}
            outcome => {
                tracing::error!(?outcome, ?units, "the engine could not be brought back; the failsafe will try");
            }
        }
    }
}

fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

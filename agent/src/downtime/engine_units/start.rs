//! The start of the engine, and of the units that were stopped with it.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::EngineControl;
use crate::{downtime::bring_back_list::BringBackList, host::systemd::JobType, outcome::failure::Failure};

const START_ATTEMPTS: u32 = 3;
const START_PAUSE: Duration = Duration::from_secs(1);

impl EngineControl {
    /// Starts the engine, even if a start failed before, and waits until systemd reports it as active. Then asks for
    /// its dependents without waiting: some of them may need more than the engine, such as a key that unlocks its
    /// swarm.
    ///
    /// A start that fails is tried again: leftovers of a killed engine may make the next start fail once (seen on 20.10
    /// after a stop that ended in SIGKILL), and not every unit has `Restart=`.
    pub async fn start(&self) -> Result<()> {
        self.start_engine().await?;
        self.ask_for_dependents().await;
        Ok(())
    }

    /// Starts the engine alone.
    pub async fn start_engine(&self) -> Result<()> {
        let begun = Instant::now();
        for left in (0..START_ATTEMPTS).rev() {
            // Sockets have a limit of their own: five starts within ten seconds.
            for unit in self.units() {
                self.systemd.reset_failed(unit).await;
            }
            let limit = self.start_limit.saturating_sub(begun.elapsed());
            let is_on = self.state().await.is_ok_and(|state| state.is_on());
            let error = match self.run(JobType::Start, &to_start(&self.units(), &self.service, is_on), limit).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.state().await.is_ok_and(|state| state.is_active()) {
                tracing::warn!("{} is running again, but not all of its units are: {error:#}", self.service);
                return Ok(());
            }
            if left == 0 || begun.elapsed() + START_PAUSE >= self.start_limit {
                return Err(self.did_not_start(error));
            }
            tracing::warn!("{} did not start and is asked again: {error:#}", self.service);
            tokio::time::sleep(START_PAUSE).await;
        }
        unreachable!("the last attempt returns")
    }

    /// Asks for the dependents that ran before and do not now, nearest to the engine first. `start_dependents` finds
    /// out whether they start.
    pub async fn ask_for_dependents(&self) {
        for unit in &self.found().dependents {
            let ask = async {
                if !self.is_missing(unit).await? {
                    return Ok(());
                }
                self.systemd.reset_failed(unit).await;
                self.systemd.ask_to_start(unit).await
            };
            match ask.await {
                Ok(()) => drop(self.observed().asked.insert(unit.clone())),
                Err(error) => tracing::warn!("{error:#}"),
            }
        }
        let asked = self.observed().asked.clone();
        if !asked.is_empty() {
            BringBackList::note_asked(&self.list, asked);
        }
    }

    /// Starts the dependents that ran before and do not now, and waits for them. Returns those that do not start, each
    /// with the reason.
    pub(in crate::downtime) async fn start_dependents(&self) -> Vec<(String, String)> {
        let (begun, mut missing) = (Instant::now(), Vec::new());
        for unit in self.found().dependents {
            let limit = self.start_limit.saturating_sub(begun.elapsed()).max(START_PAUSE);
            let start = async {
                // A unit that is starting may still fail, so its job is waited for.
                if !self.is_starting(&unit).await {
                    if !self.is_missing(&unit).await? {
                        return Ok(());
                    }
                    self.systemd.reset_failed(&unit).await;
                }
                self.systemd.run_jobs(&[(JobType::Start, &unit)], limit).await
            };
            if let Err(error) = start.await
                && !self.is_starting(&unit).await
            {
                let why = format!("{unit} ran before the engine was stopped, and does not start again: {error:#}");
                missing.push((unit, why));
            }
        }
        missing
    }

    /// True if the unit is starting, or waits for others before it may start, which may take long or fail.
    pub(in crate::downtime) async fn is_starting(&self, unit: &str) -> bool {
        self.systemd.state(unit).await.is_ok_and(|state| state.active == "activating")
            || self.systemd.is_to_start(unit).await.unwrap_or_default()
    }

    /// True if the unit is off and has not run to its end since the engine was started. One that has is not started
    /// again, so that its work is not done twice.
    pub(in crate::downtime) async fn is_missing(&self, unit: &str) -> Result<bool> {
        let state = self.systemd.state(unit).await?;
        if state.is_on() || state.active != "inactive" {
            return Ok(!state.is_on());
        }
        let (own, engine) = (self.systemd.changes(unit).await?, self.systemd.changes(&self.service).await?);
        if own.is_forgotten() {
            let was_asked = self.observed().asked.contains(unit);
            return Ok(!(was_asked && self.systemd.is_oneshot(unit).await));
        }
        Ok(!own.ran_since(&engine))
    }

    fn did_not_start(&self, cause: anyhow::Error) -> anyhow::Error {
        Failure::failed(format!("{} did not start", self.service))
            .advice(format!(
                "start it by hand: `systemctl reset-failed {0}; systemctl start {0}`, and see `journalctl -u {0}`",
                self.service
            ))
            .because(cause)
            .into()
    }
}

/// Returns the units to start. systemd refuses to start a socket while its service runs, so then it is only the
/// service.
fn to_start<'a>(units: &[&'a str], service: &'a str, is_on: bool) -> Vec<&'a str> {
    if is_on { vec![service] } else { units.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_socket_is_started_while_the_service_runs() {
        let units = ["docker.socket", "docker-tcp.socket", "docker.service"];
        assert_eq!(to_start(&units, "docker.service", false), units);
        assert_eq!(to_start(&units, "docker.service", true), ["docker.service"]);
    }
}

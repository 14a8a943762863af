//! Starts the units and containers that ran before the engine was stopped, and reports those that do not run again.
//!
//! Called when the engine is back, and its swarm too if the run waits for that: a container on an overlay network needs
//! it.

mod started;

use std::{mem, path::Path, time::Duration};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use started::{BY_ITSELF, Started, report_gone, start_containers};

use super::{
    bring_back_list::BringBackList,
    engine_units::EngineControl,
    running_before::{RunningBefore, SocketAccess},
};
use crate::{
    config::Config,
    host::{
        engine::{containers, process::EngineProcess},
        systemd::Systemd,
    },
    outcome::failpoint,
};

/// Age of a list from which on a run waits only for [`OLD_LIMIT`]: each run tries again.
const OLD: Duration = Duration::from_secs(3600);
const OLD_LIMIT: Duration = Duration::from_secs(15);

/// Outcome, in whole sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BroughtBack {
    /// Units and containers that the agent had to start.
    pub notes: Vec<String>,
    /// Everything that is not as it was before.
    pub attention: Vec<String>,
}

impl BroughtBack {
    /// Logs all of it, for a caller that has another error to report.
    pub fn log(&self) {
        for line in self.notes.iter().chain(&self.attention) {
            tracing::warn!("{line}");
        }
    }
}

impl EngineControl {
    /// Starts the units and containers that ran before and do not now, waits for them, and compares. Those that are not
    /// back are reported, and stay on the list.
    pub async fn bring_back(&self) -> BroughtBack {
        self.bring_back_within(self.start_limit()).await
    }

    /// Starts containers first, since a unit may need one of them.
    async fn bring_back_within(&self, limit: Duration) -> BroughtBack {
        failpoint::reach("bring-back");
        let found = self.found();
        let mut back = BroughtBack { attention: found.unseen.clone(), ..BroughtBack::default() };
        let Started { owed: containers, gone } = start_containers(self.socket(), &found, limit, &mut back).await;
        let missing = self.start_dependents().await;
        let remade = if found.dependents.is_empty() { Duration::ZERO } else { BY_ITSELF };
        back.attention.extend(report_gone(self.socket(), &gone, remade).await);
        let mut owed = RunningBefore { engine: found.engine.clone(), containers, ..RunningBefore::default() };
        for (unit, why) in missing {
            back.attention.push(why);
            owed.dependents.push(unit);
        }
        self.compare(&found, &mut owed, &mut back).await;
        if let Err(error) = BringBackList::reduce(self.list(), self.socket(), owed) {
            back.attention.push(format!("{error:#}"));
        }
        back
    }

    /// Reports everything that is no longer as it was, apart from what could not be started. A unit that ran again and
    /// ended by itself is reported and taken off the list; a oneshot service that has done its work is neither
    /// reported nor kept.
    async fn compare(&self, found: &RunningBefore, owed: &mut RunningBefore, back: &mut BroughtBack) {
        for unit in found.engine.iter().chain(&found.dependents) {
            if owed.dependents.contains(unit) {
                continue;
            }
            let is_owed = match self.systemd().state(unit).await {
                // The next run sees whether it came up.
                Ok(_) if self.is_starting(unit).await => true,
                Ok(state) if state.is_on() => continue,
                Ok(state) => {
                    let is_missing = self.is_missing(unit).await.unwrap_or(true);
                    if is_missing || !self.systemd().is_oneshot(unit).await {
                        back.attention.push(format!("{unit} was active before, and is {} now", state.active));
                    }
                    is_missing
                }
                Err(error) => {
                    back.attention.push(format!("{error:#}"));
                    true
                }
            };
            if is_owed && found.dependents.contains(unit) {
                owed.dependents.push(unit.clone());
            }
        }
        for unit in &found.off {
            if self.systemd().state(unit).await.is_ok_and(|state| state.is_on()) {
                back.attention.push(format!(
                    "{unit} was off, and was started with the engine, which wants it: `systemctl stop {unit}`, and disable or mask it if it is to stay off"
                ));
            }
        }
        back.attention.extend(other_access(found.access, SocketAccess::of(self.socket()), self.socket()));
        back.attention.extend(self.other_engine().await);
    }

    /// Returns a sentence if another engine than the one that was started answers now.
    async fn other_engine(&self) -> Option<String> {
        let same = async {
            let (process, state) = (EngineProcess::answering(self.socket()).await?, self.state().await?);
            let same = state.main_pid == process.pid
                || self.systemd().unit_of(process.pid).await.as_deref() == Some(self.service());
            Ok(same)
        };
        match same.await {
            Ok(true) => None,
            Ok(false) => Some(format!(
                "another engine than that of {} answers on {} now",
                self.service(),
                self.socket().display()
            )),
            Err::<bool, anyhow::Error>(error) => Some(format!("{error:#}")),
        }
    }
}

/// Returns a sentence if the socket's owner or mode changed: a start creates it again as its unit says.
fn other_access(before: Option<SocketAccess>, now: Option<SocketAccess>, socket: &Path) -> Option<String> {
    let (before, now) = before.zip(now).filter(|(before, now)| before != now)?;
    Some(format!(
        "{} had {before}, and has {now} now: write SocketMode=, SocketUser= and SocketGroup= as they are to be into a drop-in of docker.socket (`systemctl edit docker.socket`)",
        socket.display()
    ))
}

/// Brings back the units and containers that an earlier run left on the list; there is no list if it brought back all.
/// Those that an operator has stopped since stay stopped.
pub async fn finish(config: &Config) -> Result<BroughtBack> {
    let path = BringBackList::path(&config.state_dir);
    let kept = match BringBackList::read(&path) {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            // A list of another boot, or none.
            BringBackList::remove(&path)?;
            return Ok(BroughtBack::default());
        }
        Err(error) => {
            let aside = BringBackList::set_aside(&path)?;
            let sentence = format!(
                "what an earlier run found before it stopped the engine cannot be read, so see for yourself whether all of it runs ({}): {error:#}",
                aside.display()
            );
            return Ok(BroughtBack { attention: vec![sentence], ..BroughtBack::default() });
        }
    };
    // Before any call to the engine, which would start one that an operator has stopped.
    let service = &config.engine.service;
    let state = Systemd::connect().await?.state(service).await?;
    if !state.is_on() {
        let sentence = format!("{service} is {}, so what ran because of it is not back", state.active);
        return Ok(BroughtBack { attention: vec![sentence], ..BroughtBack::default() });
    }
    let control = EngineControl::connect(config).await?;
    let is_old = Timestamp::now().duration_since(kept.at).unsigned_abs() > OLD;
    let limit = if is_old { control.start_limit().min(OLD_LIMIT) } else { control.start_limit() };
    let still_owed = still_owed(&control, &kept).await?;
    Ok(control.owing(still_owed).bring_back_within(limit).await)
}

/// Returns the list without units and containers that ran again after the engine had come back and were stopped then,
/// as an operator's decision. Those that failed, or never ran again, stay on it.
async fn still_owed(control: &EngineControl, kept: &BringBackList) -> Result<RunningBefore> {
    let found_at = kept.at;
    let mut owed = control.found();
    let engine = control.systemd().changes(control.service()).await?;
    let mut units = Vec::new();
    for unit in mem::take(&mut owed.dependents) {
        let was_stopped = kept.asked.contains(&unit)
            && control.systemd().changes(&unit).await.is_ok_and(|changes| changes.is_forgotten());
        // A unit whose state is not known stays on the list.
        if control.systemd().state(&unit).await.is_ok_and(|state| state.is_on())
            || (!was_stopped && control.is_missing(&unit).await.unwrap_or(true))
        {
            units.push(unit);
        }
    }
    owed.dependents = units;
    let mut containers = Vec::new();
    for container in mem::take(&mut owed.containers) {
        let ended_again = |seen: &Value| {
            containers::started_at(seen).is_some_and(|at| at > found_at)
                && containers::finished_at(seen).is_some_and(|at| at > engine.active_at)
        };
        let seen = containers::inspect(control.socket(), &container.id).await;
        if !seen.is_ok_and(|seen| seen.is_some_and(|seen| ended_again(&seen))) {
            containers.push(container);
        }
    }
    owed.containers = containers;
    Ok(owed)
}

/// Takes the last step of the failsafe, which has started the engine and asked for the units that were known when it
/// was armed. Starts the containers, asks for the units that were found later, and removes from the list what is back.
/// Needs no configuration.
pub async fn after_the_failsafe(list: &Path, limit: Duration) -> Result<BroughtBack> {
    let mut back = BroughtBack::default();
    let Some(kept) = BringBackList::read(list)? else { return Ok(back) };
    let Started { owed: mut containers, gone } = start_containers(&kept.socket, &kept.found, limit, &mut back).await;
    // The unit of such a container, which is not waited for here, may create it again.
    containers.extend(gone);
    let systemd = Systemd::connect().await?;
    let mut owed = RunningBefore { dependents: Vec::new(), containers, ..kept.found.clone() };
    for unit in &kept.found.dependents {
        if systemd.state(unit).await.is_ok_and(|state| state.is_on()) {
            continue;
        }
        owed.dependents.push(unit.clone());
        systemd.reset_failed(unit).await;
        if let Err(error) = systemd.ask_to_start(unit).await {
            back.attention.push(format!("{error:#}"));
        }
    }
    BringBackList::reduce(list, &kept.socket, owed)?;
    Ok(back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_mode_of_the_socket_is_reported_with_the_setting() {
        let socket = Path::new("/run/docker.sock");
        let [open, usual] = [0o666, 0o660].map(|mode| SocketAccess { mode, user: 0, group: 998 });
        let sentence = other_access(Some(open), Some(usual), socket).expect("differs");
        assert!(sentence.contains("had mode 666, user 0, group 998, and has mode 660"), "{sentence}");
        for (before, now) in [(Some(usual), Some(usual)), (None, Some(usual)), (Some(usual), None)] {
            assert_eq!(other_access(before, now, socket), None);
        }
    }
}

//! What ran before the engine was stopped runs again, or is told.
//!
//! Done when the engine is back, and its swarm where it is awaited: a container on an overlay network needs that.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    as_found::{Access, AsFound, Kept},
    containers::{self, AT_ONCE, Container},
    engine_process::EngineProcess,
    engine_units::EngineControl,
    systemd::Systemd,
};
use crate::{config::Config, faults};

/// The engine starts those with a restart policy by itself, before it answers or soon after.
const BY_ITSELF: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(500);

/// What was not back for so long is not waited for as if the engine had just been started: each run looks after it.
const OLD: Duration = Duration::from_secs(3600);
const OLD_LIMIT: Duration = Duration::from_secs(15);

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BroughtBack {
    /// What was started by hand, as it had to be.
    pub notes: Vec<String>,
    /// What is not as it was.
    pub attention: Vec<String>,
}

impl BroughtBack {
    /// For who has another error to tell.
    pub fn log(&self) {
        for line in self.notes.iter().chain(&self.attention) {
            tracing::warn!("{line}");
        }
    }
}

impl EngineControl {
    /// Starts what ran and does not, waits for it, and compares. What is not back is told, and stays owed.
    pub async fn bring_back(&self) -> BroughtBack {
        self.bring_back_within(self.start_limit()).await
    }

    /// Containers first: a unit may hang on one of them too.
    async fn bring_back_within(&self, limit: Duration) -> BroughtBack {
        faults::reach("bring-back");
        let found = self.found();
        let mut back = BroughtBack { attention: found.unseen.clone(), ..BroughtBack::default() };
        let Started { owed: containers, gone } = start_containers(self.socket(), &found, limit, &mut back).await;
        let missing = self.start_dependents().await;
        let remade = if found.dependents.is_empty() { Duration::ZERO } else { BY_ITSELF };
        back.attention.extend(told_gone(self.socket(), &gone, remade).await);
        let mut owed = AsFound { engine: found.engine.clone(), containers, ..AsFound::default() };
        for (unit, why) in missing {
            back.attention.push(why);
            owed.dependents.push(unit);
        }
        self.compare(&found, &mut owed, &mut back).await;
        if let Err(error) = Kept::reduce(self.kept(), self.socket(), owed) {
            back.attention.push(format!("{error:#}"));
        }
        back
    }

    /// What is no longer as it was found, beside what could not be started. A unit that ran again and ended by itself is
    /// told, and not owed; one that had a job to do, and has done it, is neither.
    async fn compare(&self, found: &AsFound, owed: &mut AsFound, back: &mut BroughtBack) {
        for unit in found.engine.iter().chain(&found.dependents) {
            if owed.dependents.contains(unit) {
                continue;
            }
            let is_owed = match self.systemd().state(unit).await {
                // The next run looks what became of it.
                Ok(_) if self.is_starting(unit).await => true,
                Ok(state) if state.is_on() => continue,
                Ok(state) => {
                    let is_missing = self.is_missing(unit).await.unwrap_or(true);
                    if is_missing || !self.systemd().is_job(unit).await {
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
        back.attention.extend(other_access(found.access, Access::of(self.socket()), self.socket()));
        back.attention.extend(self.other_engine().await);
    }

    /// Whether what answers now is what was started.
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

/// The socket is made anew with what its unit says.
fn other_access(before: Option<Access>, now: Option<Access>, socket: &Path) -> Option<String> {
    let (before, now) = before.zip(now).filter(|(before, now)| before != now)?;
    Some(format!(
        "{} had {before}, and has {now} now: write SocketMode=, SocketUser= and SocketGroup= as they are to be into a drop-in of docker.socket (`systemctl edit docker.socket`)",
        socket.display()
    ))
}

/// Brings back what an earlier run found and left behind; nothing if that brought back everything. What somebody has
/// stopped since stays so.
pub async fn finish(config: &Config) -> Result<BroughtBack> {
    let path = Kept::path(&config.state_dir);
    let kept = match Kept::read(&path) {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            // Of another boot, or of nothing.
            Kept::remove(&path)?;
            return Ok(BroughtBack::default());
        }
        Err(error) => {
            let aside = Kept::set_aside(&path)?;
            let told = format!(
                "what an earlier run found before it stopped the engine cannot be read, so see for yourself whether all of it runs ({}): {error:#}",
                aside.display()
            );
            return Ok(BroughtBack { attention: vec![told], ..BroughtBack::default() });
        }
    };
    // Before anything is asked of the engine, which would start one that somebody has stopped.
    let service = &config.engine.service;
    let state = Systemd::connect().await?.state(service).await?;
    if !state.is_on() {
        let told = format!("{service} is {}, so what ran because of it is not back", state.active);
        return Ok(BroughtBack { attention: vec![told], ..BroughtBack::default() });
    }
    let control = EngineControl::connect(config).await?;
    let is_old = Timestamp::now().duration_since(kept.at).unsigned_abs() > OLD;
    let limit = if is_old { control.start_limit().min(OLD_LIMIT) } else { control.start_limit() };
    let still_owed = still_owed(&control, &kept).await?;
    Ok(control.owing(still_owed).bring_back_within(limit).await)
}

/// Without what ran again after the engine had come back and was stopped then: that was somebody's wish. What failed, or
/// never ran again, is owed still.
async fn still_owed(control: &EngineControl, kept: &Kept) -> Result<AsFound> {
    let found_at = kept.at;
    let mut owed = control.found();
    let engine = control.systemd().changes(control.service()).await?;
    let mut units = Vec::new();
    for unit in std::mem::take(&mut owed.dependents) {
        let was_stopped = kept.asked.contains(&unit)
            && control.systemd().changes(&unit).await.is_ok_and(|changes| changes.is_forgotten());
        // What is not known is owed.
        if control.systemd().state(&unit).await.is_ok_and(|state| state.is_on())
            || (!was_stopped && control.is_missing(&unit).await.unwrap_or(true))
        {
            units.push(unit);
        }
    }
    owed.dependents = units;
    let mut containers = Vec::new();
    for container in std::mem::take(&mut owed.containers) {
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

/// What the failsafe has come to, which has started the engine and asked for the units: the containers are started, the
/// units asked for that were found after the failsafe was armed, and what is back is struck off the list. Needs no
/// configuration.
pub async fn behind_the_failsafe(list: &Path, limit: Duration) -> Result<BroughtBack> {
    let mut back = BroughtBack::default();
    let Some(kept) = Kept::read(list)? else { return Ok(back) };
    let Started { owed: mut containers, gone } = start_containers(&kept.socket, &kept.found, limit, &mut back).await;
    // Its unit, which is not waited for here, may make it anew.
    containers.extend(gone);
    let systemd = Systemd::connect().await?;
    let mut owed = AsFound { dependents: Vec::new(), containers, ..kept.found.clone() };
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
    Kept::reduce(list, &kept.socket, owed)?;
    Ok(back)
}

/// What became of containers, beside those that run.
#[derive(Debug, Default)]
struct Started {
    /// Not back, and there still.
    owed: Vec<Container>,
    /// Not there any more.
    gone: Vec<Container>,
}

/// Those of which no other of the same name runs in their place: their own unit may have made that one, and may take a
/// moment to.
async fn told_gone(socket: &Path, gone: &[Container], remade: Duration) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let names = match gone.is_empty() {
            true => return Vec::new(),
            false => containers::running_names(socket).await.unwrap_or_default(),
        };
        let missing: Vec<&Container> = gone.iter().filter(|container| !names.contains(&container.name)).collect();
        if missing.is_empty() || begun.elapsed() >= remade {
            let tell = |it: &&Container| format!("the container {} is gone: it was removed when it ended", it.name);
            return missing.iter().map(tell).collect();
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Again and again until all run or `limit` is over: one may need another, or a network of a swarm that is not up yet. One
/// that hangs does not hold up the others.
async fn start_containers(socket: &Path, found: &AsFound, limit: Duration, back: &mut BroughtBack) -> Started {
    let begun = Instant::now();
    let mut waiting: Vec<&Container> = found.containers.iter().collect();
    let mut refused: BTreeMap<&str, String> = BTreeMap::new();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut gone = Vec::new();
    loop {
        match containers::running_ids(socket).await {
            Ok(running) => waiting.retain(|container| !running.contains(&container.id)),
            Err(error) => tracing::debug!("the engine does not list its containers yet: {error:#}"),
        }
        if waiting.is_empty() || begun.elapsed() >= limit {
            break;
        }
        // One that was started and has ended since did so by itself: a job is not done twice.
        let is_due = |container: &&&Container| {
            !asked.contains(&container.id) && (container.restart == "no" || begun.elapsed() >= BY_ITSELF)
        };
        let starts =
            waiting.iter().filter(is_due).map(|container| start(socket, container, begun + limit)).collect::<Vec<_>>();
        let ended: Vec<_> = stream::iter(starts).buffered(AT_ONCE).collect().await;
        for (container, started) in ended {
            match started {
                Ok(false) => gone.push(container.clone()),
                Ok(true) => {
                    asked.insert(container.id.clone());
                    back.notes.push(format!(
                        "the container {} did not come back with the engine, and was started again",
                        container.name
                    ));
                }
                Err(error) => drop(refused.insert(&container.id, format!("{error:#}"))),
            }
        }
        if waiting.iter().all(|container| asked.contains(&container.id)) && begun.elapsed() >= BY_ITSELF {
            break;
        }
        waiting.retain(|container| !gone.contains(container));
        tokio::time::sleep(POLL).await;
    }
    back.notes.sort();
    back.notes.dedup();
    back.attention.extend(waiting.iter().map(|container| {
        let why = refused.get(container.id.as_str()).map_or("it does not stay up", String::as_str);
        let name = &container.name;
        format!(
            "the container {name} ran before the engine was stopped, and does not now: {why}; each run starts it again until it runs, or until it is removed (`docker rm {name}`)"
        )
    }));
    let owed = waiting.into_iter().cloned().collect();
    pause_again(socket, found, back).await;
    Started { owed, gone }
}

async fn start<'a>(socket: &Path, container: &'a Container, until: Instant) -> (&'a Container, Result<bool>) {
    let left = until.saturating_duration_since(Instant::now());
    (container, containers::start(socket, &container.id, left).await)
}

async fn pause_again(socket: &Path, found: &AsFound, back: &mut BroughtBack) {
    for container in found.containers.iter().filter(|container| container.paused) {
        let pause = async {
            match containers::inspect(socket, &container.id).await? {
                Some(seen) if seen["State"]["Running"] == true && seen["State"]["Paused"] == false => {
                    containers::pause(socket, &container.id).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = pause.await {
            back.attention
                .push(format!("the container {} was paused before, and is not now: {error:#}", container.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::containers::tests::{moody, named};

    #[test]
    fn another_mode_of_the_socket_is_told_with_the_setting() {
        let socket = Path::new("/run/docker.sock");
        let [open, usual] = [0o666, 0o660].map(|mode| Access { mode, user: 0, group: 998 });
        let told = other_access(Some(open), Some(usual), socket).expect("differs");
        assert!(told.contains("had mode 666, user 0, group 998, and has mode 660"), "{told}");
        for (before, now) in [(Some(usual), Some(usual)), (None, Some(usual)), (Some(usual), None)] {
            assert_eq!(other_access(before, now, socket), None);
        }
    }

    #[tokio::test]
    async fn what_is_not_back_is_told_and_owed_and_what_is_gone_is_told_alone() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let socket = dir.path().join("socket");
        moody(&socket);
        // One runs, one is gone, one lacks its network.
        let containers = vec![named("well"), named("gone"), named("far")];
        let (found, mut back) = (AsFound { containers, ..AsFound::default() }, BroughtBack::default());
        let started = start_containers(&socket, &found, Duration::from_secs(1), &mut back).await;
        assert_eq!((started.owed, &started.gone), (vec![named("far")], &vec![named("gone")]));
        // One whose unit has made another one of its name is not missed.
        let gone = [started.gone, vec![named("web")]].concat();
        back.attention.extend(told_gone(&socket, &gone, Duration::ZERO).await);
        assert_eq!((back.notes.len(), back.attention.len()), (0, 2), "{back:?}");
        let said = back.attention.join("; ");
        for part in ["container gone is gone", "container far ran before", "network far not found"] {
            assert!(said.contains(part), "`{part}`: {said}");
        }
    }
}

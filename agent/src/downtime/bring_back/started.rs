//! Starts the containers that ran before the engine was stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::{StreamExt, stream};

use super::BroughtBack;
use crate::{
    downtime::running_before::RunningBefore,
    host::{
        engine::containers::{self, AT_ONCE, Container},
        wait,
    },
};

/// Time for containers with a restart policy, which the engine starts by itself before it answers or soon after.
pub(super) const BY_ITSELF: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(500);

/// The containers that do not run after all attempts.
#[derive(Debug, Default)]
pub(super) struct Started {
    /// Containers that still exist.
    pub owed: Vec<Container>,
    /// Containers that were removed.
    pub gone: Vec<Container>,
}

/// Containers that are started again and again.
struct Attempts<'a> {
    socket: &'a Path,
    begun: Instant,
    limit: Duration,
    waiting: Vec<&'a Container>,
    /// The last error of each container.
    refused: BTreeMap<&'a str, String>,
    /// Ids of the containers that were started.
    asked: BTreeSet<&'a str>,
    gone: Vec<Container>,
}

/// Starts containers again and again until all run or `limit` is over: one may need another, or a network of a swarm
/// that is not up yet. One that hangs does not delay the others.
pub(super) async fn start_containers(
    socket: &Path,
    found: &RunningBefore,
    limit: Duration,
    back: &mut BroughtBack,
) -> Started {
    let mut attempts = Attempts {
        socket,
        begun: Instant::now(),
        limit,
        waiting: found.containers.iter().collect(),
        refused: BTreeMap::new(),
        asked: BTreeSet::new(),
        gone: Vec::new(),
    };
    loop {
        attempts.take_off_running().await;
        if attempts.waiting.is_empty() || attempts.begun.elapsed() >= limit {
            break;
        }
        attempts.start_due(back).await;
        if attempts.is_all_asked() && attempts.begun.elapsed() >= BY_ITSELF {
            break;
        }
        attempts.take_off_gone();
        tokio::time::sleep(POLL).await;
    }
    back.notes.sort();
    back.notes.dedup();
    back.attention.extend(attempts.sentences());
    let owed = attempts.waiting.into_iter().cloned().collect();
    pause_again(socket, found, back).await;
    Started { owed, gone: attempts.gone }
}

impl Attempts<'_> {
    async fn take_off_running(&mut self) {
        match containers::running_ids(self.socket).await {
            Ok(running) => self.waiting.retain(|container| !running.contains(&container.id)),
            Err(error) => tracing::debug!("the engine does not list its containers yet: {error:#}"),
        }
    }

    /// A container that was started and has ended since ended by itself: its work is not done twice.
    fn is_due(&self, container: &Container) -> bool {
        !self.asked.contains(container.id.as_str()) && (container.restart == "no" || self.begun.elapsed() >= BY_ITSELF)
    }

    async fn start_due(&mut self, back: &mut BroughtBack) {
        let due = self.waiting.iter().copied().filter(|container| self.is_due(container));
        let starts: Vec<_> = due.map(|container| start(self.socket, container, self.begun + self.limit)).collect();
        let ended: Vec<_> = stream::iter(starts).buffered(AT_ONCE).collect().await;
        for (container, started) in ended {
            match started {
                Ok(false) => self.gone.push(container.clone()),
                Ok(true) => {
                    self.asked.insert(&container.id);
                    back.notes.push(format!(
                        "the container {} did not come back with the engine, and was started again",
                        container.name
                    ));
                }
                Err(error) => drop(self.refused.insert(&container.id, format!("{error:#}"))),
            }
        }
    }

    fn is_all_asked(&self) -> bool {
        self.waiting.iter().all(|container| self.asked.contains(container.id.as_str()))
    }

    fn take_off_gone(&mut self) {
        self.waiting.retain(|container| !self.gone.contains(container));
    }

    /// Returns a sentence for each container that does not run.
    fn sentences(&self) -> impl Iterator<Item = String> {
        self.waiting.iter().map(|container| {
            let why = self.refused.get(container.id.as_str()).map_or("it does not stay up", String::as_str);
            let name = &container.name;
            format!(
                "the container {name} ran before the engine was stopped, and does not now: {why}; each run starts it again until it runs, or until it is removed (`docker rm {name}`)"
            )
        })
    }
}

async fn start<'a>(socket: &Path, container: &'a Container, until: Instant) -> (&'a Container, Result<bool>) {
    let left = until.saturating_duration_since(Instant::now());
    (container, containers::start(socket, &container.id, left).await)
}

/// Returns a sentence for each container that is gone and is not replaced by another one of its name. Its unit may
/// create that one, which takes up to `remade`.
pub(super) async fn report_gone(socket: &Path, gone: &[Container], remade: Duration) -> Vec<String> {
    let mut missing: Vec<&Container> = gone.iter().collect();
    if !missing.is_empty() {
        let none_is_missing = async || {
            let names = containers::running_names(socket).await.unwrap_or_default();
            missing = gone.iter().filter(|container| !names.contains(&container.name)).collect();
            missing.is_empty().then_some(())
        };
        wait::poll(remade, POLL, none_is_missing).await;
    }
    let sentence = |it: &&Container| format!("the container {} is gone: it was removed when it ended", it.name);
    missing.iter().map(sentence).collect()
}

async fn pause_again(socket: &Path, found: &RunningBefore, back: &mut BroughtBack) {
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
    use crate::host::engine::containers::tests::{moody, named};

    #[tokio::test]
    async fn what_is_not_back_is_reported_and_owed_and_what_is_gone_is_only_reported() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let socket = dir.path().join("socket");
        moody(&socket);
        // One runs, one is gone, one lacks its network.
        let containers = vec![named("well"), named("gone"), named("far")];
        let (found, mut back) = (RunningBefore { containers, ..RunningBefore::default() }, BroughtBack::default());
        let started = start_containers(&socket, &found, Duration::from_secs(1), &mut back).await;
        assert_eq!((started.owed, &started.gone), (vec![named("far")], &vec![named("gone")]));
        // A container that its unit has replaced by another one of its name is not reported.
        let gone = [started.gone, vec![named("web")]].concat();
        back.attention.extend(report_gone(&socket, &gone, Duration::ZERO).await);
        assert_eq!((back.notes.len(), back.attention.len()), (0, 2), "{back:?}");
        let said = back.attention.join("; ");
        for part in ["container gone is gone", "container far ran before", "network far not found"] {
            assert!(said.contains(part), "`{part}`: {said}");
        }
    }
}

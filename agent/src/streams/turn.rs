//! Whose turn a stream is: the host on which the task of its service runs.

use anyhow::{Context, Result};

use crate::{
    config::stream::StreamConfig,
    host::engine::{Engine, containers},
    outcome::{exit::Exit, failure::Failure},
};

/// Returns the id of the container of the stream's task on this host; `None` if the stream has no service. Fails with exit
/// code 3 if no task of the service runs here, and with 4 if several do: which of them has the data is not known.
pub async fn require(engine: &Engine, stream: &StreamConfig) -> Result<Option<String>> {
    match &stream.service {
        None => Ok(None),
        Some(service) => task_of(engine, &format!("the stream {}", stream.name), service).await.map(Some),
    }
}

/// Returns the id of the container of the one task of a service on this host, for what is to be stored.
pub async fn task_of(engine: &Engine, what: &str, service: &str) -> Result<String> {
    let found = containers::tasks_of(engine.socket(), service).await;
    let mut found = found.with_context(|| format!("failed to look for the task of {what}"))?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::new(Exit::NotOurTurn, format!("{what}: no task of the service {service} runs on this host"))
            .into()),
        several => Err(Failure::refused(format!(
            "{what}: {several} tasks of the service {service} run on this host, and which has the data is not known"
        ))
        .advice("use `command` with a program that chooses one, or let the service have one task per host")
        .into()),
    }
}

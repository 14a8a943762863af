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
    let Some(service) = &stream.service else { return Ok(None) };
    let found = containers::tasks_of(engine.socket(), service).await;
    let mut found = found.with_context(|| format!("failed to look for the task of the stream {}", stream.name))?;
    match found.len() {
        1 => Ok(found.pop()),
        0 => Err(Failure::new(
            Exit::NotOurTurn,
            format!("the stream {}: no task of the service {service} runs on this host", stream.name),
        )
        .into()),
        several => Err(Failure::refused(format!(
            "the stream {}: {several} tasks of the service {service} run on this host, and which has the data is not known",
            stream.name
        ))
        .advice("use `command` with a program that chooses one, or let the service have one task per host")
        .into()),
    }
}

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
    let advice = "use `command` with a program that chooses one, or let the service have one task per host";
    only_task(engine, what, service, advice).await
}

/// Returns the id of the container of the only task of a service on this host. `what` is stored from it or brought back into
/// it. `advice`: what to do if there are several.
pub async fn only_task(engine: &Engine, what: &str, service: &str, advice: &'static str) -> Result<String> {
    let found = containers::tasks_of(engine.socket(), service).await;
    let found = found.with_context(|| format!("failed to look for the task of {what}"))?;
    match <[String; 1]>::try_from(found) {
        Ok([container]) => Ok(container),
        Err(found) if found.is_empty() => {
            Err(Failure::new(Exit::NotOurTurn, format!("{what}: no task of the service {service} runs on this host"))
                .advice("run it on the host where the task runs: docker service ps")
                .into())
        }
        Err(several) => Err(Failure::refused(format!(
            "{what}: {} tasks of the service {service} run on this host, and which has the data is not known",
            several.len()
        ))
        .advice(advice)
        .into()),
    }
}

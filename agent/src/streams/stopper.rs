//! What ends the receiver of a stream from outside, while it is written to or waited for.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::runtime::Handle;

use crate::host::{engine::exec::Made, process_group::Killer};

/// Ends the receiver of a stream from another thread, and keeps one that has not started from starting.
#[derive(Debug, Clone, Default)]
pub struct Stopper(Arc<Mutex<Stopping>>);

/// What has to be killed.
#[derive(Debug)]
pub enum Target {
    Program(Killer),
    /// A command in a container, and the runtime in which the engine is asked.
    Task(Made, Handle),
}

#[derive(Debug, Default)]
struct Stopping {
    target: Option<Target>,
    is_stopped: bool,
}

impl Stopper {
    /// Kills the receiver. A command in a container is killed meanwhile.
    pub fn stop(&self) {
        let mut stopping = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stopping.is_stopped = true;
        match &stopping.target {
            None => {}
            Some(Target::Program(killer)) => killer.kill(),
            Some(Target::Task(made, runtime)) => {
                let made = made.clone();
                runtime.spawn(async move {
                    if let Err(error) = made.kill().await {
                        tracing::warn!("{error:#}");
                    }
                });
            }
        }
    }

    /// Starts a receiver, unless it was stopped before.
    pub fn started<T, E: From<io::Error>>(&self, start: impl FnOnce() -> Result<(T, Target), E>) -> Result<T, E> {
        let mut stopping = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stopping.is_stopped {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "interrupted").into());
        }
        let (started, target) = start()?;
        stopping.target = Some(target);
        Ok(started)
    }

    /// Whether there is something to be killed.
    #[cfg(test)]
    pub fn has_target(&self) -> bool {
        self.0.lock().expect("no panic").target.is_some()
    }
}

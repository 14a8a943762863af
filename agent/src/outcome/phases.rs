//! Phases of a flow, timed and logged. The beginning of each is a failpoint.

use std::time::Instant;

use serde::Serialize;

use crate::outcome::failpoint;

/// Phase of a flow with its duration in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub ms: u64,
}

/// Measures how long each phase of a flow takes, and logs its beginning.
#[derive(Debug)]
pub struct Phases {
    done: Vec<Phase>,
    running: Option<(&'static str, Instant)>,
}

impl Phases {
    pub fn new() -> Self {
        Self { done: Vec::new(), running: None }
    }

    /// Ends the running phase and begins the next.
    pub fn begin(&mut self, name: &'static str) {
        tracing::info!(phase = name, "begin");
        self.begin_quietly(name);
    }

    /// Ends the running phase and begins the next without logging. While the engine is down nothing is logged, since
    /// writing to the log may have to wait for a disk.
    pub fn begin_quietly(&mut self, name: &'static str) {
        self.end();
        failpoint::reach(name);
        self.running = Some((name, Instant::now()));
    }

    fn end(&mut self) {
        if let Some((name, since)) = self.running.take() {
            let ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.done.push(Phase { name, ms });
        }
    }

    pub fn finish(mut self) -> Vec<Phase> {
        self.end();
        self.done
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self::new()
    }
}

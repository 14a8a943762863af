//! How results reach a person or a script: text on standard output, or JSON with a stable schema.

use std::{fmt, time::Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use swarmdr_archive::manifest::Counts;

use crate::{faults, terminal};

/// What a verb prints; chosen by `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Human,
    Json,
}

impl Output {
    /// Prints a report; a closed pipe is no error.
    pub fn print<T: Serialize + fmt::Display>(self, report: &T) -> Result<()> {
        let mut text = match self {
            Output::Human => report.to_string(),
            Output::Json => terminal::json(report).context("failed to write the report as JSON")?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        terminal::print(&text).context("failed to write to standard output")
    }
}

/// One phase of a flow and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub ms: u64,
}

/// Times the phases of a flow as they pass, and tells the log of each.
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

    /// The same without a line in the log, which may wait for a disk: while the engine is away nothing is told.
    pub fn begin_quietly(&mut self, name: &'static str) {
        self.end();
        faults::reach(name);
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

/// The most memory that this process has had resident so far, in bytes (`VmHWM` in proc(5)); 0 if the
/// kernel does not say.
pub fn peak_memory() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| parse_peak(&status)).unwrap_or(0)
}

/// In bytes, from a process's `status`.
pub fn parse_peak(status: &str) -> Option<u64> {
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
}

/// `1 secret`, `2 secrets`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What a swarm holds, in words.
pub fn human_counts(counts: &Counts) -> String {
    [
        count(counts.services, "service"),
        count(counts.secrets, "secret"),
        count(counts.configs, "config"),
        count(counts.networks, "network"),
        count(counts.nodes, "node"),
    ]
    .join(", ")
}

/// `1.2 s` or `45 ms`.
pub fn human_ms(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_read_from_the_kernels_own_words() {
        assert_eq!(parse_peak("Name:\tagent\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n"), Some(12345 * 1024));
        assert_eq!(parse_peak("Name:\tagent\n"), None);
        assert!(peak_memory() > 0);
    }
}

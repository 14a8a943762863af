//! Inputs of every run.

use jiff::Timestamp;

use crate::{config::Config, host::shutdown::Shutdown, outcome::progress::Progress};

/// Inputs of a run: settings, stop request, progress and time.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    pub config: &'a Config,
    /// Signals that ask this process to end.
    pub shutdown: &'a Shutdown,
    pub progress: Progress,
    /// Start of the run.
    pub now: Timestamp,
}

//! One pause of the engine, as it went.

use anyhow::Result;

use super::snapshot::Snapshot;
use crate::downtime::pause::Downtime;

/// Outcome of one attempt.
pub(super) struct Attempt {
    /// `None` if the copying panicked.
    pub snapshot: Option<Snapshot>,
    pub copied: Result<()>,
    pub downtime: Downtime,
    pub resumed: Result<()>,
    /// True if the copy was not finished in time.
    pub overdue: bool,
}

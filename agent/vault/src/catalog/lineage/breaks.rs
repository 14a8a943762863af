//! The places where a lineage is broken.

use std::fmt;

use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId};

use super::super::Series;

/// A place where the lineage is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    /// `child` follows an archive that is in no vault, although its lock cannot have ended before `locked_until`.
    Missing { child: BackupId, sequence: u64, locked_until: Timestamp },
    /// `newer` was made by a writer that did not see `older`, although that was in `vault` before.
    Unseen { newer: BackupId, older: BackupId, vault: String },
    /// The number of `child` is not one more than that of its parent.
    Misnumbered { child: BackupId, sequence: u64, expected: u64 },
    /// `child` follows `parent`, but has an earlier time.
    ClockBehind { child: BackupId, parent: BackupId },
}

/// A place where the lineage of a series is broken, to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken<S: Series = ClusterId> {
    pub series: S,
    pub at: Break,
}

impl<S: Series> fmt::Display for Broken<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, maker) = (self.series.one(), S::WORDS.maker);
        match &self.at {
            Break::Missing { child, sequence, locked_until } => write!(
                f,
                "{one} number {sequence}, which {child} follows, is in no vault, although its lock must hold until \
                 {locked_until} at least; it lies in a vault that is not configured here, or it was \
                 removed"
            ),
            Break::Unseen { newer, older, vault } => write!(
                f,
                "{one} {newer} does not follow {older}, which was in {vault} before it was made: its {maker} could not \
                 see that one, or does not trust its key (`trusted_keys`)"
            ),
            Break::Misnumbered { child, sequence, expected } => {
                write!(f, "{one} {child} has the number {sequence} where {expected} comes next")
            }
            Break::ClockBehind { child, parent } => write!(
                f,
                "{one} {child} follows {parent} but has an earlier date: the clock of a {maker} was wrong, so they \
                 are ordered by sequence"
            ),
        }
    }
}

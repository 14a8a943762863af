//! A stream as a line for a person.

use std::fmt;

use jiff::Timestamp;
use swarmdr_archive::untrusted::shown;

use super::StreamStatus;
use crate::{host::files::space::human_bytes, observe::status::show::ago};

impl StreamStatus {
    pub fn show(&self, now: Timestamp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  stream   {}", self.name)?;
        if !self.configured {
            f.write_str(" (not configured here)")?;
        }
        let Some(newest) = &self.newest else { return writeln!(f, ": none seen") };
        let (since, size) = (ago(now, newest.started_at), human_bytes(newest.size));
        write!(f, ": {} from {}, {since}, {size}", newest.id, shown(&newest.hostname))?;
        match newest.lock {
            Some(lock) => write!(f, ", locked ({}) until {}", lock.mode, lock.until)?,
            None if newest.lock_unread => f.write_str(", lock not known")?,
            None => f.write_str(", not locked")?,
        }
        if let Some(drill) = &self.drill {
            write!(f, ", drill {} {}", if drill.proven { "proven" } else { "FAILED" }, ago(now, drill.at))?;
        }
        match self.next {
            Some(next) => writeln!(f, "; due {next}"),
            None => writeln!(f),
        }
    }
}

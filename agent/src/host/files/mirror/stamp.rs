//! The attributes of a file by which a later write to it is recognised.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{SystemTime, UNIX_EPOCH},
};

/// Age after which a stamp is settled: more than any filesystem's granularity of timestamps (ext3 and some network
/// filesystems: 1 s).
pub const SETTLED_SECONDS: i64 = 2;

/// The attributes that a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    dev: u64,
    ino: u64,
    pub size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    /// `None` on a filesystem that does not keep it.
    born: Option<SystemTime>,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            born: metadata.created().ok(),
        }
    }

    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.born) == (other.dev, other.ino, other.born) && self.born.is_some()
    }

    /// True if the file was last written so long ago that a later write changes the stamp. A file from the future, as
    /// after a clock was set back, is never settled.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let newest = self.mtime.0.max(self.ctime.0);
        i64::try_from(now).is_ok_and(|now| newest.saturating_add(SETTLED_SECONDS) < now)
    }
}

//! A copy of a state directory that is made in two passes: one beside the running engine, which takes as long as
//! it takes, and one while the engine stands still, which takes only what changed since.
//!
//! What makes the second pass short is that a raft directory hardly changes: finished log segments and snapshots
//! never do, and of the segment that is being written only the end does. A file is taken to be unchanged if
//! device, inode, size, mtime and ctime are those that it had *before* its bytes were read, and if the newer of
//! the two times was [`SETTLED_SECONDS`] old then: the kernel stamps writes with a clock that stands still for
//! some milliseconds, so a file that was written a moment ago may be written again under the same stamp. (git
//! calls such entries racily clean.) Whoever writes through `mmap` may be stamped late; the one file of an
//! engine that is written so, `worker/tasks.db`, is left out of backups.
//!
//! **Logs.** Of a log that grew, only the end is copied again: from the last byte that was not zero before the
//! first pass read it, rounded down generously. That needs the log to be append-only, as etcd's is
//! (`wal/encoder.go`, `pageWriter`: only ever forward), and its preallocated rest to be zero. Nobody has to
//! believe it: whoever reads the copy follows the log's checksums from the first byte to the last. Inode numbers
//! are given out again, so the time of birth must be the same too; where none is known, a log is copied whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, FileType, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::copy::{Patience, copy_from, written_end};

/// Far more than any filesystem's granularity of timestamps (ext3 and some network filesystems: 1 s).
const SETTLED_SECONDS: i64 = 2;

/// So much of a log that was copied before is copied again: a page of the log's writer is 4 KiB.
const OVERLAP: u64 = 64 * 1024;

/// Smaller files are not worth a flush of their own.
const WORTH_FLUSHING: u64 = 1024 * 1024;

/// What to do with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Directories, and files that may change anywhere.
    Keep,
    /// A file that only ever grows at its end, within its size or beyond it.
    KeepLog,
    /// And why.
    LeaveOut(&'static str),
}

/// Whether somebody writes to the original meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Files may vanish, grow and shrink at any time; what is copied is flushed, so that the disk is idle again
    /// when the writer is made to stand still.
    Running,
    /// Nothing may change: whatever vanishes is an error. Nothing is flushed: the writer waits.
    Still,
}

/// A path that the copy holds, relative to its root, with the attributes of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedEntry {
    pub path: PathBuf,
    pub is_dir: bool,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Apparent size in bytes; 0 for a directory.
    pub size: u64,
}

/// A path that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: PathBuf,
    pub why: &'static str,
}

/// What a copy holds after a pass, sorted by path, parents before children; the first entry is the root itself,
/// with an empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    pub entries: Vec<CopiedEntry>,
    pub left_out: Vec<LeftOut>,
    /// Bytes of data that this pass copied, holes not counted.
    pub bytes: u64,
}

/// The copy that is being made.
#[derive(Debug)]
pub struct Mirror {
    from: PathBuf,
    to: PathBuf,
    held: BTreeMap<PathBuf, Held>,
}

/// What the copy has of one path.
#[derive(Debug)]
enum Held {
    Dir,
    File {
        stamp: Stamp,
        /// The stamp was old enough to tell a later write.
        settled: bool,
        /// Of a log: everything before this byte is final.
        written: u64,
    },
}

/// One pass, as seen by one file.
#[derive(Clone, Copy)]
struct Pass<'a> {
    is_log: bool,
    writer: Writer,
    now: SystemTime,
    patience: &'a Patience<'a>,
}

/// What a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    /// `None` on a filesystem that does not keep it.
    born: Option<SystemTime>,
}

impl Mirror {
    /// Of `from` into the existing, empty directory `to`. Copies nothing yet.
    pub fn new(from: &Path, to: &Path) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), held: BTreeMap::new() }
    }

    /// Makes the copy what the original is. `handling` gets each path relative to its root with its unfollowed
    /// type; it must leave out whatever is neither a file nor a directory. `now` is what files were last written
    /// before.
    pub fn pass(
        &mut self,
        handling: &dyn Fn(&Path, FileType) -> Handling,
        writer: Writer,
        now: SystemTime,
        patience: &Patience<'_>,
    ) -> Result<Copied> {
        let mut copied = Copied::default();
        let root = fs::metadata(&self.from).with_context(|| format!("failed to look at {}", self.from.display()))?;
        copied.entries.push(entry(PathBuf::new(), &root));
        let mut seen = BTreeSet::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            for path in tolerate(writer, list(&self.from, &directory))?.unwrap_or_default() {
                patience.check()?;
                let Some(metadata) = tolerate(writer, self.look_at(&path))? else {
                    continue;
                };
                let how = handling(&path, metadata.file_type());
                if let Handling::LeaveOut(why) = how {
                    copied.left_out.push(LeftOut { path, why });
                    continue;
                }
                if metadata.is_dir() {
                    self.keep_directory(&path)?;
                    pending.push(path.clone());
                } else {
                    let is_log = how == Handling::KeepLog;
                    match tolerate(writer, self.keep_file(&path, &metadata, Pass { is_log, writer, now, patience }))? {
                        Some(bytes) => copied.bytes += bytes,
                        // Half a file is none.
                        None => continue,
                    }
                }
                seen.insert(path.clone());
                copied.entries.push(entry(path, &metadata));
            }
        }
        self.remove_others(&seen)?;
        copied.entries.sort_by(|a, b| a.path.cmp(&b.path));
        copied.left_out.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(copied)
    }

    fn look_at(&self, path: &Path) -> Result<Metadata> {
        let source = self.from.join(path);
        fs::symlink_metadata(&source).with_context(|| format!("failed to look at {}", source.display()))
    }

    fn keep_directory(&mut self, path: &Path) -> Result<()> {
        match self.held.get(path) {
            Some(Held::Dir) => return Ok(()),
            Some(Held::File { .. }) => self.remove(path)?,
            None => {}
        }
        let target = self.to.join(path);
        let made = DirBuilder::new().mode(0o700).create(&target);
        made.with_context(|| format!("failed to create {}", target.display()))?;
        self.held.insert(path.to_owned(), Held::Dir);
        Ok(())
    }

    /// Answers with the bytes that had to be copied.
    fn keep_file(&mut self, path: &Path, metadata: &Metadata, pass: Pass<'_>) -> Result<u64> {
        let Pass { is_log, writer, now, patience } = pass;
        let mut copied_before = 0;
        let found = Stamp::of(metadata);
        match self.held.get(path) {
            Some(Held::File { stamp, settled: true, .. }) if *stamp == found => return Ok(0),
            Some(Held::File { stamp, written, .. }) if is_log && stamp.is_same_file(&found) => {
                copied_before = page_before(*written);
            }
            Some(_) => self.remove(path)?,
            None => {}
        }
        let (from, to) = (self.from.join(path), self.to.join(path));
        let copy = || -> Result<(Held, u64)> {
            let source = File::open(&from)?;
            // From the open file, and before a byte of it is read.
            let metadata = source.metadata()?;
            let stamp = Stamp::of(&metadata);
            let settled = stamp.is_settled(now);
            let written = if is_log && writer == Writer::Running { written_end(&source, stamp.size)? } else { 0 };
            let target = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&to)?;
            let bytes = copy_from(&source, &target, copied_before.min(stamp.size), stamp.size, patience)?;
            if writer == Writer::Running && bytes > WORTH_FLUSHING {
                target.sync_data()?;
            }
            Ok((Held::File { stamp, settled, written }, bytes))
        };
        // Until it is whole it counts as not held.
        self.held.remove(path);
        let copied = copy().with_context(|| format!("failed to copy {} to {}", from.display(), to.display()));
        match copied {
            Ok((held, bytes)) => {
                self.held.insert(path.to_owned(), held);
                Ok(bytes)
            }
            Err(error) => {
                remove_any(&to)?;
                Err(error)
            }
        }
    }

    /// What the original no longer has, children first.
    fn remove_others(&mut self, seen: &BTreeSet<PathBuf>) -> Result<()> {
        let gone: Vec<PathBuf> = self.held.keys().rev().filter(|path| !seen.contains(*path)).cloned().collect();
        gone.iter().try_for_each(|path| self.remove(path))
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        self.held.retain(|held, _| !held.starts_with(path));
        remove_any(&self.to.join(path))
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            born: metadata.created().ok(),
        }
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.born) == (other.dev, other.ino, other.born) && self.born.is_some()
    }

    /// A clock that was set back makes files of the future, which are never settled.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let newest = self.mtime.0.max(self.ctime.0);
        i64::try_from(now).is_ok_and(|now| newest.saturating_add(SETTLED_SECONDS) < now)
    }
}

/// A page boundary so far before `written` that everything before it is final.
fn page_before(written: u64) -> u64 {
    written.saturating_sub(OVERLAP) / 4096 * 4096
}

/// Beside a running writer, what vanishes or shrinks under the hands is taken up by the next pass.
fn tolerate<T>(writer: Writer, result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if writer == Writer::Running && is_change(&error) => {
            tracing::debug!("changed while it was copied: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_change(error: &anyhow::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof];
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|cause| kinds.contains(&cause.kind())))
}

fn remove_any(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.with_context(|| format!("failed to remove {}", path.display()))
}

fn list(root: &Path, directory: &Path) -> Result<Vec<PathBuf>> {
    let absolute = root.join(directory);
    let names = fs::read_dir(&absolute)
        .and_then(|entries| entries.map(|entry| Ok(directory.join(entry?.file_name()))).collect::<io::Result<Vec<_>>>())
        .with_context(|| format!("failed to list {}", absolute.display()))?;
    Ok(names)
}

fn entry(path: PathBuf, metadata: &Metadata) -> CopiedEntry {
    CopiedEntry {
        path,
        is_dir: metadata.is_dir(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime(),
        size: if metadata.is_dir() { 0 } else { metadata.size() },
    }
}

#[cfg(test)]
mod tests;

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
//! **Reading only.** While the writer stands still the pass reads and writes nothing: what changed is kept in memory,
//! up to [`HELD_BYTES`], and [`Mirror::apply`] puts it into the copy afterwards. To create, cut or rename a file
//! takes a place in the filesystem's journal, which on a busy disk waits for others: half a second of pause was
//! seen on ext4 beside a compiler, and less than one millisecond without it. Even reading is done without `atime`.
//!
//! **Logs.** Of a log that grew, only the end is copied again: from the last byte that was not zero before the
//! first pass read it, rounded down generously. That needs the log to be append-only, as etcd's is
//! (`wal/encoder.go`, `pageWriter`: only ever forward), and its preallocated rest to be zero. Nobody has to
//! believe it: whoever reads the copy follows the log's checksums from the first byte to the last. Inode numbers
//! are given out again, so the time of birth must be the same too; where none is known, a log is copied whole.

mod copied;
mod stamp;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;

use super::copy::{Patience, appended, copy_from, extents_from, written_end};
use stamp::Stamp;

pub use copied::{Copied, CopiedEntry, LeftOut};
pub use stamp::SETTLED_SECONDS;

/// So much of a log that was copied before is copied again: a page of the log's writer is 4 KiB.
const OVERLAP: u64 = 64 * 1024;

/// Smaller files are not worth a flush of their own.
const WORTH_FLUSHING: u64 = 1024 * 1024;

/// So much of what changed is held in memory; the rest of a larger change goes straight into the copy.
pub const HELD_BYTES: u64 = 16 * 1024 * 1024;

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
    /// Nothing may change: whatever vanishes is an error. The writer waits, so what changed is only read, and
    /// [`Mirror::apply`] must follow.
    Still,
}

/// The copy that is being made.
#[derive(Debug)]
pub struct Mirror {
    from: PathBuf,
    to: PathBuf,
    held: BTreeMap<PathBuf, Held>,
    pending: Vec<Pending>,
    pending_bytes: u64,
}

/// A change of the copy that waits for [`Mirror::apply`].
#[derive(Debug)]
enum Pending {
    Remove(PathBuf),
    MakeDir(PathBuf),
    /// Everything from `from` on is replaced.
    Write {
        path: PathBuf,
        held: Held,
        from: u64,
        size: u64,
        data: Vec<(u64, Vec<u8>)>,
    },
}

/// What the copy has of one path.
#[derive(Debug, Clone, Copy)]
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

impl Mirror {
    /// Of `from` into the existing, empty directory `to`. Copies nothing yet.
    pub fn new(from: &Path, to: &Path) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), held: BTreeMap::new(), pending: Vec::new(), pending_bytes: 0 }
    }

    /// Makes the copy what the original is. `handling` gets each path relative to its root with its unfollowed
    /// attributes; it must leave out whatever is neither a file nor a directory. `now` is what files were last written
    /// before.
    pub fn pass(
        &mut self,
        handling: &dyn Fn(&Path, &Metadata) -> Handling,
        writer: Writer,
        now: SystemTime,
        patience: &Patience<'_>,
    ) -> Result<Copied> {
        // Of a pass that was given up.
        self.pending.clear();
        self.pending_bytes = 0;
        let mut copied = Copied::default();
        let root = fs::metadata(&self.from).with_context(|| format!("failed to look at {}", self.from.display()))?;
        copied.entries.push(CopiedEntry::of(PathBuf::new(), &root));
        let mut seen = BTreeSet::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            for path in tolerate(writer, list(&self.from, &directory))?.unwrap_or_default() {
                patience.check()?;
                let Some(metadata) = tolerate(writer, self.look_at(&path))? else {
                    continue;
                };
                let how = handling(&path, &metadata);
                if let Handling::LeaveOut(why) = how {
                    copied.left_out.push(LeftOut { path, why });
                    continue;
                }
                if metadata.is_dir() {
                    self.keep_directory(&path, writer)?;
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
                let mut entry = CopiedEntry::of(path, &metadata);
                // It may have grown since it was looked at; what waits to be applied stands still.
                if let (Writer::Running, Some(Held::File { stamp, .. })) = (writer, self.held.get(&entry.path)) {
                    entry.size = stamp.size;
                }
                copied.entries.push(entry);
            }
        }
        self.remove_others(&seen, writer)?;
        copied.entries.sort_by(|a, b| a.path.cmp(&b.path));
        copied.left_out.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(copied)
    }

    fn look_at(&self, path: &Path) -> Result<Metadata> {
        let source = self.from.join(path);
        fs::symlink_metadata(&source).with_context(|| format!("failed to look at {}", source.display()))
    }

    /// Puts what a pass over a [still](Writer::Still) original has read into the copy.
    pub fn apply(&mut self) -> Result<()> {
        self.pending_bytes = 0;
        for change in std::mem::take(&mut self.pending) {
            match change {
                Pending::Remove(path) => self.remove(&path)?,
                Pending::MakeDir(path) => self.make_dir(&path)?,
                Pending::Write { path, held, from, size, data } => {
                    let target = self.to.join(&path);
                    let write = || -> io::Result<()> {
                        let file = open_target(&target)?;
                        file.set_len(from)?;
                        file.set_len(size)?;
                        data.iter().try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))
                    };
                    write().with_context(|| format!("failed to write {}", target.display()))?;
                    self.held.insert(path, held);
                }
            }
        }
        Ok(())
    }

    fn keep_directory(&mut self, path: &Path, writer: Writer) -> Result<()> {
        let held = self.held.get(path).copied();
        match held {
            Some(Held::Dir) => return Ok(()),
            Some(Held::File { .. }) => self.drop_from_copy(path, writer)?,
            None => {}
        }
        if writer == Writer::Still {
            self.pending.push(Pending::MakeDir(path.to_owned()));
            return Ok(());
        }
        self.make_dir(path)
    }

    fn make_dir(&mut self, path: &Path) -> Result<()> {
        let target = self.to.join(path);
        let made = DirBuilder::new().mode(0o700).create(&target);
        made.with_context(|| format!("failed to create {}", target.display()))?;
        self.held.insert(path.to_owned(), Held::Dir);
        Ok(())
    }

    /// Answers with the bytes that had to be copied.
    fn keep_file(&mut self, path: &Path, metadata: &Metadata, pass: Pass<'_>) -> Result<u64> {
        let found = Stamp::of(metadata);
        let mut final_before = None;
        match self.held.get(path) {
            Some(Held::File { stamp, settled: true, .. }) if *stamp == found => return Ok(0),
            Some(Held::File { stamp, written, .. }) if pass.is_log && stamp.is_same_file(&found) => {
                final_before = Some(page_before(*written));
            }
            Some(_) => self.drop_from_copy(path, pass.writer)?,
            None => {}
        }
        let from = self.from.join(path);
        let copied = self.copy_file(path, &from, final_before, pass);
        copied.with_context(|| format!("failed to copy {} to {}", from.display(), self.to.join(path).display()))
    }

    /// `final_before` is set for a log that was copied before: what lies there has not changed since.
    fn copy_file(&mut self, path: &Path, from: &Path, final_before: Option<u64>, pass: Pass<'_>) -> Result<u64> {
        let source = open_source(from)?;
        // From the open file, and before a byte of it is read.
        let stamp = Stamp::of(&source.metadata()?);
        let settled = stamp.is_settled(pass.now);
        let has_grown = final_before.is_some();
        let final_before = final_before.unwrap_or(0).min(stamp.size);
        if pass.writer == Writer::Still {
            let held = Held::File { stamp, settled, written: final_before };
            let range = (final_before, stamp.size);
            let read = if has_grown {
                self.read_growth(path, &source, held, range)?
            } else {
                self.read_changes(path, &source, held, range, pass.patience)?
            };
            if let Some(bytes) = read {
                return Ok(bytes);
            }
            // The directory that it lies in may be among them, and an older file that is in its place.
            self.apply()?;
        }
        let written = if pass.is_log { written_end(&source, stamp.size)? } else { 0 };
        // Until it is whole it counts as not held.
        self.held.remove(path);
        let to = self.to.join(path);
        let copy = || -> Result<u64> {
            let target = open_target(&to)?;
            // Space that was allocated ahead stays a hole.
            let end = if pass.is_log { written.max(final_before) } else { stamp.size };
            let bytes = copy_from(&source, &target, final_before, end, pass.patience)?;
            target.set_len(stamp.size)?;
            if pass.writer == Writer::Running && bytes > WORTH_FLUSHING {
                target.sync_data()?;
            }
            Ok(bytes)
        };
        let bytes = match copy() {
            Ok(bytes) => bytes,
            Err(error) => {
                remove_any(&to)?;
                return Err(error);
            }
        };
        self.held.insert(path.to_owned(), Held::File { stamp, settled, written });
        Ok(bytes)
    }

    /// Into memory; `None` if that would be too much.
    fn read_growth(&mut self, path: &Path, source: &File, held: Held, (from, size): (u64, u64)) -> Result<Option<u64>> {
        let most = HELD_BYTES.saturating_sub(self.pending_bytes);
        let Some(grown) = appended(source, from, size, most)? else { return Ok(None) };
        Ok(Some(self.hold(path, held, (from, size), vec![(from, grown)])))
    }

    /// As [`Mirror::read_growth`], for any file.
    fn read_changes(
        &mut self,
        path: &Path,
        source: &File,
        held: Held,
        (from, size): (u64, u64),
        patience: &Patience<'_>,
    ) -> Result<Option<u64>> {
        let extents = extents_from(source, from, size)?;
        let bytes: u64 = extents.iter().map(|extent| extent.length).sum();
        if self.pending_bytes + bytes > HELD_BYTES {
            return Ok(None);
        }
        let mut data = Vec::with_capacity(extents.len());
        for extent in extents {
            patience.check()?;
            let mut buffer = vec![0; usize::try_from(extent.length).context("an extent is larger than memory")?];
            source.read_exact_at(&mut buffer, extent.offset)?;
            data.push((extent.offset, buffer));
        }
        Ok(Some(self.hold(path, held, (from, size), data)))
    }

    /// Keeps what was read until [`Mirror::apply`]; answers with its bytes.
    fn hold(&mut self, path: &Path, held: Held, (from, size): (u64, u64), data: Vec<(u64, Vec<u8>)>) -> u64 {
        let bytes = data.iter().map(|(_, part)| part.len() as u64).sum();
        self.pending_bytes += bytes;
        self.pending.push(Pending::Write { path: path.to_owned(), held, from, size, data });
        bytes
    }

    /// What the original no longer has, children first.
    fn remove_others(&mut self, seen: &BTreeSet<PathBuf>, writer: Writer) -> Result<()> {
        let gone: Vec<PathBuf> = self.held.keys().rev().filter(|path| !seen.contains(*path)).cloned().collect();
        gone.iter().try_for_each(|path| self.drop_from_copy(path, writer))
    }

    fn drop_from_copy(&mut self, path: &Path, writer: Writer) -> Result<()> {
        if writer == Writer::Still {
            self.pending.push(Pending::Remove(path.to_owned()));
            return Ok(());
        }
        self.remove(path)
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        self.held.retain(|held, _| !held.starts_with(path));
        remove_any(&self.to.join(path))
    }
}

/// Without a note of when it was read, which would be a write; only its owner may ask for that.
fn open_source(path: &Path) -> io::Result<File> {
    match OpenOptions::new().read(true).custom_flags(OFlag::O_NOATIME.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        opened => opened,
    }
}

fn open_target(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
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
        // The latter below a directory that has become a file.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
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

#[cfg(test)]
mod tests;

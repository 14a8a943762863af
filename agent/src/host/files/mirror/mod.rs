//! A copy of a state directory that is made in two passes: one while the engine runs, which may take long, and one
//! while it is stopped or frozen, which copies only what changed since.
//!
//! The second pass is short because a raft directory hardly changes: finished log segments and snapshots never do, and
//! of the segment that is being written only the end does. A file counts as unchanged if device, inode, size, mtime and
//! ctime are those that it had *before* its bytes were read, and if the newer of the two times was
//! [`stamp::SETTLED_SECONDS`] old then: the kernel's clock for timestamps advances every few milliseconds, so a file
//! that was written a moment ago may be written again under the same stamp. (git calls such entries racily clean.) A
//! write through `mmap` may be stamped late; the one file of an engine that is written so, `worker/tasks.db`, is
//! excluded from backups.
//!
//! **Reading only.** While the writer is stopped the pass reads and writes nothing: what changed is kept in memory, up
//! to [`changes::HELD_BYTES`], and [`Mirror::apply`] puts it into the copy afterwards. To create, truncate or rename a file
//! takes a place in the filesystem's journal, which on a busy disk waits for others: half a second of pause was seen on
//! ext4 while a compiler ran, and less than one millisecond without it. Even reading is done without `atime`.
//!
//! **Logs.** Of a log that grew, only the end is copied again: from the last byte that was not zero before the first
//! pass read it, rounded down generously. That needs the log to be append-only, as etcd's is (`wal/encoder.go`,
//! `pageWriter`: only ever forward), and its preallocated rest to be zero. Neither is taken on trust: a reader of the
//! copy follows the log's checksums from the first byte to the last. Inode numbers are reused, so the time of birth
//! must be the same too; where none is known, a log is copied whole.

mod changes;
mod copied;
mod file;
mod paths;
mod stamp;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};

use super::copy::CopyLimits;
use changes::{Change, Changes, Grown};
use file::Pass;
use paths::{list, open_target, remove_any};
use stamp::Stamp;
use writer::tolerate;

pub use copied::{Copied, CopiedEntry, LeftOut};
pub use writer::Writer;

/// How a path is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Directories, and files that may change anywhere.
    Keep,
    /// A file that only ever grows at its end, within its size or beyond it.
    KeepLog,
    /// Excludes the path, for this reason.
    Exclude(&'static str),
}

/// The copy that is being made.
#[derive(Debug)]
pub struct Mirror {
    from: PathBuf,
    to: PathBuf,
    held: BTreeMap<PathBuf, Held>,
    changes: Changes,
}

/// Lists a directory that nobody writes to as a copy of it would be listed, without making one.
pub fn list_still(root: &Path, handling: &dyn Fn(&Path, &Metadata) -> Handling) -> Result<Copied> {
    let look_at = |path: &Path| {
        let path = root.join(path);
        fs::symlink_metadata(&path).with_context(|| format!("failed to look at {}", path.display()))
    };
    let mut listed = Copied::default();
    listed.entries.push(CopiedEntry::of(PathBuf::new(), &look_at(Path::new(""))?));
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for path in list(root, &directory)? {
            let metadata = look_at(&path)?;
            if let Handling::Exclude(why) = handling(&path, &metadata) {
                listed.left_out.push(LeftOut { path, why });
                continue;
            }
            if metadata.is_dir() {
                pending.push(path.clone());
            }
            listed.entries.push(CopiedEntry::of(path, &metadata));
        }
    }
    listed.entries.sort_by(|a, b| a.path.cmp(&b.path));
    listed.left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listed)
}

/// The copy's state of one path.
#[derive(Debug, Clone, Copy)]
enum Held {
    Dir,
    File {
        stamp: Stamp,
        /// True if the stamp was old enough for a later write to change it.
        settled: bool,
        /// The byte before which everything in a log is final.
        written: u64,
    },
}

impl Mirror {
    /// A mirror of `from` in the existing, empty directory `to`. Copies nothing yet.
    pub fn new(from: &Path, to: &Path) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), held: BTreeMap::new(), changes: Changes::default() }
    }

    /// Makes the copy the same as the original. `handling` gets each path relative to the root, and its attributes
    /// without following links; it must exclude anything but files and directories. Stamps are judged as of `now`.
    pub fn pass(
        &mut self,
        handling: &dyn Fn(&Path, &Metadata) -> Handling,
        writer: Writer,
        now: SystemTime,
        limits: &CopyLimits<'_>,
    ) -> Result<Copied> {
        // A pass that failed may have left some changes.
        self.changes = Changes::default();
        let mut copied = Copied::default();
        let root = fs::metadata(&self.from).with_context(|| format!("failed to look at {}", self.from.display()))?;
        copied.entries.push(CopiedEntry::of(PathBuf::new(), &root));
        let mut seen = BTreeSet::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            for path in tolerate(writer, list(&self.from, &directory))?.unwrap_or_default() {
                limits.check()?;
                let Some(metadata) = tolerate(writer, self.look_at(&path))? else {
                    continue;
                };
                let how = handling(&path, &metadata);
                if let Handling::Exclude(why) = how {
                    copied.left_out.push(LeftOut { path, why });
                    continue;
                }
                let pass = Pass { is_log: how == Handling::KeepLog, writer, now, limits };
                let Some(bytes) = self.keep(&path, &metadata, pass)? else { continue };
                copied.bytes += bytes;
                if metadata.is_dir() {
                    pending.push(path.clone());
                }
                seen.insert(path.clone());
                copied.entries.push(self.entry(path, &metadata, writer));
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

    /// Brings one path up to date. Returns the bytes that had to be copied; `None` for a file that changed meanwhile.
    fn keep(&mut self, path: &Path, metadata: &Metadata, pass: Pass<'_>) -> Result<Option<u64>> {
        if metadata.is_dir() {
            return self.keep_directory(path, pass.writer).map(|()| Some(0));
        }
        tolerate(pass.writer, self.keep_file(path, metadata, pass))
    }

    fn entry(&self, path: PathBuf, metadata: &Metadata, writer: Writer) -> CopiedEntry {
        let mut entry = CopiedEntry::of(path, metadata);
        // It may have grown since it was listed; a change that waits to be applied cannot.
        if let (Writer::Running, Some(Held::File { stamp, .. })) = (writer, self.held.get(&entry.path)) {
            entry.size = stamp.size;
        }
        entry
    }

    /// Puts what a pass over a [still](Writer::Still) original has read into the copy.
    pub fn apply(&mut self) -> Result<()> {
        for change in self.changes.take() {
            match change {
                Change::Remove(path) => self.remove(&path)?,
                Change::MakeDir(path) => self.make_dir(&path)?,
                Change::Write { grown: Grown { path, held, from, size }, data } => {
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
            self.changes.push(Change::MakeDir(path.to_owned()));
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

    /// Removes what the original no longer has, children first.
    fn remove_others(&mut self, seen: &BTreeSet<PathBuf>, writer: Writer) -> Result<()> {
        let gone: Vec<PathBuf> = self.held.keys().rev().filter(|path| !seen.contains(*path)).cloned().collect();
        gone.iter().try_for_each(|path| self.drop_from_copy(path, writer))
    }

    fn drop_from_copy(&mut self, path: &Path, writer: Writer) -> Result<()> {
        if writer == Writer::Still {
            self.changes.push(Change::Remove(path.to_owned()));
            return Ok(());
        }
        self.remove(path)
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        self.held.retain(|held, _| !held.starts_with(path));
        remove_any(&self.to.join(path))
    }
}

#[cfg(test)]
mod tests;

//! Sealed archives that are not yet in every vault, oldest first.
//!
//! An archive is in the spool before it is in any vault, and leaves it when it is in all of them; if the spool is full,
//! when it is in all that are required. No archive is dropped to make room: a full spool refuses the next backup, and a
//! file that is no archive any more is set aside.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use swarmdr_archive::BackupId;

use crate::{config::SpoolConfig, host::files::space::human_bytes, outcome::failure::Failure};

/// Extension of a file that is being written; it is no archive until it is renamed.
const PARTIAL: &str = "partial";

/// Directory below the spool for files that are no archives any more.
const DAMAGED: &str = "damaged";

/// The directory of the spool. One that does not exist counts as empty.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
}

/// A sealed archive in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    pub id: BackupId,
    pub path: PathBuf,
    pub size: u64,
}

impl Spool {
    /// The spool in this directory, which is not created yet.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Creates the directory on first use, and removes files that a killed run left half-written.
    ///
    /// The caller holds the host's lock, so no other run can be writing here.
    pub fn prepare(&self) -> Result<()> {
        let prepare = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            for entry in fs::read_dir(&self.dir)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == PARTIAL) {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        prepare().with_context(|| format!("failed to open the spool {}", self.dir.display()))
    }

    /// Lists the archives that wait to be stored, oldest first.
    pub fn waiting(&self) -> Result<Vec<Spooled>> {
        let list = || -> io::Result<Vec<Spooled>> {
            let mut waiting = Vec::new();
            for entry in entries(&self.dir)? {
                let (path, size) = (entry.path(), entry.metadata()?.len());
                let id =
                    path.file_name().and_then(|name| name.to_str()?.strip_suffix(".swarmdr")?.parse::<BackupId>().ok());
                if let Some(id) = id {
                    waiting.push(Spooled { id, path, size });
                }
            }
            waiting.sort_by_key(|spooled| spooled.id);
            Ok(waiting)
        };
        list().with_context(|| format!("failed to list the spool {}", self.dir.display()))
    }

    /// Lists the files that were set aside for the operator to examine, by name.
    pub fn damaged(&self) -> Result<Vec<PathBuf>> {
        let dir = self.dir.join(DAMAGED);
        let entries = entries(&dir).with_context(|| format!("failed to list {}", dir.display()))?;
        let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        Ok(paths)
    }

    /// Path of the archive `id` while it is written.
    pub fn partial(&self, id: BackupId) -> PathBuf {
        self.dir.join(format!("{id}.swarmdr.{PARTIAL}"))
    }

    /// Makes a written archive one that waits: flushes it to disk, and gives it its final name.
    pub fn admit(&self, id: BackupId) -> Result<Spooled> {
        let (from, path) = (self.partial(id), self.dir.join(format!("{id}.swarmdr")));
        let admit = || -> io::Result<u64> {
            let file = File::open(&from)?;
            file.sync_all()?;
            fs::rename(&from, &path)?;
            File::open(&self.dir)?.sync_all()?;
            Ok(file.metadata()?.len())
        };
        let size = admit().with_context(|| format!("failed to put {} into the spool", from.display()))?;
        Ok(Spooled { id, path, size })
    }

    /// Removes an archive that needs to wait no longer.
    pub fn release(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).with_context(|| format!("failed to remove {} from the spool", path.display()))
    }

    /// Moves a file that is no archive any more out of the way of the others. Returns its new path.
    pub fn set_aside(&self, spooled: &Spooled) -> Result<PathBuf> {
        let dir = self.dir.join(DAMAGED);
        let name = spooled.path.file_name().context("a spooled file has a name")?;
        let to = dir.join(name);
        let set_aside = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            fs::rename(&spooled.path, &to)
        };
        set_aside().with_context(|| format!("failed to move {} to {}", spooled.path.display(), dir.display()))?;
        Ok(to)
    }

    /// Refuses if there is no room for one more archive.
    pub fn require_room(&self, limits: &SpoolConfig) -> Result<()> {
        let waiting = self.waiting()?;
        if !is_full(&waiting, limits) {
            return Ok(());
        }
        let bytes = waiting.iter().map(|spooled| spooled.size).sum();
        Err(Failure::refused(format!(
            "the spool {} is full: {} archives of {} wait for a vault (limits: {} archives, {}); nothing is dropped, \
             and no further backup is made",
            self.dir.display(),
            waiting.len(),
            human_bytes(bytes),
            limits.max_count,
            human_bytes(limits.max_bytes)
        ))
        .advice("repair the vault that did not take them: the next run sends them, oldest first")
        .advice("or raise spool.max_count and spool.max_bytes")
        .into())
    }
}

/// Whether these archives leave no room for one more.
pub fn is_full(waiting: &[Spooled], limits: &SpoolConfig) -> bool {
    let bytes: u64 = waiting.iter().map(|spooled| spooled.size).sum();
    waiting.len() as u64 >= limits.max_count.into() || bytes >= limits.max_bytes
}

/// Lists a directory; one that does not exist counts as empty.
fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    fn id(text: &str) -> BackupId {
        text.parse().expect("is an id")
    }

    /// A spool that holds these, admitted in this order.
    fn spool(dir: &Path, ids: &[&str]) -> Spool {
        let spool = Spool::at(dir);
        spool.prepare().expect("is made");
        for text in ids {
            fs::write(spool.partial(id(text)), b"archive").expect("writes");
            spool.admit(id(text)).expect("admits");
        }
        spool
    }

    #[test]
    fn waits_oldest_first_and_forgets_what_was_half_written() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (new, old) = ("20261121T031500Z-00000002", "20261120T031500Z-00000001");
        spool(dir.path(), &[new, old]);
        fs::write(dir.path().join("20261122T031500Z-00000003.swarmdr.partial"), b"half").expect("writes");
        fs::write(dir.path().join("notes.txt"), b"not ours").expect("writes");

        let spool = spool(dir.path(), &[]);
        let waiting = spool.waiting().expect("lists");
        assert_eq!(waiting.iter().map(|spooled| spooled.id).collect::<Vec<_>>(), [id(old), id(new)]);
        assert_eq!(waiting[0].size, 7);
        assert!(dir.path().join("notes.txt").exists());
        assert!(!dir.path().join("20261122T031500Z-00000003.swarmdr.partial").exists());
        spool.release(&waiting[0].path).expect("releases");
        assert_eq!(spool.waiting().expect("lists").len(), 1);
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let spool = Spool::at(&dir.path().join("none"));
        assert!(spool.waiting().expect("lists").is_empty() && spool.damaged().expect("lists").is_empty());
        spool.require_room(&SpoolConfig::default()).expect("has room");
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn full_by_count_or_by_bytes_is_refused_and_keeps_everything() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let spool = spool(dir.path(), &["20261121T031500Z-00000002", "20261120T031500Z-00000001"]);
        let limits = |max_count, max_bytes| SpoolConfig { max_count, max_bytes, ..SpoolConfig::default() };
        for (limits, full) in
            [(limits(3, 15), false), (limits(2, 15), true), (limits(3, 14), true), (limits(3, 1), true)]
        {
            let room = spool.require_room(&limits);
            assert_eq!(room.is_err(), full, "{limits:?}");
            if let Err(error) = room {
                assert_eq!(Rendered::of(&error).exit, Exit::Refused);
            }
        }
        assert_eq!(spool.waiting().expect("lists").len(), 2);
    }

    #[test]
    fn what_is_set_aside_waits_no_more_and_is_kept() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let spool = spool(dir.path(), &["20261121T031500Z-00000002", "20261120T031500Z-00000001"]);
        let oldest = spool.waiting().expect("lists").remove(0);
        let to = spool.set_aside(&oldest).expect("moves");
        assert_eq!(fs::read(&to).expect("is kept"), b"archive");
        assert_eq!(spool.damaged().expect("lists"), [to]);
        assert_eq!(spool.waiting().expect("lists").len(), 1);
    }
}

//! Sealed archives that are not yet in every vault, oldest first.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use swarmdr_archive::BackupId;

/// A file that is being written; no archive until it is renamed.
const PARTIAL: &str = "partial";

/// The directory of the spool.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
}

/// A sealed archive in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    pub id: BackupId,
    pub path: PathBuf,
}

impl Spool {
    /// Opens the spool, made on first use, and clears what a killed run left half-written.
    ///
    /// The caller holds the host's lock: no other run can be writing here.
    pub fn open(dir: &Path) -> Result<Self> {
        let open = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == PARTIAL) {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        open().with_context(|| format!("failed to open the spool {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// What waits to be stored, oldest first.
    pub fn waiting(&self) -> Result<Vec<Spooled>> {
        let list = || -> io::Result<Vec<Spooled>> {
            let mut waiting = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let path = entry?.path();
                let id =
                    path.file_name().and_then(|name| name.to_str()?.strip_suffix(".swarmdr")?.parse::<BackupId>().ok());
                if let Some(id) = id {
                    waiting.push(Spooled { id, path });
                }
            }
            waiting.sort_by_key(|spooled| spooled.id);
            Ok(waiting)
        };
        list().with_context(|| format!("failed to list the spool {}", self.dir.display()))
    }

    /// Where the archive `id` is written before it is sealed.
    pub fn partial(&self, id: BackupId) -> PathBuf {
        self.dir.join(format!("{id}.swarmdr.{PARTIAL}"))
    }

    /// Makes a written archive one that waits: durable, under its name.
    pub fn admit(&self, id: BackupId) -> Result<Spooled> {
        let (from, path) = (self.partial(id), self.dir.join(format!("{id}.swarmdr")));
        let admit = || -> io::Result<()> {
            File::open(&from)?.sync_all()?;
            fs::rename(&from, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        admit().with_context(|| format!("failed to put {} into the spool", from.display()))?;
        Ok(Spooled { id, path })
    }

    /// Removes an archive that every vault has.
    pub fn release(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).with_context(|| format!("failed to remove {} from the spool", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_oldest_first_and_forgets_what_was_half_written() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let ids: Vec<BackupId> =
            ["20261121T031500Z-00000002", "20261120T031500Z-00000001"].map(|id| id.parse().expect("is an id")).to_vec();
        let spool = Spool::open(dir.path()).expect("opens");
        for id in &ids {
            fs::write(spool.partial(*id), b"archive").expect("writes");
            spool.admit(*id).expect("admits");
        }
        fs::write(dir.path().join("20261122T031500Z-00000003.swarmdr.partial"), b"half").expect("writes");
        fs::write(dir.path().join("notes.txt"), b"not ours").expect("writes");

        let spool = Spool::open(dir.path()).expect("opens again");
        let waiting = spool.waiting().expect("lists");
        assert_eq!(waiting.iter().map(|spooled| spooled.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
        assert!(dir.path().join("notes.txt").exists());
        assert!(!dir.path().join("20261122T031500Z-00000003.swarmdr.partial").exists());
        spool.release(&waiting[0].path).expect("releases");
        assert_eq!(spool.waiting().expect("lists").len(), 1);
    }
}

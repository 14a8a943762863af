//! Unpacks an archive durably into a staging directory, and prepares it to be put in place.

use std::{
    fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use serde::Deserialize;
use swarm_state::{
    self, Examined, Inventory, UnlockKey,
    specs::Item,
    state_dir::{ENGINE_STATE, KNOWN_MANAGERS},
};
use swarmdr_archive::{
    Contents, EntryKind, FileEntry, Identities, Limits, TrustedKeys,
    reader::{self, Body, Head, Unpacked, Visitor},
};

use super::specs::Specs;
use crate::{
    host::shutdown::Shutdown,
    outcome::{failure::Failure, progress::Bar},
};

/// Files that are not put in place. With the first one the engine would start as a member of the old cluster (and it
/// deletes the whole directory if certificates are missing). The second one lists managers that are gone.
/// `POST /swarm/init` writes both again.
const NOT_PLACED: [&str; 2] = [ENGINE_STATE, KNOWN_MANAGERS];

/// Unpacks into the existing, empty directory `staging`, checks every byte of the archive, and flushes to disk what
/// it wrote. Blocking.
pub fn unpack(
    archive: impl Read,
    keys: &TrustedKeys,
    identities: &Identities,
    staging: &Path,
    bar: Bar,
    shutdown: &Shutdown,
) -> Result<Unpacked> {
    let mut unpacker = Unpacker { root: staging, directories: Vec::new(), bar, shutdown };
    let unpacked = reader::unpack(archive, keys, identities, &Limits::default(), &mut unpacker)?;
    unpacker.flush_directories()?;
    Ok(unpacked)
}

/// A staged state that is ready to be put in place.
#[derive(Debug)]
pub struct Staged {
    pub contents: Contents,
    pub examined: Examined,
    /// The objects with their specs; none unless they were asked for and the state is proven.
    pub items: Vec<Item>,
}

impl Staged {
    /// Returns the inventory that was recorded when the backup was made.
    pub fn recorded(&self) -> Result<Inventory> {
        Inventory::deserialize(&self.contents.inventory)
            .context("the backup holds no inventory that this version understands")
    }
}

/// Reads the unpacked state as an engine would (an autolocked one with the unlock key), and removes the files that must
/// not be put in place. The caller decides whether the state may be put in place. Blocking.
pub fn make_ready(unpacked: Unpacked, staging: &Path, unlock_key: Option<&UnlockKey>, specs: Specs) -> Result<Staged> {
    let staged = examine(unpacked, staging, unlock_key, specs)?;
    take_out_engine_state(staging)?;
    Ok(staged)
}

/// Reads the unpacked state as [`make_ready`] does, and removes nothing: an engine starts with it as the member that it is.
/// Blocking.
pub fn examine(unpacked: Unpacked, staging: &Path, unlock_key: Option<&UnlockKey>, specs: Specs) -> Result<Staged> {
    let (examined, items) = specs.examine(staging, unlock_key).map_err(|error| match error {
        swarm_state::Error::WrongUnlockKey { .. } => Failure::refused("the unlock key that was given does not open this backup")
            .advice("find the key that was valid when the backup was made: `docker swarm unlock-key --rotate` made it another one")
            .because(error)
            .into(),
        error => anyhow::Error::new(error).context("the backup holds no usable manager state"),
    })?;
    Ok(Staged { contents: unpacked.contents, examined, items })
}

/// Removes the files with which an engine would start as a member of the old cluster, and flushes the directory.
pub fn take_out_engine_state(state_dir: &Path) -> Result<()> {
    for name in NOT_PLACED {
        remove_if_there(&state_dir.join(name))?;
    }
    File::open(state_dir)?.sync_all()?;
    Ok(())
}

/// Flushes to disk a whole tree that was copied without flushing. Blocking.
pub fn flush_tree(dir: &Path) -> Result<()> {
    let flush = || -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => flush_tree(&entry.path())?,
                false => File::open(entry.path())?.sync_all()?,
            }
        }
        Ok(File::open(dir)?.sync_all()?)
    };
    flush().with_context(|| format!("failed to flush {}", dir.display()))
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

struct Unpacker<'a> {
    root: &'a Path,
    /// Unpacked directories with their final modes, which may forbid writing. The modes are set last, children first.
    directories: Vec<(PathBuf, FileEntry)>,
    bar: Bar,
    shutdown: &'a Shutdown,
}

impl Visitor for Unpacker<'_> {
    fn contents(&mut self, _: &Head, _: &Contents) -> io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &FileEntry, body: &mut Body<'_>) -> io::Result<()> {
        self.shutdown.check().map_err(|error| io::Error::new(io::ErrorKind::Interrupted, error))?;
        let path = self.root.join(entry.path.state_relative());
        match entry.kind {
            EntryKind::Dir => {
                let is_root = entry.path.state_relative().as_os_str().is_empty();
                if !is_root {
                    DirBuilder::new().mode(0o700).create(&path)?;
                }
                self.directories.push((path, entry.clone()));
            }
            EntryKind::File => {
                write_file(&path, entry, body)?;
                self.bar.advance(entry.size);
            }
        }
        Ok(())
    }
}

impl Unpacker<'_> {
    fn flush_directories(&self) -> Result<()> {
        for (path, entry) in self.directories.iter().rev() {
            let finish = || -> io::Result<()> {
                give_to_its_owner(path, entry)?;
                fs::set_permissions(path, Permissions::from_mode(entry.mode))?;
                File::open(path)?.sync_all()
            };
            finish().with_context(|| format!("failed to finish the directory {}", path.display()))?;
        }
        Ok(())
    }
}

/// Changes the owner only if it differs: hardened units forbid chown altogether, and nearly everything in a state
/// belongs to root, who also unpacks it.
fn give_to_its_owner(path: &Path, entry: &FileEntry) -> io::Result<()> {
    let present = fs::symlink_metadata(path)?;
    if (present.uid(), present.gid()) == (entry.uid, entry.gid) {
        return Ok(());
    }
    chown(path, Some(entry.uid), Some(entry.gid))
}

fn write_file(path: &Path, entry: &FileEntry, body: &mut Body<'_>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    body.copy_sparse_to(&mut file)?;
    file.set_len(entry.size)?;
    give_to_its_owner(path, entry)?;
    file.set_permissions(Permissions::from_mode(entry.mode))?;
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(entry.mtime)))?;
    file.sync_all()
}

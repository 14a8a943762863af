//! Unpacks an archive into a staging directory, durably, and makes it ready to be placed.

use std::{
    fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions},
    io::{self, BufReader, Read, Seek},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use serde::Deserialize;
use swarmdr_archive::{
    Contents, EntryKind, FileEntry, Identities, Limits, TrustedKeys,
    reader::{self, Body, Head, Unpacked, Visitor},
};

use crate::{
    fault::Fault,
    progress::Bar,
    shutdown::Shutdown,
    swarm::{
        self, Examined, Inventory, UnlockKey,
        state_dir::{ENGINE_STATE, KNOWN_MANAGERS},
    },
    unlock_key::GivenKey,
};

/// Not put in place: with the first the engine would start as a member of the old cluster (and it
/// deletes the whole directory if certificates are missing); the second names managers that are gone.
/// `POST /swarm/init` writes both anew.
const NOT_PLACED: [&str; 2] = [ENGINE_STATE, KNOWN_MANAGERS];

/// Unpacks into the existing, empty directory `staging`, checks every byte of the archive, and flushes
/// what it wrote to disk. Blocking.
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

/// What opens an archive, and an autolocked state in it.
#[derive(Debug, Clone)]
pub struct Keys {
    pub trusted: TrustedKeys,
    pub identities: Arc<Identities>,
    pub unlock_key: Option<GivenKey>,
}

/// [`unpack`] and [`make_ready`], off the runtime's thread, from the archive's first byte on.
pub async fn stage(mut archive: File, staging: PathBuf, keys: Keys, bar: Bar, shutdown: Shutdown) -> Result<Staged> {
    let work = tokio::task::spawn_blocking(move || -> Result<Staged> {
        archive.rewind()?;
        let Keys { trusted, identities, unlock_key } = keys;
        let unpacked = unpack(BufReader::new(archive), &trusted, &identities, &staging, bar, &shutdown)?;
        make_ready(unpacked, &staging, unlock_key.as_ref().map(GivenKey::for_state))
    });
    work.await.context("the unpacking ended unexpectedly")?
}

/// A state that is ready to be placed.
#[derive(Debug)]
pub struct Staged {
    pub contents: Contents,
    pub examined: Examined,
}

impl Staged {
    /// What the backup says it holds.
    pub fn recorded(&self) -> Result<Inventory> {
        Inventory::deserialize(&self.contents.inventory)
            .context("the backup holds no inventory that this version understands")
    }
}

/// Reads the unpacked state as an engine would, opening a locked one with the unlock key, and takes out what must not
/// be placed. Whether it may be placed is for the caller to say. Blocking.
pub fn make_ready(unpacked: Unpacked, staging: &Path, unlock_key: Option<&UnlockKey>) -> Result<Staged> {
    let examined = swarm::examine(staging, unlock_key).map_err(|error| match error {
        swarm::Error::WrongUnlockKey { .. } => Fault::refused("the unlock key that was given does not open this backup")
            .advice("find the key that was valid when the backup was made: `docker swarm unlock-key --rotate` made it another one")
            .because(error)
            .into(),
        error => anyhow::Error::new(error).context("the backup holds no usable manager state"),
    })?;
    take_out_engine_state(staging)?;
    Ok(Staged { contents: unpacked.contents, examined })
}

/// Removes the files with which an engine would start as a member of the old cluster. Flushed.
pub fn take_out_engine_state(state_dir: &Path) -> Result<()> {
    for name in NOT_PLACED {
        remove_if_there(&state_dir.join(name))?;
    }
    File::open(state_dir)?.sync_all()?;
    Ok(())
}

/// Flushes a whole tree that was copied without. Blocking.
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
    /// With their final modes, which may forbid writing; set in the end, children first.
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

/// Hardened units forbid the call altogether, and nearly everything in a state is root's, as whoever unpacks it is.
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

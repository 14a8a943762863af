//! A stream in a directory vault: a file that is put together of parts.
//!
//! All parts but the first are written where they belong among each other, into a temporary file, while the stream runs.
//! Part 1 holds the head, whose length is known only at the end, so no room can be left for it in advance. At the end,
//! if part 1 is a whole number of blocks (4096 bytes on most filesystems), ext4 and XFS insert room for it in front of
//! what is written without moving it (`FALLOC_FL_INSERT_RANGE`). Otherwise the file is copied behind part 1 into another
//! one, which takes as much room again until the first one is removed. The kernel copies (`copy_file_range`), without the
//! bytes passing through this process. So a head that is padded to whole blocks saves writing a long stream twice.
//!
//! Then the file is synced, read back, compared with the SHA-256 of each part, and given its name, as every other.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use swarmdr_archive::{Digest, Hasher};
use tempfile::NamedTempFile;

use super::{DirectoryVault, ONLY_VERSION, publish};
use crate::{Checksum, Part, Parts, Placed, Progress, SentPart, Source, VaultError, VersionRef, parts::checksum_of};

const BUFFER: usize = 256 * 1024;

/// A file that was begun. Its temporary file is removed when this is dropped.
#[derive(Debug)]
pub struct DirectoryParts<'a> {
    vault: &'a DirectoryVault,
    path: PathBuf,
    key: String,
    /// The parts from number 2 on. Taken by the completion.
    rest: Mutex<Option<NamedTempFile>>,
    /// Part 1, which stays in memory until all is put together.
    first: Mutex<Option<Source>>,
}

impl<'a> DirectoryParts<'a> {
    pub fn begin(vault: &'a DirectoryVault, path: PathBuf, key: &str) -> Result<Self, VaultError> {
        publish::prepare(vault, &path, key)?;
        let rest = publish::temporary_beside(&path).map_err(|error| vault.error("store", key, &error))?;
        Ok(Self { vault, path, key: key.to_owned(), rest: Mutex::new(Some(rest)), first: Mutex::default() })
    }

    fn failed(&self, error: &io::Error) -> VaultError {
        self.vault.error("store", &self.key, error)
    }

    fn handle(&self) -> io::Result<File> {
        match &*self.rest.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.as_file().try_clone(),
            None => Err(io::Error::other("it was put together already")),
        }
    }
}

#[async_trait]
impl Parts for DirectoryParts<'_> {
    async fn put(&self, part: &Part, progress: Progress<'_>) -> Result<SentPart, VaultError> {
        let Part { number, offset, ref source, sha256 } = *part;
        let size = source.size();
        if number == 1 {
            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(source.clone());
        } else {
            let (file, source) = (self.handle().map_err(|error| self.failed(&error))?, source.clone());
            let written = tokio::task::spawn_blocking(move || write_at(&file, offset, &source)).await;
            written.map_err(io::Error::other).flatten().map_err(|error| self.failed(&error))?;
        }
        progress(size);
        Ok(SentPart { number, size, sha256, etag: None })
    }

    async fn complete(&self, sent: &[SentPart]) -> Result<Option<Placed>, VaultError> {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // An earlier attempt took it.
        let Some(rest) = rest else { return Ok(None) };
        let first = first.ok_or_else(|| self.failed(&io::Error::other("part 1 is missing")))?;
        let insertable = first.size() > 0 && rest.as_file().metadata().is_ok_and(|metadata| metadata.len() > 0);
        let whole = match insertable.then(|| insert_room(rest.as_file(), first.size())) {
            Some(Ok(())) => Joining::Before(rest),
            _ => {
                let size = sent.iter().map(|part| part.size).sum();
                let directory = self.path.parent().unwrap_or(&self.vault.root);
                publish::refuse_full(self.vault, directory, &self.key, size)?;
                Joining::Behind(rest)
            }
        };
        let (path, parts) = (self.path.clone(), sent.to_vec());
        let joined = tokio::task::spawn_blocking(move || {
            let file = whole.join(&first, &path)?;
            let unequal = find_unequal(file.as_file(), &parts)?;
            Ok((file, unequal))
        });
        let joined = joined.await.map_err(io::Error::other).flatten();
        let (file, unequal) = joined.map_err(|error| self.failed(&error))?;
        if let Some((expected, found)) = unequal {
            let (vault, key) = (self.vault.address.clone(), self.key.clone());
            let [expected, found] = [expected, found].map(|sha256| Checksum::Whole(sha256).to_string());
            return Err(VaultError::ChecksumMismatch { vault, key, expected, found });
        }
        publish::give_name(self.vault, file, &self.path, &self.key)?;
        Ok(Some(Placed { at: VersionRef::new(&self.key, ONLY_VERSION), checksum: checksum_of(sent), read_back: true }))
    }

    /// Dropping it is enough.
    async fn abort(self: Box<Self>) {}
}

/// Writes one part, to the disk and not only into the page cache, which is too small for a long stream.
fn write_at(file: &File, offset: u64, source: &Source) -> io::Result<()> {
    let mut at = offset;
    source.read_blocking(|bytes| {
        file.write_all_at(bytes, at)?;
        at += bytes.len() as u64;
        Ok(())
    })?;
    file.sync_data()?;
    forget_pages(file);
    Ok(())
}

/// Only advice: it keeps other programs' pages in memory, and makes what is read back come from the disk.
fn forget_pages(file: &File) {
    let _advice = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// Inserts room at the start of a file. Fails if the size is no whole number of blocks, or the filesystem cannot do it.
fn insert_room(file: &File, size: u64) -> io::Result<()> {
    let size = i64::try_from(size).map_err(io::Error::other)?;
    Ok(fallocate(file.as_fd(), FallocateFlags::FALLOC_FL_INSERT_RANGE, 0, size)?)
}

/// How part 1 and the rest come together.
enum Joining {
    /// Into the room in front of the rest.
    Before(NamedTempFile),
    /// Into another file, in which the rest follows.
    Behind(NamedTempFile),
}

impl Joining {
    fn join(self, first: &Source, path: &Path) -> io::Result<NamedTempFile> {
        let whole = match self {
            Self::Before(whole) => {
                let mut at = 0;
                first.read_blocking(|bytes| {
                    whole.as_file().write_all_at(bytes, at)?;
                    at += bytes.len() as u64;
                    Ok(())
                })?;
                whole
            }
            Self::Behind(mut rest) => {
                let mut whole = publish::temporary_beside(path)?;
                first.read_blocking(|bytes| whole.write_all(bytes))?;
                rest.as_file_mut().seek(SeekFrom::Start(0))?;
                // Between files, this is `copy_file_range`.
                io::copy(rest.as_file_mut(), whole.as_file_mut())?;
                whole
            }
        };
        whole.as_file().sync_all()?;
        Ok(whole)
    }
}

/// Reads all parts back. Returns the SHA-256 of the first that is not as it was sent: as sent, and as found.
fn find_unequal(file: &File, sent: &[SentPart]) -> io::Result<Option<([u8; 32], [u8; 32])>> {
    forget_pages(file);
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    for part in sent {
        let (_, digest) = Digest::of_reader(file.take(part.size))?;
        if *digest.as_bytes() != part.sha256 {
            return Ok(Some((part.sha256, *digest.as_bytes())));
        }
    }
    let behind = file.metadata()?.size().saturating_sub(sent.iter().map(|part| part.size).sum());
    if behind > 0 {
        let (sent, found) = (Hasher::default(), Digest::of_reader(file.take(BUFFER as u64))?.1);
        return Ok(Some((*sent.finish().1.as_bytes(), *found.as_bytes())));
    }
    Ok(None)
}

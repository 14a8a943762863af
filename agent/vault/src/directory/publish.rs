//! Gives a file its name in a directory vault once it is complete and on the disk.

use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use nix::{
    fcntl::{PosixFadviseAdvice, posix_fadvise},
    sys::statvfs::statvfs,
};
use swarmdr_archive::{Digest, Hasher};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{DirectoryVault, listing::UNFINISHED};
use crate::{Checksum, Progress, Upload, VaultError};

const BUFFER: usize = 256 * 1024;

/// Copies the upload to `path`, which must not exist. On any failure, and when dropped, the temporary file is removed.
pub async fn publish(
    vault: &DirectoryVault,
    path: &Path,
    upload: &Upload,
    progress: Progress<'_>,
) -> Result<(), VaultError> {
    let key = &upload.key;
    let directory = prepare(vault, path, key)?;
    refuse_full(vault, directory, key, upload.size)?;
    let temporary = temporary_beside(path).map_err(|error| vault.error("store", key, &error))?;
    copy(vault, upload, &temporary, progress).await?;
    verify(vault, upload, &temporary).await?;
    give_name(vault, temporary, path, key)
}

/// Refuses a key that is taken, and makes its directory, which is returned.
pub fn prepare<'a>(vault: &'a DirectoryVault, path: &'a Path, key: &str) -> Result<&'a Path, VaultError> {
    refuse_taken(vault, path, key)?;
    let directory = path.parent().unwrap_or(&vault.root);
    make_directories(&vault.root, directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VaultError::Unusable {
            vault: vault.address.clone(),
            action: format!("create the vault's directory `{}`", vault.root.display()),
            detail: "its parent does not exist".into(),
            advice: "create it, or mount the disk that should hold it".into(),
        },
        _ => vault.error("store", key, &error),
    })?;
    Ok(directory)
}

/// Makes a temporary file in the directory of `path`, which is removed when it is dropped.
pub fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path.parent().unwrap_or(Path::new("/"));
    tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(UNFINISHED).tempfile_in(directory)
}

/// Gives a file that is complete and on the disk its name, which must be free.
pub fn give_name(vault: &DirectoryVault, file: NamedTempFile, path: &Path, key: &str) -> Result<(), VaultError> {
    let failed = |error: io::Error| vault.error("store", key, &error);
    // Refuses an existing name in the same step that gives the name.
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => taken(vault, path, key),
        _ => failed(error.error),
    })?;
    sync_directory(path.parent().unwrap_or(&vault.root)).map_err(failed)
}

/// Replaces a small file as a whole: a reader finds the old content or the new one. It is not read back: the next one
/// follows soon.
pub fn replace(vault: &DirectoryVault, path: &Path, key: &str, bytes: &[u8]) -> Result<(), VaultError> {
    let write = || -> io::Result<()> {
        let directory = path.parent().unwrap_or(&vault.root);
        make_directories(&vault.root, directory)?;
        let mut new = temporary_beside(path)?;
        new.write_all(bytes)?;
        new.as_file().sync_all()?;
        new.persist(path)?;
        sync_directory(directory)
    };
    write().map_err(|error| vault.error("replace", key, &error))
}

/// Refuses early, to save the copy; the rename decides.
fn refuse_taken(vault: &DirectoryVault, path: &Path, key: &str) -> Result<(), VaultError> {
    if path.symlink_metadata().is_ok() { Err(taken(vault, path, key)) } else { Ok(()) }
}

fn taken(vault: &DirectoryVault, path: &Path, key: &str) -> VaultError {
    let found = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => format!("{} bytes", metadata.len()),
        _ => "not a regular file".into(),
    };
    VaultError::AlreadyExists { vault: vault.address.clone(), key: key.to_owned(), found }
}

pub fn refuse_full(vault: &DirectoryVault, directory: &Path, key: &str, size: u64) -> Result<(), VaultError> {
    let space = statvfs(directory).map_err(|errno| vault.error("store", key, &errno.into()))?;
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    if free >= size {
        return Ok(());
    }
    Err(VaultError::NoSpace {
        vault: vault.address.clone(),
        action: format!("store `{key}`"),
        detail: format!("{size} bytes needed, {free} free"),
    })
}

async fn copy(
    vault: &DirectoryVault,
    upload: &Upload,
    temporary: &NamedTempFile,
    progress: Progress<'_>,
) -> Result<(), VaultError> {
    let unread = |error| upload.source.unread(error);
    let unwritten = |error: io::Error| vault.error("store", &upload.key, &error);
    let mut source = upload.source.open().await.map_err(unread)?;
    let mut target = tokio::fs::File::from_std(temporary.as_file().try_clone().map_err(unwritten)?);
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    loop {
        let n = source.read(&mut buffer).await.map_err(unread)?;
        if n == 0 {
            break;
        }
        target.write_all(&buffer[..n]).await.map_err(unwritten)?;
        done += n as u64;
        progress(done);
    }
    target.flush().await.map_err(unwritten)?;
    target.sync_all().await.map_err(unwritten)
}

/// Reads the copy back: from the disk, not from the page cache, if the filesystem permits.
async fn verify(vault: &DirectoryVault, upload: &Upload, temporary: &NamedTempFile) -> Result<(), VaultError> {
    let failed = |error: io::Error| vault.error("read back", &upload.key, &error);
    // Only advice: if it is not followed, the bytes come from memory, and the comparison still sees what was written.
    let _advice = posix_fadvise(temporary.as_file(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    let file = tokio::fs::File::open(temporary.path()).await.map_err(failed)?;
    let (size, digest) = hash(file).await.map_err(failed)?;
    let sha256 = *digest.as_bytes();
    if (size, sha256) == (upload.size, upload.sha256) {
        return Ok(());
    }
    let describe = |size: u64, sha256| format!("{size} bytes with {}", Checksum::Whole(sha256));
    Err(VaultError::ChecksumMismatch {
        vault: vault.address.clone(),
        key: upload.key.clone(),
        expected: describe(upload.size, upload.sha256),
        found: describe(size, sha256),
    })
}

/// Reads to the end without blocking, and stops when it is dropped.
async fn hash(mut file: tokio::fs::File) -> io::Result<(u64, Digest)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Makes the missing directories from the vault's root down, for the owner only. The root's parent must exist: a vault
/// on a disk that is not mounted must not be made on the disk below.
fn make_directories(root: &Path, directory: &Path) -> io::Result<()> {
    let mut missing: Vec<&Path> =
        directory.ancestors().take_while(|path| path.starts_with(root) && !path.is_dir()).collect();
    while let Some(path) = missing.pop() {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made?,
        }
        sync_directory(path.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(())
}

pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

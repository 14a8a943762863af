//! A vault in a directory: atomic and create-only, but neither versioned nor locked. It belongs on a disk of another
//! host.
//!
//! A temporary file is written, synced and read back before it gets its name, so files with a name are whole. A killed
//! run leaves `.<name>.<random>.part`, which is never listed and is reported by [`Vault::unfinished`].

mod listing;
mod parts;
mod publish;

use std::{
    fs::DirBuilder,
    io::{self, SeekFrom},
    ops::Range,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use jiff::Timestamp;
use nix::{
    libc::O_NOFOLLOW,
    unistd::{AccessFlags, access},
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{
    Checksum, Content, Draft, Lock, LockPolicy, Marker, ObjectHead, Page, PartLimits, Parts, Placed, Progress,
    Tampering, Target, Upload, Vault, VaultError, Version, VersionRef,
};

/// The version id of every object in a vault without versions.
const ONLY_VERSION: &str = "null";

/// A directory that keeps archives.
#[derive(Debug)]
pub struct DirectoryVault {
    root: PathBuf,
    address: String,
    /// True if the first put makes the directory. Others are made by an operator: if the disk is not mounted, writing
    /// would go to another one.
    is_own: bool,
}

impl DirectoryVault {
    /// Touches nothing. The directory must exist before anything is put or listed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { address: format!("file://{}", root.display()), root, is_own: false }
    }

    /// The agent's own vault. The first put makes the directory; its parent must exist.
    pub fn own(root: impl Into<PathBuf>) -> Self {
        Self { is_own: true, ..Self::new(root) }
    }

    fn require_there(&self) -> Result<(), VaultError> {
        if self.is_own || !matches!(self.root.try_exists(), Ok(false)) {
            return Ok(());
        }
        Err(VaultError::Unusable {
            vault: self.address.clone(),
            action: format!("use the directory `{}`", self.root.display()),
            detail: "it is not there".into(),
            advice: "mount its disk, or make it with `swarmdr-agent doctor --make-vault`".into(),
        })
    }

    /// Returns the file of a key. Refuses keys that would leave the directory, or be hidden in it.
    fn path_of(&self, key: &str) -> Result<PathBuf, VaultError> {
        let why = if key.is_empty() || key.split('/').any(str::is_empty) {
            "it has an empty part"
        } else if key.split('/').any(|part| part.starts_with('.')) {
            "a part of it starts with a dot"
        } else if key.contains('\0') {
            "it holds a NUL"
        } else {
            return Ok(self.root.join(key));
        };
        Err(VaultError::InvalidKey { vault: self.address.clone(), key: key.into(), why })
    }

    fn path_of_version(&self, version: &VersionRef) -> Result<PathBuf, VaultError> {
        if version.id == ONLY_VERSION {
            return self.path_of(&version.key);
        }
        Err(self.not_found(&version.key))
    }

    fn not_found(&self, key: &str) -> VaultError {
        VaultError::NotFound { vault: self.address.clone(), key: key.into() }
    }

    /// Classifies an error of `action` on a key or a directory, `about`.
    fn error(&self, action: &str, about: &str, error: &io::Error) -> VaultError {
        let vault = self.address.clone();
        let (action, detail) = (format!("{action} `{about}`"), error.to_string());
        match error.kind() {
            io::ErrorKind::NotFound => VaultError::NotFound { vault, key: about.into() },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                VaultError::AccessDenied { vault, action, detail }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => VaultError::NoSpace { vault, action, detail },
            _ => VaultError::Other { vault, action, detail },
        }
    }

    async fn open_file(&self, version: &VersionRef) -> Result<(tokio::fs::File, std::fs::Metadata), VaultError> {
        let path = self.path_of_version(version)?;
        let failed = |error: io::Error| self.error("open", &version.key, &error);
        let file =
            tokio::fs::OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path).await.map_err(failed)?;
        let metadata = file.metadata().await.map_err(failed)?;
        if !metadata.is_file() {
            return Err(self.not_found(&version.key));
        }
        Ok((file, metadata))
    }
}

/// Makes the directory of a vault, but not its parents; the agent's own is left to the first put. True if it is new.
pub fn make_directory(target: &Target) -> io::Result<bool> {
    let Target::Directory(path) = target else { return Ok(false) };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        made => made.map(|()| true),
    }
}

#[async_trait]
impl Vault for DirectoryVault {
    fn address(&self) -> &str {
        &self.address
    }

    fn lock_policy(&self) -> Option<LockPolicy> {
        None
    }

    async fn check(&self) -> Result<(), VaultError> {
        self.require_there()?;
        let place = match self.root.try_exists() {
            Ok(false) => self.root.parent().unwrap_or(Path::new("/")),
            _ => &self.root,
        };
        let about = place.display().to_string();
        let metadata = tokio::fs::metadata(place).await.map_err(|error| self.error("look at", &about, &error))?;
        if !metadata.is_dir() {
            return Err(self.error("use", &about, &io::ErrorKind::NotADirectory.into()));
        }
        access(place, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)
            .map_err(|errno| self.error("write into", &about, &errno.into()))
    }

    async fn put(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        let path = self.path_of(&upload.key)?;
        self.require_there()?;
        publish::publish(self, &path, upload, progress).await?;
        Ok(Placed {
            at: VersionRef::new(&upload.key, ONLY_VERSION),
            checksum: Checksum::Whole(upload.sha256),
            read_back: true,
        })
    }

    /// A file has no parts when it is complete.
    fn part_limits(&self) -> PartLimits {
        PartLimits { smallest: 1, largest: u64::MAX, most: u32::MAX }
    }

    async fn begin<'a>(&'a self, draft: &Draft) -> Result<Box<dyn Parts + 'a>, VaultError> {
        let path = self.path_of(&draft.key)?;
        self.require_there()?;
        Ok(Box::new(parts::DirectoryParts::begin(self, path, &draft.key)?))
    }

    async fn put_over(&self, key: &str, bytes: &[u8], _: Timestamp) -> Result<(), VaultError> {
        let path = self.path_of(key)?;
        self.require_there()?;
        publish::replace(self, &path, key, bytes)
    }

    async fn head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError> {
        let (_, metadata) = self.open_file(version).await?;
        Ok(ObjectHead { size: metadata.len(), checksum: None, lock: None })
    }

    async fn list_versions(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError> {
        self.require_there()?;
        let (root, under) = (self.root.clone(), under.to_owned());
        let after = after.map(|marker| marker.key.clone());
        let listed = tokio::task::spawn_blocking(move || listing::page(&root, &under, after.as_deref())).await;
        let (found, more) = listed
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| self.error("list", &self.root.display().to_string(), &error))?;
        let versions: Vec<_> = found.into_iter().map(only_version).collect();
        let next = versions.last().filter(|_| more).map(|last| Marker::after_key(&last.at.key));
        Ok(Page { versions, next })
    }

    async fn open(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError> {
        let (mut file, _) = self.open_file(version).await?;
        file.seek(SeekFrom::Start(range.start)).await.map_err(|error| self.error("read", &version.key, &error))?;
        Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
    }

    async fn delete_version(&self, version: &VersionRef) -> Result<(), VaultError> {
        let path = self.path_of_version(version)?;
        let failed = |error: io::Error| self.error("delete", &version.key, &error);
        tokio::fs::remove_file(&path).await.map_err(failed)?;
        publish::sync_directory(path.parent().unwrap_or(&self.root)).map_err(failed)
    }

    async fn extend_lock(&self, version: &VersionRef, _: Lock) -> Result<(), VaultError> {
        Err(VaultError::Other {
            vault: self.address.clone(),
            action: format!("extend the lock of `{}`", version.key),
            detail: "a directory has no locks".into(),
        })
    }

    /// A file has no lock to shorten and no version to hide it below.
    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError> {
        match how {
            Tampering::Delete { .. } => self.delete_version(version).await,
            Tampering::Shorten { .. } | Tampering::Hide | Tampering::Overlay => Err(VaultError::Other {
                vault: self.address.clone(),
                action: format!("change the lock of `{}`", version.key),
                detail: "a directory has no locks".into(),
            }),
        }
    }

    async fn clock(&self) -> Result<Option<Timestamp>, VaultError> {
        Ok(None)
    }

    async fn unfinished(&self) -> Result<Vec<String>, VaultError> {
        let root = self.root.clone();
        let found = tokio::task::spawn_blocking(move || listing::leftovers(&root)).await;
        let found = found.map_err(io::Error::other).flatten();
        let found = found.map_err(|error| self.error("list", &self.root.display().to_string(), &error))?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    async fn discard_unfinished(&self, under: &str, before: Timestamp) -> Result<Vec<String>, VaultError> {
        let (root, under) = (self.root.clone(), under.to_owned());
        tokio::task::spawn_blocking(move || listing::remove_leftovers(&root, &under, before.into()))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| self.error("remove unfinished files in", &self.root.display().to_string(), &error))
    }
}

fn only_version((key, metadata): (String, std::fs::Metadata)) -> Version {
    let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    Version {
        at: VersionRef::new(key, ONLY_VERSION),
        size: metadata.len(),
        modified: modified.unwrap_or(Timestamp::UNIX_EPOCH),
        is_latest: true,
        is_delete_marker: false,
    }
}

#[cfg(test)]
mod tests;

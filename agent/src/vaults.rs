//! The configured vaults, connected; and what a run does with all of them.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use swarmdr_archive::{BackupId, Digest, TrustedKeys, reader, writer::Sealed};

use crate::{
    config::Config,
    progress::Progress,
    vault::{Lock, Upload, Vault, VaultSettings, object_name::ObjectName, store},
};

/// One vault of the configuration.
#[derive(Debug, Clone)]
pub struct Connected {
    pub settings: VaultSettings,
    pub vault: Arc<dyn Vault>,
}

/// Where one vault keeps a backup.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    pub vault: String,
    pub key: String,
    pub version: String,
    pub size: u64,
    /// The retention in effect, read back; absent where the vault cannot lock.
    pub lock: Option<Lock>,
    /// This run put it there; otherwise an earlier one had.
    pub new: bool,
}

/// Sets the clients up; sends nothing.
pub async fn connect(config: &Config) -> Result<Vec<Connected>> {
    let mut connected = Vec::new();
    let proxies = config.proxies()?;
    for settings in config.vaults() {
        let vault = settings
            .target()?
            .connect(&proxies)
            .await
            .with_context(|| format!("failed to set up the vault {}", settings.url))?;
        connected.push(Connected { settings, vault });
    }
    Ok(connected)
}

/// A sealed archive in a file, and what its manifest and its bytes are known to be.
#[derive(Debug, Clone)]
pub struct Archive {
    pub path: PathBuf,
    pub cluster: String,
    pub id: BackupId,
    pub sequence: u64,
    /// Of its manifest.
    pub digest: Digest,
    pub size: u64,
    pub sha256: Digest,
}

impl Archive {
    pub fn sealed(path: &Path, sealed: &Sealed) -> Self {
        Self {
            path: path.to_owned(),
            cluster: sealed.manifest.cluster_id.clone(),
            id: sealed.manifest.id,
            sequence: sealed.manifest.sequence,
            digest: sealed.manifest_digest,
            size: sealed.size,
            sha256: sealed.sha256,
        }
    }

    /// Reads and verifies one that an earlier run sealed. Blocking.
    pub fn read(path: &Path, keys: &TrustedKeys) -> Result<Self> {
        let read = || -> Result<Self> {
            let mut input = HashingReader { inner: BufReader::new(File::open(path)?), hash: Sha256::new() };
            let head = reader::verify_stored(&mut input, keys)?;
            Ok(Self {
                path: path.to_owned(),
                cluster: head.manifest.cluster_id.clone(),
                id: head.manifest.id,
                sequence: head.manifest.sequence,
                digest: head.manifest_digest,
                size: head.archive_size,
                sha256: Digest::from(<[u8; 32]>::from(input.hash.finalize())),
            })
        };
        read().with_context(|| format!("{} is no archive that could be stored", path.display()))
    }
}

/// Hashes what passes; verifying an archive reads every byte of it, once, in order.
struct HashingReader<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

impl Connected {
    /// Stores an archive and confirms that it is there, whole and locked. Safe to repeat.
    pub async fn keep(&self, archive: &Archive, now: Timestamp, progress: Progress) -> Result<Kept> {
        let name = ObjectName::new(&archive.cluster, archive.id)?;
        let upload = Upload {
            key: name.key(),
            file: archive.path.clone(),
            size: archive.size,
            sha256: *archive.sha256.as_bytes(),
            metadata: vec![
                ("swarmdr-id".to_owned(), archive.id.to_string()),
                ("swarmdr-sha256".to_owned(), archive.sha256.to_string()),
            ],
            now,
        };
        let bar = progress.bytes("store", archive.size);
        let stored = store(self.vault.as_ref(), &upload, &|done| bar.set(done))
            .await
            .with_context(|| format!("failed to store backup {} in {}", archive.id, self.settings.url))?;
        Ok(Kept {
            vault: self.settings.url.clone(),
            key: stored.at.key,
            version: stored.at.id,
            size: stored.size,
            lock: stored.lock,
            new: !stored.was_there,
        })
    }
}

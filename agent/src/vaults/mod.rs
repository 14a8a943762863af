//! The configured vaults, connected, and operations on all of them.

mod by_swarm;
pub mod delivery_record;
pub mod last_seen;
pub mod prune;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, ClusterId, Digest, HashReader, TrustedKeys, reader, writer::Sealed};
use swarmdr_vault::{Lock, Source, Upload, Vault, VaultSettings, object_name::ObjectName, store};
use tokio::sync::OnceCell;

use crate::{config::Config, outcome::progress::Progress};

/// A vault of the configuration, and its client.
#[derive(Debug, Clone)]
pub struct Connected {
    pub settings: VaultSettings,
    pub vault: Arc<dyn Vault>,
}

/// The configured vaults, connected when they are first needed; all clones share the connections.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<OnceCell<Vec<Connected>>>);

impl Shared {
    /// Returns the clients of all configured vaults. A failure is not remembered.
    pub async fn get(&self, config: &Config) -> Result<&[Connected]> {
        Ok(self.0.get_or_try_init(|| connect(config)).await?)
    }

    /// Returns the clients without their settings, in the order of the configuration.
    pub async fn clients(&self, config: &Config) -> Result<Vec<Arc<dyn Vault>>> {
        Ok(self.get(config).await?.iter().map(|connected| Arc::clone(&connected.vault)).collect())
    }
}

/// A backup as stored in one vault.
#[derive(Debug, Clone, Serialize)]
pub struct StoredBackup {
    pub vault: String,
    pub key: String,
    pub version: String,
    pub size: u64,
    /// The retention in effect, read back; absent if the vault cannot lock.
    pub lock: Option<Lock>,
    /// True if this run stored it, false if an earlier one had.
    pub new: bool,
}

/// Sets up the clients of all configured vaults; sends nothing.
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

/// A sealed archive in a file, with the facts of its manifest and its bytes.
#[derive(Debug, Clone)]
pub struct Archive {
    pub path: PathBuf,
    pub cluster: ClusterId,
    pub id: BackupId,
    pub sequence: u64,
    /// Digest of the manifest.
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

    /// Reads and verifies an archive that an earlier run sealed. Blocks.
    pub fn read(path: &Path, keys: &TrustedKeys) -> Result<Self> {
        let read = || -> Result<Self> {
            // Verifying reads every byte of an archive, once, in order.
            let mut input = HashReader::new(BufReader::new(File::open(path)?));
            let head = reader::verify_stored(&mut input, keys)?;
            let (_, _, sha256) = input.finish();
            Ok(Self {
                path: path.to_owned(),
                cluster: head.manifest.cluster_id.clone(),
                id: head.manifest.id,
                sequence: head.manifest.sequence,
                digest: head.manifest_digest,
                size: head.archive_size,
                sha256,
            })
        };
        read().with_context(|| format!("{} is no archive that could be stored", path.display()))
    }
}

impl Connected {
    /// Stores an archive and verifies that it is there, whole and locked. Safe to repeat.
    pub async fn keep(&self, archive: &Archive, now: Timestamp, progress: Progress) -> Result<StoredBackup> {
        let name = ObjectName::new(archive.cluster.clone(), archive.id);
        let upload = Upload {
            key: name.key(),
            source: Source::File { path: archive.path.clone(), range: 0..archive.size },
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
        Ok(StoredBackup {
            vault: self.settings.url.clone(),
            key: stored.at.key,
            version: stored.at.id,
            size: stored.size,
            lock: stored.lock,
            new: !stored.was_there,
        })
    }
}

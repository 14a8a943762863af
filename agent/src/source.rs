//! Where a backup comes from: the vaults, or a file.

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use swarmdr_archive::{
    TrustedKeys,
    reader::{self, Head},
};

use crate::{
    cli,
    config::Config,
    exit::Exit,
    fault::Fault,
    progress::Progress,
    vault::{
        Vault, VersionRef,
        catalog::{self, CatalogError, Filter},
        fetch,
    },
    vaults,
};

/// Where a whole archive may lie for the time of a check: `TMPDIR`, or else what is made for large files
/// (`/tmp` is often in memory).
pub fn scratch_dir() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// Which backup is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest one that verifies and that the filter admits, over all vaults.
    Vaults(Filter),
    File(PathBuf),
}

impl Choice {
    pub fn of(choice: &cli::Choice) -> Self {
        match &choice.file {
            Some(file) => Choice::File(file.clone()),
            None => Choice::Vaults(Filter { cluster: choice.cluster.clone(), id: choice.id, ..Filter::default() }),
        }
    }
}

/// Where the bytes of a chosen backup are.
#[derive(Debug)]
pub enum Source {
    File(PathBuf),
    Vault { vault: Arc<dyn Vault>, at: VersionRef },
}

/// A backup whose head is verified.
#[derive(Debug)]
pub struct Found {
    pub source: Source,
    pub head: Head,
    /// What else was met that somebody should look at.
    pub findings: Vec<String>,
}

impl Source {
    /// Reads heads only. Nothing usable is exit 5.
    pub async fn find(config: &Config, choice: &Choice, keys: &TrustedKeys) -> Result<Found> {
        match choice {
            Choice::File(path) => find_file(path, keys),
            Choice::Vaults(filter) => find_in_vaults(config, filter, keys).await,
        }
    }

    /// All `size` bytes as an open file, from its start. It has no name if it was fetched: nothing of it
    /// is left in `scratch` whatever happens. Not verified.
    pub async fn fetch(&self, size: u64, scratch: &Path, progress: Progress) -> Result<File> {
        match self {
            Source::File(path) => File::open(path).with_context(|| format!("failed to open {}", path.display())),
            Source::Vault { vault, at } => {
                let file = tempfile::tempfile_in(scratch)
                    .with_context(|| format!("failed to make a file in {}", scratch.display()))?;
                let mut sink = tokio::fs::File::from_std(file.try_clone()?);
                let bar = progress.bytes("fetch", size);
                fetch(vault.as_ref(), at, size, &mut sink, &|done| bar.set(done))
                    .await
                    .with_context(|| format!("failed to fetch {self}"))?;
                Ok(file)
            }
        }
    }
}

fn find_file(path: &Path, keys: &TrustedKeys) -> Result<Found> {
    let head = || -> Result<Head> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let head = reader::read_head(io::BufReader::new(file))?.verify(keys)?;
        if head.archive_size != size {
            anyhow::bail!("it has {size} bytes and should have {}; copy it again", head.archive_size);
        }
        Ok(head)
    };
    let head = head().map_err(|cause| {
        Fault::new(Exit::NothingUsable, format!("{} is no backup that can be used here", path.display())).because(cause)
    })?;
    Ok(Found { source: Source::File(path.to_owned()), head, findings: Vec::new() })
}

async fn find_in_vaults(config: &Config, filter: &Filter, keys: &TrustedKeys) -> Result<Found> {
    let vaults: Vec<Arc<dyn Vault>> =
        vaults::connect(config).await?.into_iter().map(|connected| connected.vault).collect();
    let latest = catalog::find_latest(&vaults, filter, keys).await.map_err(|cause| match &cause {
        CatalogError::SeveralClusters { .. } => {
            Fault::usage("it is not clear which swarm is meant").advice("name it with --cluster").because(cause)
        }
        CatalogError::NothingGood { .. } => Fault::new(Exit::NothingUsable, "no usable backup was found")
            .advice("check `vault` and trusted_keys in the configuration, and what `swarmdr-agent list` says")
            .because(cause),
    })?;
    let mut findings: Vec<String> = latest.findings.kept.iter().map(ToString::to_string).collect();
    if latest.findings.dropped > 0 {
        findings.push(format!("and {} more findings", latest.findings.dropped));
    }
    let vault = Arc::clone(&vaults[latest.vault]);
    Ok(Found { source: Source::Vault { vault, at: latest.at }, head: latest.head, findings })
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Vault { vault, at } => write!(f, "{}/{}", vault.address(), at.key),
        }
    }
}

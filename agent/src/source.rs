//! Where a backup comes from: the vaults, or a file.

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::{
    BackupId, TrustedKeys,
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
        catalog::{self, CatalogError, Filter, Lied},
        fetch,
    },
    vaults,
};

/// Which backup is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest one that verifies and that the filter admits, over all vaults.
    Vaults(Filter),
    File(PathBuf),
}

impl Choice {
    /// `now` is what ages are counted from.
    pub fn of(choice: &cli::Choice, now: Timestamp) -> Self {
        match &choice.file {
            Some(file) => Choice::File(file.clone()),
            None => {
                let any_vault = choice.any_vault;
                Choice::Vaults(Filter { id: choice.id, any_vault, ..admitted(&choice.among, now) })
            }
        }
    }

    /// Passes over one version from now on: its head was good, but not what follows it.
    pub fn except(&mut self, lied: Lied) {
        if let Choice::Vaults(filter) = self {
            filter.except.push(lied);
        }
    }
}

/// The copy that lied, if that is why it failed.
pub fn lie_in(error: &anyhow::Error) -> Option<&Lied> {
    error.chain().find_map(|link| link.downcast_ref::<Lied>())
}

/// The backups that flags leave in question.
pub fn admitted(among: &cli::Among, now: Timestamp) -> Filter {
    Filter {
        cluster: among.cluster.clone(),
        before: among.before,
        after: among.max_age.and_then(|age| now.checked_sub(age.0).ok()),
        ..Filter::default()
    }
}

/// Where the bytes of a chosen backup are.
#[derive(Debug, Clone)]
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
    /// Reads heads only. Nothing usable is exit 5, and so is a vault that may hold it and could not be searched.
    pub async fn find(config: &Config, choice: &Choice, keys: &TrustedKeys, now: Timestamp) -> Result<Found> {
        match choice {
            Choice::File(path) => find_file(path, keys, now),
            Choice::Vaults(filter) => find_in_vaults(config, filter, keys, now).await,
        }
    }

    /// The error for bytes that were fetched whole and are not what the head says. From a file there is no other copy.
    pub fn lied(&self, why: swarmdr_archive::Error) -> anyhow::Error {
        match self {
            Source::File(_) => why.into(),
            Source::Vault { vault, at } => {
                Lied { vault: vault.address().to_owned(), at: at.clone(), why: why.to_string() }.into()
            }
        }
    }

    /// Bytes that [`Source::fetch`] writes.
    pub fn room(&self, head: &Head) -> u64 {
        match self {
            Source::File(_) => 0,
            Source::Vault { .. } => head.archive_size,
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

/// No vault says when a file was stored, so of keys that end only those count that have not ended now.
fn find_file(path: &Path, keys: &TrustedKeys, now: Timestamp) -> Result<Found> {
    let head = || -> Result<Head> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let head = reader::read_head(io::BufReader::new(file))?.verify(keys)?;
        if let Some(until) = keys.until(&head.signer).filter(|until| now >= *until) {
            let key = head.signer;
            anyhow::bail!(
                "its signing key {key} has ended at {until}, and nothing tells when a file was made; if you know it to \
                 be from before that, name the key with --trust {key}"
            );
        }
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

async fn find_in_vaults(config: &Config, filter: &Filter, keys: &TrustedKeys, now: Timestamp) -> Result<Found> {
    let vaults: Vec<Arc<dyn Vault>> =
        vaults::connect(config).await?.into_iter().map(|connected| connected.vault).collect();
    let latest = match catalog::find_latest(&vaults, filter, keys, now).await {
        Ok(latest) => latest,
        Err(cause) => return Err(not_found(cause, &vaults, filter, keys, now).await.into()),
    };
    let vault = Arc::clone(&vaults[latest.vault]);
    let lies = filter.except.iter().map(ToString::to_string);
    let findings = lies.chain(latest.findings.lines()).collect();
    Ok(Found { source: Source::Vault { vault, at: latest.at }, head: latest.head, findings })
}

async fn not_found(
    cause: CatalogError,
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Fault {
    if let CatalogError::SeveralClusters { .. } = &cause {
        return Fault::usage("it is not clear which swarm is meant").advice("name it with --cluster").because(cause);
    }
    if let CatalogError::Unanswered { silent, other, .. } = &cause {
        return unanswered(silent, *other, filter).because(cause);
    }
    let any_age = Filter { after: None, ..filter.clone() };
    let older = match filter.after {
        Some(_) => catalog::find_latest(vaults, &any_age, keys, now).await.ok(),
        None => None,
    };
    if let Some(older) = older {
        let id = older.head.manifest.id;
        return Fault::new(Exit::NothingUsable, "no backup is young enough")
            .advice(format!("the newest is {id}: leave --max-age out, or name its id, to take it all the same"))
            .advice("find out why no backup was taken since: `swarmdr-agent doctor` on the managers")
            .because(cause);
    }
    if let Some(before) = filter.before {
        // Named for the time before, and stored later: in a copied bucket all are.
        let named = Filter { before: None, named_before: Some(before), ..filter.clone() };
        if let Ok(late) = catalog::find_latest(vaults, &named, keys, now).await {
            let (id, stored) = (late.head.manifest.id, late.place.stored);
            return Fault::new(Exit::NothingUsable, format!("no backup was made and stored before {before}"))
                .advice(format!(
                    "{id} bears a time before then and was stored at {stored}: if the vault was copied, or a spool was \
                     late, name its id; whoever had the signing key could have made that time up"
                ))
                .because(cause);
        }
    }
    let what = match filter.except.as_slice() {
        [] => "no usable backup was found".to_owned(),
        lies => {
            let lies: Vec<String> = lies.iter().map(ToString::to_string).collect();
            format!("no usable backup was found; {}", lies.join("; "))
        }
    };
    Fault::new(Exit::NothingUsable, what)
        .advice("check `vault` and trusted_keys in the configuration, and what `swarmdr-agent list` says")
        .because(cause)
}

/// Nothing here is for `trusted_keys` to mend.
fn unanswered(silent: &[String], other: Option<BackupId>, filter: &Filter) -> Fault {
    let silent = silent.join(", ");
    let what = match (filter.id, filter.any_vault) {
        (Some(id), _) => format!("backup {id} is in no vault that could be searched, and {silent} could not be"),
        (None, true) => format!("no vault that could be searched has a backup, and {silent} could not be searched"),
        (None, false) => format!("which backup is the newest is not known: {silent} could not be searched"),
    };
    let fault = Fault::new(Exit::NothingUsable, what)
        .advice(format!("make {silent} answer and run this again; `restore --wait 10m` goes on trying"));
    match other {
        Some(id) => fault.advice(format!(
            "or take {id}, the newest of what could be searched, with its id or with --any-vault: a newer one may be in \
             {silent}"
        )),
        None => fault,
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Vault { vault, at } => write!(f, "{}/{}", vault.address(), at.key),
        }
    }
}

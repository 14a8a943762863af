//! Source of a backup: the vaults, or a file.

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
    point::Point,
    reader::{self, Head},
};
use swarmdr_vault::{
    Vault, VersionRef,
    catalog::{self, CatalogError, Filter, PayloadMismatch},
    fetch,
};

use super::of_point;
use crate::{
    config::Config,
    outcome::{exit::Exit, failure::Failure, progress::Progress},
    points::Which,
    vaults::Shared,
};

/// The operator's choice of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest backup over all vaults that verifies and that the filter admits.
    Vaults(Filter),
    /// The backup of a recovery point; the filter says which points come into question.
    Point(Which, Filter),
    File(PathBuf),
}

impl Choice {
    /// Excludes one version from now on: its head is good, but the payload is not what the head says.
    pub fn except(&mut self, mismatch: PayloadMismatch) {
        match self {
            Choice::Vaults(filter) | Choice::Point(_, filter) => filter.except.push(mismatch),
            Choice::File(_) => {}
        }
    }
}

/// Returns the payload mismatch that caused the error, if there is one in its chain.
pub fn find_payload_mismatch(error: &anyhow::Error) -> Option<&PayloadMismatch> {
    error.chain().find_map(|link| link.downcast_ref::<PayloadMismatch>())
}

/// Location of the bytes of a chosen backup.
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
    /// Time of storing by the vault's clock; `None` for a file.
    pub stored: Option<Timestamp>,
    /// Problems in the vaults that the operator should look at.
    pub findings: Vec<String>,
    /// The recovery point that names it, if it was chosen by one.
    pub point: Option<Box<Point>>,
}

impl Source {
    /// Finds the chosen backup; reads heads only. The error has exit code 5 if nothing usable was found, or if a vault
    /// that may hold it could not be searched.
    pub async fn find(config: &Config, choice: &Choice, keys: &TrustedKeys, now: Timestamp) -> Result<Found> {
        match choice {
            Choice::File(path) => find_file(path, keys, now),
            Choice::Vaults(filter) => find_in_vaults(config, &Shared::default(), filter, keys, now).await,
            Choice::Point(which, filter) => of_point::find(config, *which, filter, keys, now).await,
        }
    }

    /// Returns the error for a backup that was fetched whole and is not what its head says. For a file it is no
    /// [`PayloadMismatch`], since there is no other copy to try.
    pub fn payload_mismatch(&self, why: swarmdr_archive::Error) -> anyhow::Error {
        match self {
            Source::File(_) => why.into(),
            Source::Vault { vault, at } => {
                PayloadMismatch { vault: vault.address().to_owned(), at: at.clone(), why: why.to_string() }.into()
            }
        }
    }

    /// Returns the number of bytes that [`Source::fetch`] writes.
    pub fn room(&self, head: &Head) -> u64 {
        match self {
            Source::File(_) => 0,
            Source::Vault { .. } => head.archive_size,
        }
    }

    /// Returns all `size` bytes as an open file, positioned anywhere. A fetched file has no name, so nothing of it is
    /// left in `scratch` however the process ends. Nothing is verified.
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

/// Reads and verifies the head of a file. No vault says when a file was stored, so a key with an end counts only if it
/// has not ended yet.
fn find_file(path: &Path, keys: &TrustedKeys, now: Timestamp) -> Result<Found> {
    let head = || -> Result<Head> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let head = reader::read_head(io::BufReader::new(file))?.verify(keys)?;
        if let Some(until) = keys.until(&head.signer).filter(|until| now >= *until) {
            let key = head.signer;
            anyhow::bail!(
                "its signing key {key} has ended at {until}, and a file does not show when it was made; if you know it to \
                 be from before that, name the key with --trust {key}"
            );
        }
        if head.archive_size != size {
            anyhow::bail!("it has {size} bytes and should have {}; copy it again", head.archive_size);
        }
        Ok(head)
    };
    let head = head().map_err(|cause| {
        Failure::new(Exit::NothingUsable, format!("{} cannot be used as a backup here", path.display())).because(cause)
    })?;
    Ok(Found { source: Source::File(path.to_owned()), head, stored: None, findings: Vec::new(), point: None })
}

pub(super) async fn find_in_vaults(
    config: &Config,
    vaults: &Shared,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Found> {
    let vaults = vaults.clients(config).await?;
    let latest = match catalog::find_latest(&vaults, filter, keys, now).await {
        Ok(latest) => latest,
        Err(cause) => return Err(not_found(cause, &vaults, filter, keys, now).await.into()),
    };
    let vault = Arc::clone(&vaults[latest.vault]);
    let mismatches = filter.except.iter().map(ToString::to_string);
    let findings = mismatches.chain(latest.findings.lines()).collect();
    let source = Source::Vault { vault, at: latest.at };
    Ok(Found { source, head: latest.head, stored: Some(latest.place.stored), findings, point: None })
}

async fn not_found(
    cause: CatalogError,
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Failure {
    let failure = match &cause {
        CatalogError::SeveralClusters { .. } => {
            Failure::usage("it is not clear which swarm is meant").advice("name it with --cluster")
        }
        CatalogError::Unanswered { silent, other, .. } => unanswered(silent, *other, filter),
        _ => match too_old(vaults, filter, keys, now).await {
            Some(failure) => failure,
            None => stored_late(vaults, filter, keys, now).await.unwrap_or_else(|| nothing_usable(filter)),
        },
    };
    failure.because(cause)
}

/// Returns the failure if there are older backups only.
async fn too_old(vaults: &[Arc<dyn Vault>], filter: &Filter, keys: &TrustedKeys, now: Timestamp) -> Option<Failure> {
    filter.after?;
    let any_age = Filter { after: None, ..filter.clone() };
    let id = catalog::find_latest(vaults, &any_age, keys, now).await.ok()?.head.manifest.id;
    Some(
        Failure::new(Exit::NothingUsable, "no backup is recent enough")
            .advice(format!("the newest is {id}: to use it anyway, leave --max-age out or name its id"))
            .advice("find out why there is no newer one: run `swarmdr-agent doctor` on the managers"),
    )
}

/// Returns the failure if the id of a backup is dated before the given time, but the object was stored later: in a
/// copied bucket this is so for all of them.
async fn stored_late(
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Option<Failure> {
    let before = filter.before?;
    let named = Filter { before: None, named_before: Some(before), ..filter.clone() };
    let late = catalog::find_latest(vaults, &named, keys, now).await.ok()?;
    let (id, stored) = (late.head.manifest.id, late.place.stored);
    Some(Failure::new(Exit::NothingUsable, format!("no backup was made and stored before {before}")).advice(format!(
        "{id} is dated before then and was stored at {stored}: if the vault was copied, or a spool was late, name its \
         id; anyone with the signing key could have forged that date"
    )))
}

fn nothing_usable(filter: &Filter) -> Failure {
    let what = match filter.except.as_slice() {
        [] => "no usable backup was found".to_owned(),
        mismatches => {
            let mismatches: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
            format!("no usable backup was found; {}", mismatches.join("; "))
        }
    };
    Failure::new(Exit::NothingUsable, what)
        .advice("check `vault` and trusted_keys in the configuration, and see `swarmdr-agent list`")
}

/// Returns the failure for vaults that could not be searched. Changing `trusted_keys` would not help here.
fn unanswered(silent: &[String], other: Option<BackupId>, filter: &Filter) -> Failure {
    let silent = silent.join(", ");
    let what = match (filter.id, filter.any_vault) {
        (Some(id), _) => format!("backup {id} is in no vault that could be searched, and {silent} could not be"),
        (None, true) => format!("no vault that could be searched has a backup, and {silent} could not be searched"),
        (None, false) => format!("the newest backup is not known: {silent} could not be searched"),
    };
    let failure = Failure::new(Exit::NothingUsable, what)
        .advice(format!("make {silent} answer and run this again; `restore --wait 10m` goes on trying"));
    match other {
        Some(id) => failure.advice(format!(
            "or take {id}, the newest of what could be searched, with its id or with --any-vault: a newer one may be in \
             {silent}"
        )),
        None => failure,
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

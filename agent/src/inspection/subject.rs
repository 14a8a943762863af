//! Looking into a backup or a state directory, as deep as the keys at hand allow.

use std::{
    fs::File,
    io::{self, BufReader, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{Identities, TrustedKeys, reader::Head};

use crate::{
    cli::Operand,
    config::Config,
    fault::Fault,
    progress::Progress,
    proof::{Looked, Opened},
    scratch::Scratch,
    shutdown::Shutdown,
    source::{Choice, Source},
    swarm::{Error, Examined, Inventory, Proof, UnlockKey},
    vault::{Lock, catalog::Filter},
};

/// How often the directory of a running engine is read until it is caught between two writes.
const LIVE_ATTEMPTS: u32 = 3;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Backup(Choice),
    Directory(PathBuf),
}

impl Subject {
    /// What is meant; a path is looked at. A lone word that is no directory is a mistyped id rather than a file.
    pub fn named(operand: &Operand, among: &Filter) -> Result<Self> {
        let in_vaults = |id| Filter { id, ..among.clone() };
        match operand {
            Operand::Latest => Ok(Self::Backup(Choice::Vaults(in_vaults(None)))),
            Operand::Id(id) => Ok(Self::Backup(Choice::Vaults(in_vaults(Some(*id))))),
            Operand::Path(path) if path.is_dir() => Ok(Self::Directory(path.clone())),
            Operand::Path(path) if path.components().count() > 1 => Ok(Self::Backup(Choice::File(path.clone()))),
            Operand::Path(path) => {
                Err(Fault::usage(format!("`{}` is neither a backup nor a directory", path.display()))
                    .advice("give the id of a backup as `swarmdr-agent list` shows it, or `latest`")
                    .advice("write ./ before the name of an archive in this directory")
                    .into())
            }
        }
    }
}

/// How deep a look went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The raft log was replayed.
    Log,
    /// The list in the archive, made at the time of the backup: the log is autolocked or does not replay.
    Recorded,
    /// The clear head of an archive that could not be opened.
    Manifest,
    /// The files of a directory that need no key.
    Files,
}

/// What one look found.
#[derive(Debug)]
pub struct Seen {
    pub source: String,
    pub basis: Basis,
    /// Absent for a directory.
    pub backup: Option<Stored>,
    /// Absent if the archive was not opened.
    pub examined: Option<Examined>,
    pub inventory: Option<Inventory>,
    /// What else was met that somebody should look at.
    pub findings: Vec<String>,
}

/// A backup with a verified head.
#[derive(Debug)]
pub struct Stored {
    pub head: Head,
    pub in_vault: bool,
    /// The retention in effect; absent where there is none.
    pub lock: Option<Lock>,
    /// Whether it is not known what lock there is, if any.
    pub lock_unread: bool,
}

/// What is needed to look: settings and keys.
#[derive(Debug)]
pub struct Looker<'a> {
    pub config: &'a Config,
    pub keys: TrustedKeys,
    pub identities: Arc<Identities>,
    pub unlock_key: Option<UnlockKey>,
    pub shutdown: &'a Shutdown,
    pub progress: Progress,
    pub now: Timestamp,
}

impl Looker<'_> {
    pub async fn look(&self, subject: &Subject) -> Result<Seen> {
        match subject {
            Subject::Backup(choice) => self.backup(choice).await,
            Subject::Directory(path) => self.directory(path).await,
        }
    }

    async fn backup(&self, choice: &Choice) -> Result<Seen> {
        let found = self.shutdown.or_interrupted(Source::find(self.config, choice, &self.keys, self.now)).await?;
        let mut findings = found.findings;
        let (in_vault, lock, lock_unread) = match &found.source {
            Source::File(_) => (false, None, false),
            Source::Vault { vault, at } => {
                let head = vault.head(at).await;
                let head = head.inspect_err(|error| findings.push(format!("its lock could not be read: {error}")));
                let unread = head.is_err();
                (true, head.ok().and_then(|head| head.lock), unread)
            }
        };
        let opened = match found.head.manifest.is_encrypted() && self.identities.is_empty() {
            true => None,
            false => Some(self.open(&found.source, &found.head).await?),
        };
        let source = found.source.to_string();
        let backup = Some(Stored { head: found.head, in_vault, lock, lock_unread });
        let Some(opened) = opened else {
            return Ok(Seen { source, basis: Basis::Manifest, backup, examined: None, inventory: None, findings });
        };
        let (basis, inventory) = match &opened.looked.examined.inventory {
            Some(inventory) => (Basis::Log, inventory.clone()),
            None => (Basis::Recorded, opened.recorded()?),
        };
        let Looked { examined, wrong_unlock_key } = opened.looked;
        findings.extend(wrong_unlock_key);
        Ok(Seen { source, basis, backup, examined: Some(examined), inventory: Some(inventory), findings })
    }

    /// Into scratch space that is gone when this returns.
    async fn open(&self, source: &Source, head: &Head) -> Result<Opened> {
        let scratch = Scratch::make(self.config, source.room(head).saturating_add(head.manifest.payload.tar_size))?;
        let fetch = source.fetch(head.archive_size, scratch.path(), self.progress);
        let mut archive: File = self.shutdown.or_interrupted(fetch).await?;
        let (keys, identities) = (self.keys.clone(), Arc::clone(&self.identities));
        let (unlock_key, shutdown) = (self.unlock_key.clone(), self.shutdown.clone());
        let open = tokio::task::spawn_blocking(move || {
            archive.rewind()?;
            let input = BufReader::new(archive);
            Opened::open(input, &keys, &identities, &scratch.state()?, unlock_key.as_ref(), &shutdown)
        });
        let opened = open.await.context("the look ended unexpectedly")?;
        opened.with_context(|| format!("failed to look into {source}"))
    }

    async fn directory(&self, path: &Path) -> Result<Seen> {
        let (dir, unlock_key, shutdown) = (path.to_owned(), self.unlock_key.clone(), self.shutdown.clone());
        let examine = tokio::task::spawn_blocking(move || examine_live(&dir, unlock_key.as_ref(), &shutdown));
        let examined = examine.await.context("the look ended unexpectedly")?;
        let looked = examined.with_context(|| format!("failed to look into {}", path.display()))?;
        let Looked { examined, wrong_unlock_key } = looked;
        Ok(Seen {
            source: path.display().to_string(),
            basis: if examined.inventory.is_some() { Basis::Log } else { Basis::Files },
            backup: None,
            inventory: examined.inventory.clone(),
            examined: Some(examined),
            findings: wrong_unlock_key.into_iter().collect(),
        })
    }
}

/// An engine may run there: it appends records and removes files meanwhile, which looks like damage and is none.
fn examine_live(dir: &Path, key: Option<&UnlockKey>, shutdown: &Shutdown) -> Result<Looked> {
    for _ in 1..LIVE_ATTEMPTS {
        shutdown.check()?;
        match Looked::at(dir, key) {
            Ok(Looked { examined: Examined { proof: Proof::Unproven(_), .. }, .. }) => {}
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            settled => return Ok(settled?),
        }
    }
    Ok(Looked::at(dir, key)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit::Exit, fault::Rendered};

    #[test]
    fn a_side_is_an_id_latest_a_directory_or_a_path_with_a_slash() {
        let operand = |text: &str| Subject::named(&text.parse().expect("takes anything"), &Filter::cluster("c1"));
        let vaults = |id| {
            let filter = Filter { id, cluster: Some("c1".to_owned()), ..Filter::default() };
            Subject::Backup(Choice::Vaults(filter))
        };
        let id = "20261121T031500Z-1a2b3c4d";
        assert_eq!(operand(id).expect("is an id"), vaults(Some(id.parse().expect("is one"))));
        assert_eq!(operand("latest").expect("is a word"), vaults(None));
        assert_eq!(operand("./b.swarmdr").expect("a path"), Subject::Backup(Choice::File("./b.swarmdr".into())));
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().to_str().expect("UTF-8");
        assert_eq!(operand(path).expect("is there"), Subject::Directory(path.into()));
        let error = operand("20261121T0315").expect_err("is none of them");
        assert_eq!(Rendered::of(&error).exit, Exit::Usage);
    }
}

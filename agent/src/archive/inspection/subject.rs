//! Inspects a backup or a state directory as far as the available keys allow.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;
use swarm_state::{Error, Examined, Inventory, Proof, specs::Item};
use swarmdr_archive::{SwarmNode, reader::Head};
use swarmdr_vault::{Lock, catalog::Filter};

use crate::{
    archive::{
        fetched::Fetched,
        operand::Operand,
        owner,
        proof::{Examination, Opened},
        scratch::Scratch,
        source::{Choice, Found, Source},
        specs::Specs,
    },
    host::shutdown::Shutdown,
    keys::Keyring,
    outcome::failure::Failure,
    run::Run,
};

/// Number of attempts to read the directory of a running engine at a moment between two of its writes.
const LIVE_ATTEMPTS: u32 = 3;

/// Subject of an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Backup(Choice),
    Directory(PathBuf),
}

impl Subject {
    /// Returns the subject that the operand names. For a path the filesystem is asked what it is. A path of one
    /// component that is no directory is taken for a mistyped id rather than for a file.
    pub fn named(operand: &Operand, among: &Filter) -> Result<Self> {
        let in_vaults = |id| Filter { id, ..among.clone() };
        match operand {
            Operand::Latest => Ok(Self::Backup(Choice::Vaults(in_vaults(None)))),
            Operand::Id(id) => Ok(Self::Backup(Choice::Vaults(in_vaults(Some(*id))))),
            Operand::Path(path) if path.is_dir() => Ok(Self::Directory(path.clone())),
            Operand::Path(path) if path.components().count() > 1 => Ok(Self::Backup(Choice::File(path.clone()))),
            Operand::Path(path) => {
                Err(Failure::usage(format!("`{}` is neither a backup nor a directory", path.display()))
                    .advice("give the id of a backup as `swarmdr-agent list` shows it, or `latest`")
                    .advice("write ./ before the name of an archive in this directory")
                    .into())
            }
        }
    }
}

/// How deep an inspection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The raft log was replayed.
    Log,
    /// The inventory recorded in the archive when the backup was made: the log is autolocked or does not replay.
    Recorded,
    /// The clear head of an archive that could not be opened.
    Manifest,
    /// The files of a directory that need no key.
    Files,
}

/// Result of one inspection.
#[derive(Debug)]
pub struct Seen {
    pub source: String,
    pub basis: Basis,
    /// The node whose state it is: by the certificate, else by the head of the archive.
    pub own: SwarmNode,
    /// Absent for a directory.
    pub backup: Option<Stored>,
    /// Absent if the archive was not opened.
    pub examined: Option<Examined>,
    pub inventory: Option<Inventory>,
    /// The objects with their specs; none unless the log was replayed.
    pub items: Vec<Item>,
    /// Problems that the operator should look at.
    pub findings: Vec<String>,
}

/// A backup with a verified head.
#[derive(Debug)]
pub struct Stored {
    pub head: Head,
    /// Path of the archive, if it is not in a vault.
    pub file: Option<PathBuf>,
    /// Retention in effect; absent if there is none, or if it is not known.
    pub lock: Option<Lock>,
    /// True if the lock could not be read from the vault.
    pub lock_unread: bool,
}

/// Opens backups and state directories to inspect them.
#[derive(Debug)]
pub struct Inspector<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
    /// See [`Self::with_specs`].
    pub specs: Specs,
}

impl Inspector<'_> {
    /// Makes [`Self::look`] read the specs of all objects too.
    #[must_use]
    pub fn with_specs(self) -> Self {
        Self { specs: Specs::Read, ..self }
    }

    pub async fn look(&self, subject: &Subject) -> Result<Seen> {
        match subject {
            Subject::Backup(choice) => self.backup(choice).await,
            Subject::Directory(path) => self.directory(path).await,
        }
    }

    async fn backup(&self, choice: &Choice) -> Result<Seen> {
        let found = Source::find(self.run.config, choice, &self.keyring.trusted, self.run.now);
        let mut found = self.run.shutdown.or_interrupted(found).await?;
        let mut findings = std::mem::take(&mut found.findings);
        let (file, lock, lock_unread) = match &found.source {
            Source::File(path) => (Some(path.clone()), None, false),
            Source::Vault { vault, at } => {
                let head = vault.head(at).await;
                let head = head.inspect_err(|error| findings.push(format!("its lock could not be read: {error}")));
                let unread = head.is_err();
                (None, head.ok().and_then(|head| head.lock), unread)
            }
        };
        let opened = match self.keyring.may_open(&found.head.manifest) {
            true => Some(self.open(&found).await?),
            false => None,
        };
        let (source, own) = (found.source.to_string(), found.head.manifest.swarm_node());
        let backup = Some(Stored { head: found.head, file, lock, lock_unread });
        let Some(opened) = opened else {
            let basis = Basis::Manifest;
            return Ok(Seen {
                source,
                basis,
                own,
                backup,
                examined: None,
                inventory: None,
                items: Vec::new(),
                findings,
            });
        };
        let (basis, inventory) = match &opened.looked.examined.inventory {
            Some(inventory) => (Basis::Log, inventory.clone()),
            None => (Basis::Recorded, opened.recorded()?),
        };
        let Examination { examined, wrong_unlock_key, items } = opened.looked;
        findings.extend(wrong_unlock_key.into_iter().chain(not_known(&items)));
        let own = owner::of(&examined.identity)?;
        Ok(Seen { source, basis, own, backup, examined: Some(examined), inventory: Some(inventory), items, findings })
    }

    /// Opens the archive in scratch space that is removed when this returns.
    async fn open(&self, found: &Found) -> Result<Opened> {
        let room = found.source.room(&found.head).saturating_add(found.head.manifest.payload.tar_size);
        let scratch = Scratch::make(self.run.config, room)?;
        let fetched = Fetched::get(&self.run, found, scratch.path()).await?;
        let opened = fetched.open(scratch, &self.keyring, self.specs).await;
        opened.with_context(|| format!("failed to inspect {}", found.source))
    }

    async fn directory(&self, path: &Path) -> Result<Seen> {
        let looked = self.examine_live(path, self.specs).await;
        let looked = looked.with_context(|| format!("failed to inspect {}", path.display()))?;
        let Examination { examined, wrong_unlock_key, items } = looked;
        Ok(Seen {
            source: path.display().to_string(),
            basis: if examined.inventory.is_some() { Basis::Log } else { Basis::Files },
            own: owner::of(&examined.identity).with_context(|| format!("failed to inspect {}", path.display()))?,
            backup: None,
            inventory: examined.inventory.clone(),
            examined: Some(examined),
            findings: wrong_unlock_key.into_iter().chain(not_known(&items)).collect(),
            items,
        })
    }

    /// Examines a directory in which an engine may be running, as [`read_live`] reads it.
    pub(in crate::archive) async fn examine_live(&self, dir: &Path, specs: Specs) -> Result<Examination> {
        let (dir, keyring, shutdown) = (dir.to_owned(), self.keyring.clone(), self.run.shutdown.clone());
        let examine = move || {
            let is_between = |read: &Result<Examination, Error>| matches!(read, Ok(looked) if matches!(looked.examined.proof, Proof::Unproven(_)));
            read_live(&shutdown, is_between, || Examination::at(&dir, keyring.state_key(), specs))
        };
        tokio::task::spawn_blocking(examine).await.context("the examination ended unexpectedly")?
    }
}

/// Returns a finding for each object of which this version does not know everything.
fn not_known(items: &[Item]) -> impl Iterator<Item = String> {
    let partly = items.iter().filter(|item| !item.unknown.is_empty());
    partly.map(|item| format!("{} is not wholly known to this version: {}", item.described(), item.unknown_parts()))
}

/// Reads a directory in which an engine may be running. The engine appends records and removes files meanwhile, which
/// looks like damage and is not, so the directory is read several times if necessary. `is_between` tells whether a
/// result may come from a moment between two of its writes.
pub(in crate::archive) fn read_live<T>(
    shutdown: &Shutdown,
    is_between: impl Fn(&Result<T, Error>) -> bool,
    read: impl Fn() -> Result<T, Error>,
) -> Result<T> {
    for _ in 1..LIVE_ATTEMPTS {
        shutdown.check()?;
        match read() {
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            result if is_between(&result) => {}
            settled => return Ok(settled?),
        }
    }
    Ok(read()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    #[test]
    fn a_side_is_an_id_latest_a_directory_or_a_path_with_a_slash() {
        let c1 = || "c1".parse().expect("is an id");
        let operand = |text: &str| Subject::named(&text.parse().expect("takes anything"), &Filter::cluster(c1()));
        let vaults = |id| {
            let filter = Filter { id, cluster: Some(c1()), ..Filter::default() };
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

//! A state that stays open: the objects of a swarm with their specs, and single values on demand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarm_state::{
    Error, Inventory, Proof,
    inventory::ObjectKind,
    specs::{Item, Values},
};
use swarmdr_archive::SwarmNode;

use super::{
    fetched::Fetched,
    inspection::{Inspector, Subject, read_live},
    owner,
    proof::Examination,
    scratch::Scratch,
    source::{Choice, Source},
    specs::Specs,
};
use crate::{
    host::shutdown::Shutdown,
    keys::{Keyring, identities},
    outcome::failure::Failure,
};

/// The state of a backup or of a directory. An unpacked backup is removed when this is dropped.
#[derive(Debug)]
pub struct OpenState {
    /// What was opened, for reports.
    pub source: String,
    /// The node whose state it is.
    pub own: SwarmNode,
    /// Time of the backup; absent for a directory.
    pub created_at: Option<Timestamp>,
    /// Version of the engine that wrote it, if it is known.
    pub engine_version: Option<String>,
    /// All objects with their specs, sorted by kind, name and id.
    pub items: Vec<Item>,
    pub inventory: Inventory,
    /// Problems in the vaults that the operator should look at.
    pub findings: Vec<String>,
    dir: PathBuf,
    keyring: Keyring,
    shutdown: Shutdown,
    _scratch: Option<Scratch>,
}

impl OpenState {
    /// Reads the values of these objects: contents of secrets and configs, registry credentials of services. The state is
    /// read again for them.
    pub async fn values(&self, wanted: Vec<(ObjectKind, String)>) -> Result<Values> {
        let read = read_values(&self.dir, &self.keyring, &self.shutdown, wanted).await;
        read.with_context(|| format!("failed to read values in {}", self.source))
    }
}

/// Reads values of objects in a state directory, in which an engine may be running.
pub async fn read_values(
    dir: &Path,
    keyring: &Keyring,
    shutdown: &Shutdown,
    wanted: Vec<(ObjectKind, String)>,
) -> Result<Values> {
    let (dir, keyring, shutdown) = (dir.to_owned(), keyring.clone(), shutdown.clone());
    let read = move || {
        let is_between = |read: &Result<Values, Error>| matches!(read, Err(Error::Damaged(_)));
        let read = || swarm_state::read_values(&dir, keyring.state_key(), wanted.iter().cloned());
        read_live(&shutdown, is_between, read)
    };
    tokio::task::spawn_blocking(read).await.context("the reading ended unexpectedly")?
}

impl Inspector<'_> {
    /// Opens a state and reads all specs. An error if the state cannot be decrypted or does not replay.
    pub async fn open_state(&self, subject: &Subject) -> Result<OpenState> {
        match subject {
            Subject::Backup(choice) => self.open_backup(choice).await,
            Subject::Directory(dir) => {
                let source = dir.display().to_string();
                let looked = self.examine_live(dir, Specs::Read).await;
                let looked = looked.with_context(|| format!("failed to read the state in {source}"))?;
                self.opened(source, dir.clone(), looked)
            }
        }
    }

    async fn open_backup(&self, choice: &Choice) -> Result<OpenState> {
        let found = Source::find(self.run.config, choice, &self.keyring.trusted, self.run.now);
        let found = self.run.shutdown.or_interrupted(found).await?;
        let manifest = &found.head.manifest;
        identities::require(&self.keyring.identities, manifest)?;
        let room = found.source.room(&found.head).saturating_add(manifest.payload.tar_size);
        let scratch = Scratch::make(self.run.config, room)?;
        let dir = scratch.state()?;
        let source = found.source.to_string();
        let fetched = Fetched::get(&self.run, &found, scratch.path()).await?;
        fetched.unpack(dir.clone(), &self.keyring).await.with_context(|| format!("failed to open {source}"))?;
        let looked = self.examine_unpacked(dir.clone(), &source).await?;
        let opened = self.opened(source, dir, looked)?;
        Ok(OpenState {
            created_at: Some(manifest.created_at),
            engine_version: Some(manifest.engine_version.clone()),
            findings: found.findings,
            _scratch: Some(scratch),
            ..opened
        })
    }

    async fn examine_unpacked(&self, dir: PathBuf, source: &str) -> Result<Examination> {
        let keyring = self.keyring.clone();
        let examine = move || Examination::at(&dir, keyring.state_key(), Specs::Read);
        let examined = tokio::task::spawn_blocking(examine).await.context("the examination ended unexpectedly")?;
        examined.with_context(|| format!("failed to read the state in {source}"))
    }

    fn opened(&self, source: String, dir: PathBuf, looked: Examination) -> Result<OpenState> {
        let Examination { examined, wrong_unlock_key, items } = looked;
        let own = owner::of(&examined.identity).with_context(|| format!("failed to read the state in {source}"))?;
        let inventory = match (examined.inventory, examined.proof) {
            (Some(inventory), _) => inventory,
            (None, Proof::Unproven(damage)) => {
                let what = format!("the objects in {source} cannot be read: its raft log does not replay");
                return Err(Failure::failed(what).because(anyhow::Error::msg(damage.to_string())).into());
            }
            (None, _) => {
                let mut failure =
                    Failure::usage(format!("{source} is autolocked, and no unlock key that fits was given"))
                        .advice("name a file that holds the key with --unlock-key");
                if let Some(why) = wrong_unlock_key {
                    failure = failure.because(anyhow::Error::msg(why));
                }
                return Err(failure.into());
            }
        };
        let node = inventory.nodes.iter().find(|node| node.id == own.node.as_str());
        Ok(OpenState {
            source,
            created_at: None,
            engine_version: node.and_then(|node| node.engine_version.clone()),
            own,
            items,
            inventory,
            findings: Vec::new(),
            dir,
            keyring: self.keyring.clone(),
            shutdown: self.run.shutdown.clone(),
            _scratch: None,
        })
    }
}

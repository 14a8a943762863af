//! The proof that a copied state can be restored: made before a backup is published, repeated by `verify`
//! and before a restore touches anything.

use std::{io::Read, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use swarmdr_archive::{
    Contents, Identities, TrustedKeys,
    manifest::{self, Counts, RaftPosition},
};

use crate::{
    faults,
    progress::Progress,
    shutdown::Shutdown,
    stage,
    swarm::{self, Examined, Inventory, Proof, UnlockKey, inventory::compare},
};

/// What the clear part of an archive says of the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    pub proof: manifest::Proof,
    pub reason: Option<String>,
    pub raft: Option<RaftPosition>,
}

/// The words for the manifest.
pub fn state(examined: &Examined) -> Stated {
    let (proof, reason) = match &examined.proof {
        Proof::Proven => (manifest::Proof::Proven, None),
        Proof::Unproven(damage) => (manifest::Proof::Unproven, Some(damage.to_string())),
        Proof::Sealed(checked) => (
            manifest::Proof::Sealed,
            Some(format!("autolocked: {} log entries are intact and were not opened", checked.entries)),
        ),
    };
    let raft = examined.raft.as_ref().map(|raft| RaftPosition { term: raft.term, index: raft.commit });
    Stated { proof, reason, raft }
}

/// The numbers for the manifest.
pub fn counts(inventory: &Inventory) -> Counts {
    let count = |length: usize| length as u64;
    Counts {
        nodes: count(inventory.nodes.len()),
        managers: count(inventory.nodes.iter().filter(|node| node.role == "manager").count()),
        services: count(inventory.services.len()),
        networks: count(inventory.networks.len()),
        secrets: count(inventory.secrets.len()),
        configs: count(inventory.configs.len()),
        tasks: inventory.tasks.values().sum(),
        volumes: count(inventory.volumes.as_ref().map_or(0, Vec::len)),
    }
}

/// A state directory, read as far as the keys at hand allow.
#[derive(Debug)]
pub struct Looked {
    pub examined: Examined,
    /// The unlock key that was given is that of another time, or of another swarm, so nothing was opened with it.
    pub wrong_unlock_key: Option<String>,
}

impl Looked {
    /// As [`swarm::examine()`], but a key that does not fit is no reason not to look. Blocking.
    pub fn at(dir: &Path, unlock_key: Option<&UnlockKey>) -> Result<Self, swarm::Error> {
        match swarm::examine(dir, unlock_key) {
            Err(wrong @ swarm::Error::WrongUnlockKey { .. }) => {
                Ok(Self { examined: swarm::examine(dir, None)?, wrong_unlock_key: Some(wrong.to_string()) })
            }
            examined => Ok(Self { examined: examined?, wrong_unlock_key: None }),
        }
    }
}

/// An archive that was unpacked, every byte of it checked, and what its state directory says.
#[derive(Debug)]
pub struct Opened {
    pub contents: Contents,
    pub looked: Looked,
}

impl Opened {
    /// Unpacks into the existing, empty directory `scratch` and examines what is there. Blocking.
    pub fn open(
        archive: impl Read,
        keys: &TrustedKeys,
        identities: &Identities,
        scratch: &Path,
        unlock_key: Option<&UnlockKey>,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let bar = Progress::hidden().bytes("unpack", 0);
        let unpacked = stage::unpack(archive, keys, identities, scratch, bar, shutdown)?;
        unpacked_in_clear(shutdown)?;
        Ok(Self { contents: unpacked.contents, looked: Looked::at(scratch, unlock_key)? })
    }

    /// The inventory that was written down when the backup was made.
    pub fn recorded(&self) -> Result<Inventory> {
        recorded(&self.contents)
    }
}

/// A stop that came while it was unpacked ends the look here, and what lies in clear is removed.
fn unpacked_in_clear(shutdown: &Shutdown) -> Result<()> {
    faults::reach("in-clear");
    shutdown.check()
}

fn recorded(contents: &Contents) -> Result<Inventory> {
    Inventory::deserialize(&contents.inventory).context("the recorded inventory cannot be read")
}

/// What the whole proof of an archive came to: its signature, its digests and all its files hold in each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reproved {
    /// The raft log was replayed, and it holds what was recorded.
    Proven,
    /// Autolocked, and no unlock key was given: the log was checked as far as that goes without opening it.
    Sealed,
    /// As sealed: the unlock key that was given is that of another time, or of another swarm.
    WrongUnlockKey(String),
    /// The log does not replay, which its manifest does not hide. This is why.
    Unproven(String),
}

/// Does the whole proof again on an archive: signature, digests, decryption, replay, and an inventory equal
/// to the recorded one. Unpacks into the existing, empty directory `scratch`. Blocking.
///
/// Whatever is not as the manifest says is an error.
pub fn reprove(
    archive: impl Read,
    keys: &TrustedKeys,
    identities: &Identities,
    scratch: &Path,
    unlock_key: Option<&UnlockKey>,
    shutdown: &Shutdown,
) -> Result<Reproved> {
    let unpacked = stage::unpack(archive, keys, identities, scratch, Progress::hidden().bytes("unpack", 0), shutdown)?;
    unpacked_in_clear(shutdown)?;
    let Looked { examined, wrong_unlock_key } = Looked::at(scratch, unlock_key)?;
    let manifest = &unpacked.head.manifest;
    let stated = state(&examined);
    match &examined.proof {
        Proof::Proven => {}
        Proof::Sealed(_) => return Ok(wrong_unlock_key.map_or(Reproved::Sealed, Reproved::WrongUnlockKey)),
        Proof::Unproven(damage) if manifest.proof == stated.proof => return Ok(Reproved::Unproven(damage.to_string())),
        Proof::Unproven(damage) => bail!("the raft log breaks: {damage}"),
    }
    if manifest.raft.is_some_and(|recorded| stated.raft != Some(recorded)) {
        bail!("the raft log does not end where the manifest says: {:?}, not {:?}", stated.raft, manifest.raft);
    }
    let recorded = recorded(&unpacked.contents)?;
    let actual = examined.inventory.context("a proven state has an inventory")?;
    let differences = compare(&recorded, &actual);
    if !differences.is_empty() {
        let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
        bail!("the state does not hold what was recorded: {}", shown.join("; "));
    }
    Ok(Reproved::Proven)
}

//! Proof that a copied state can be restored. It is made before a backup is published, and repeated by `verify` and
//! before a restore touches anything.

use std::{io::Read, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use swarm_state::{self, Examined, Inventory, Proof, UnlockKey, inventory::compare, specs::Item};
use swarmdr_archive::{
    Contents,
    manifest::{self, Counts, RaftPosition},
    reader::Unpacked,
};

use crate::{
    archive::{specs::Specs, stage},
    host::shutdown::Shutdown,
    keys::Keyring,
    outcome::{failpoint, progress::Progress},
};

/// Result of the proof as the manifest of an archive records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedProof {
    pub proof: manifest::Proof,
    pub reason: Option<String>,
    pub raft: Option<RaftPosition>,
}

/// Returns the result of an examination in the form of the manifest.
pub fn state(examined: &Examined) -> RecordedProof {
    let (proof, reason) = match &examined.proof {
        Proof::Proven => (manifest::Proof::Proven, None),
        Proof::Unproven(damage) => (manifest::Proof::Unproven, Some(damage.to_string())),
        Proof::Sealed(checked) => (
            manifest::Proof::Sealed,
            Some(format!("autolocked: {} log entries are intact and were not opened", checked.entries)),
        ),
    };
    let raft = examined.raft.as_ref().map(|raft| RaftPosition { term: raft.term, index: raft.commit });
    RecordedProof { proof, reason, raft }
}

/// Returns the counts for the manifest.
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

/// A state directory that was read as far as the available keys allow.
#[derive(Debug)]
pub struct Examination {
    pub examined: Examined,
    /// Error text if the unlock key that was given is from another time or of another swarm. Nothing was
    /// opened with it.
    pub wrong_unlock_key: Option<String>,
    /// The objects with their specs; none unless they were asked for and the state is proven.
    pub items: Vec<Item>,
}

impl Examination {
    /// Examines `dir` as [`swarm_state::examine()`] does. If the unlock key does not fit, it examines `dir` without a
    /// key instead of failing. Blocking.
    pub fn at(dir: &Path, unlock_key: Option<&UnlockKey>, specs: Specs) -> Result<Self, swarm_state::Error> {
        match specs.examine(dir, unlock_key) {
            Err(wrong @ swarm_state::Error::WrongUnlockKey { .. }) => {
                let (examined, items) = specs.examine(dir, None)?;
                Ok(Self { examined, wrong_unlock_key: Some(wrong.to_string()), items })
            }
            examined => {
                let (examined, items) = examined?;
                Ok(Self { examined, wrong_unlock_key: None, items })
            }
        }
    }
}

/// An archive that was unpacked with every byte checked, and the result of examining its state directory.
#[derive(Debug)]
pub struct Opened {
    pub contents: Contents,
    pub looked: Examination,
}

impl Opened {
    /// Unpacks into the existing, empty directory `scratch` and examines the state there. Blocking.
    pub fn open(
        archive: impl Read,
        keyring: &Keyring,
        scratch: &Path,
        specs: Specs,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let unpacked = unpack(archive, keyring, scratch, shutdown)?;
        Ok(Self { contents: unpacked.contents, looked: Examination::at(scratch, keyring.state_key(), specs)? })
    }

    /// Returns the inventory that was recorded when the backup was made.
    pub fn recorded(&self) -> Result<Inventory> {
        recorded(&self.contents)
    }
}

/// Unpacks without a progress bar. A signal that arrived meanwhile ends the run here, and the unpacked
/// state is removed.
pub(super) fn unpack(archive: impl Read, keyring: &Keyring, scratch: &Path, shutdown: &Shutdown) -> Result<Unpacked> {
    let bar = Progress::hidden().bytes("unpack", 0);
    let unpacked = stage::unpack(archive, &keyring.trusted, &keyring.identities, scratch, bar, shutdown)?;
    failpoint::reach("in-clear");
    shutdown.check()?;
    Ok(unpacked)
}

/// Returns the inventory that was recorded when the backup was made.
pub(super) fn recorded(contents: &Contents) -> Result<Inventory> {
    Inventory::deserialize(&contents.inventory).context("the recorded inventory cannot be read")
}

/// Result of the whole proof of an archive. In each case its signature, its digests and all its files are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofResult {
    /// The raft log was replayed, and it holds what was recorded.
    Proven,
    /// Autolocked, and no unlock key was given: the raft log was checked as far as possible without decrypting it.
    Sealed,
    /// Checked as far as [`Reproved::Sealed`]: the unlock key that was given is from another time or of another swarm.
    /// Holds the error text.
    WrongUnlockKey(String),
    /// The raft log does not replay, and the manifest says so too. Holds the damage that was found.
    Unproven(String),
}

/// Repeats the whole proof on an archive: signature, digests, decryption, replay, and an inventory equal to the
/// recorded one. Unpacks into the existing, empty directory `scratch`. Blocking.
///
/// Any disagreement with the manifest is an error.
pub fn reprove(archive: impl Read, keyring: &Keyring, scratch: &Path, shutdown: &Shutdown) -> Result<ProofResult> {
    let unpacked = unpack(archive, keyring, scratch, shutdown)?;
    let Examination { examined, wrong_unlock_key, .. } = Examination::at(scratch, keyring.state_key(), Specs::Skip)?;
    let manifest = &unpacked.head.manifest;
    let stated = state(&examined);
    match &examined.proof {
        Proof::Proven => {}
        Proof::Sealed(_) => return Ok(wrong_unlock_key.map_or(ProofResult::Sealed, ProofResult::WrongUnlockKey)),
        Proof::Unproven(damage) if manifest.proof == stated.proof => {
            return Ok(ProofResult::Unproven(damage.to_string()));
        }
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
    Ok(ProofResult::Proven)
}

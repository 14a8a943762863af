//! The proof that a copied state can be restored: made before a backup is published, repeated by `verify`
//! and before a restore touches anything.

use std::{io::Read, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use swarmdr_archive::{
    Contents, Identities, TrustedKeys,
    manifest::{self, RaftPosition},
};

use crate::{
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

/// An archive that was unpacked, every byte of it checked, and what its state directory says.
#[derive(Debug)]
pub struct Opened {
    pub contents: Contents,
    pub examined: Examined,
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
        let examined = swarm::examine(scratch, unlock_key)?;
        Ok(Self { contents: unpacked.contents, examined })
    }

    /// The inventory that was written down when the backup was made.
    pub fn recorded(&self) -> Result<Inventory> {
        Inventory::deserialize(&self.contents.inventory).context("the recorded inventory cannot be read")
    }
}

/// Does the whole proof again on an archive: signature, digests, decryption, replay, and an inventory equal
/// to the recorded one. Unpacks into the existing, empty directory `scratch`. Answers with how far it got.
pub fn reprove(
    archive: impl Read,
    keys: &TrustedKeys,
    identities: &Identities,
    scratch: &Path,
) -> Result<&'static str> {
    let opened = Opened::open(archive, keys, identities, scratch, None, &Shutdown::default())?;
    match &opened.examined.proof {
        Proof::Proven => {}
        Proof::Sealed(_) => return Ok("every file; autolocked, so the raft log was checked but not opened"),
        Proof::Unproven(damage) => bail!("the raft log breaks: {damage}"),
    }
    let recorded = opened.recorded()?;
    let actual = opened.examined.inventory.context("a proven state has an inventory")?;
    let differences = compare(&recorded, &actual);
    if !differences.is_empty() {
        let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
        bail!("the state does not hold what was recorded: {}", shown.join("; "));
    }
    Ok("every file; raft log replayed, and it holds what was recorded")
}

//! The whole proof of a state directory: whether it is a manager's state, is complete, can be decrypted, and
//! what it contains.

mod log;

use std::{collections::HashMap, net::SocketAddr, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Damage, Error, Warning,
    identity::{Identity, Role, usable},
    inventory::{Inventory, ObjectKind, Raft},
    keys::{KeyFile, OpenError, RaftKeys, UnlockKey},
    specs::{Item, Values},
    state_dir::{NODE_CERT, NODE_KEY, StateDir},
    store::{Kept, Store},
    warning,
};
use log::{Reading, blame};

pub(crate) use log::Log;

/// Result of [`examine`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// Identity of the node, from the files in clear.
    pub identity: Identity,
    /// Whether an engine would start with everything that was committed.
    pub proof: Proof,
    /// Everything that the swarm holds; only of a proven state.
    pub inventory: Option<Inventory>,
    /// Position in the log; present for a sealed state too, but then without names of members.
    pub raft: Option<Raft>,
    /// Number of entries after the commit that a leader appended: all but removals of other members, which an engine
    /// without a leader appends at force-new-cluster (swarmkit `manager/state/raft/storage.go`). Counted in a proven
    /// state only.
    #[serde(default)]
    pub uncommitted_of_leaders: u64,
    /// Address at which the other managers expect this node. It is the first usable one of: the entry in `state.json`,
    /// the raft membership, the advertise address, the local address, and the address at the start of the log.
    pub raft_address: Option<SocketAddr>,
    /// Obstacles to a restore, and other things to look at.
    pub warnings: Vec<Warning>,
}

/// Whether a state was proven to be restorable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Everything was read, checked, decrypted and applied.
    Proven,
    /// The state is damaged here; an engine would fail or lose something.
    Unproven(Damage),
    /// Autolocked, and no unlock key was given. Checksums, metadata and index ranges are good; contents
    /// were not decrypted.
    Sealed(Checked),
}

/// Extent of the check of a sealed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Number of log entries after the snapshot.
    pub entries: u64,
    /// Size of log records and snapshot in bytes.
    pub bytes: u64,
}

/// Reads a state directory as an engine does at start, without changing anything, and checks that it is complete.
///
/// `unlock_key` is needed for autolocked states and ignored for others. Memory use is the largest object (at most 16
/// MiB) and a few hundred kB, plus the inventory itself.
///
/// Errors: not a manager's state, unreadable files, damaged certificates, a wrong unlock key. All other damage is
/// returned as [`Proof::Unproven`].
pub fn examine(dir: &Path, unlock_key: Option<&UnlockKey>) -> Result<Examined, Error> {
    examine_keeping(dir, unlock_key, None).map(|(examined, _)| examined)
}

/// Reads a state directory as [`examine()`] does, and returns all objects with their specs, sorted by kind, name and id.
/// There are none unless the state is proven.
pub fn examine_items(dir: &Path, unlock_key: Option<&UnlockKey>) -> Result<(Examined, Vec<Item>), Error> {
    let (examined, kept) = examine_keeping(dir, unlock_key, Some(Kept::Items(HashMap::new())))?;
    Ok((examined, kept.map(Kept::into_items).unwrap_or_default()))
}

/// Reads the values of these objects, which [`examine_items()`] leaves out. The state is read again, so that only these
/// values are ever in memory. Of an object that is not there, and of a sealed state, there are none.
///
/// Errors: those of [`examine()`], and the damage of a state that is not proven.
pub fn read_values(
    dir: &Path,
    unlock_key: Option<&UnlockKey>,
    wanted: impl IntoIterator<Item = (ObjectKind, String)>,
) -> Result<Values, Error> {
    let (examined, kept) = examine_keeping(dir, unlock_key, Some(Kept::Values(Values::wanting(wanted))))?;
    if let Proof::Unproven(damage) = examined.proof {
        return Err(damage.into());
    }
    Ok(kept.map(Kept::into_values).unwrap_or_default())
}

fn examine_keeping(
    dir: &Path,
    unlock_key: Option<&UnlockKey>,
    kept: Option<Kept>,
) -> Result<(Examined, Option<Kept>), Error> {
    let dir = StateDir::open(dir)?;
    let mut identity = Identity::read(&dir)?;
    if identity.role != Role::Manager {
        return Err(Error::NotAManager { root: dir.root().to_owned(), node_id: identity.node_id });
    }
    let survey = dir.survey()?;
    if let Some(missing) = survey.missing().first() {
        return Err(Error::Missing { root: dir.root().to_owned(), file: (*missing).to_owned() });
    }
    let mut warnings = warning::of_files(&identity, &survey);
    let reading = match read(&dir, &mut identity, unlock_key, Store::keeping(kept), &mut warnings) {
        Ok(reading) => reading,
        Err(Error::Damaged(damage)) => Reading::broken(damage),
        Err(error) => return Err(error),
    };
    if let Some(inventory) = &reading.inventory {
        warnings.extend(warning::of_inventory(&identity, inventory));
    }
    let examined = Examined {
        raft_address: raft_address(&identity, &reading),
        identity,
        proof: reading.proof,
        inventory: reading.inventory,
        raft: reading.raft,
        uncommitted_of_leaders: reading.uncommitted_of_leaders,
        warnings,
    };
    Ok((examined, reading.kept))
}

fn read(
    dir: &StateDir,
    identity: &mut Identity,
    unlock_key: Option<&UnlockKey>,
    store: Store,
    warnings: &mut Vec<Warning>,
) -> Result<Reading, Error> {
    let key_file = KeyFile::parse(&dir.read_required(NODE_KEY)?)?;
    let keys = match key_file.open(unlock_key) {
        Ok(keys) => Some(keys),
        Err(OpenError::Locked) => None,
        Err(error) => return Err(error.of(&key_file)),
    };
    if let Some(keys) = &keys {
        warnings.extend(match_certificate(dir, identity, keys)?);
    }
    let log = Log::read(dir)?;
    if log.scan.member.node_id != identity.node_id {
        let why = format!("the log is that of node {}, not of this one", log.scan.member.node_id);
        return Err(Damage::incomplete(&log.segments[0].file, 0, why).into());
    }
    warnings.extend(log.warnings());
    match keys {
        Some(keys) => {
            let passed_over = log.passed_over.clone();
            log.open(dir, identity, &keys, store, warnings).map_err(|error| blame(passed_over.as_ref(), error))
        }
        None => Ok(log.sealed()),
    }
}

/// Checks that the certificate fits the key. If a renewal was interrupted, the certificate that fits is next to it
/// under another name.
fn match_certificate(dir: &StateDir, identity: &mut Identity, keys: &RaftKeys) -> Result<Option<Warning>, Error> {
    if identity.fits(&keys.public_key) {
        return Ok(None);
    }
    if let Some(next) = Identity::read_next(dir)?
        && next.fits(&keys.public_key)
    {
        *identity = next;
        return Ok(Some(Warning::RenewalUnfinished));
    }
    Err(Damage::corrupt(NODE_CERT, 0, "the certificate does not belong to the key in swarm-node.key").into())
}

fn raft_address(identity: &Identity, reading: &Reading) -> Option<SocketAddr> {
    let own_member = reading.raft.as_ref().and_then(|raft| {
        let own = raft.members.iter().find(|member| member.raft_id == raft.raft_id)?;
        usable(own.addr.as_deref()?)
    });
    let known = identity.known_address();
    known.or(own_member).or_else(|| identity.raft_address()).or_else(|| usable(&reading.first_addr))
}

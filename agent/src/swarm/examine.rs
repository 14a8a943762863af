//! The whole proof: is this a manager's state, is it whole, does it open, and what does it hold.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::{Identity, Role, usable};
use super::inventory::{Inventory, Raft};
use super::keys::{KeyFile, OpenError, RaftKeys, UnlockKey};
use super::membership::Membership;
use super::replay::{self, Scan};
use super::snapshot_file::{self, Part, SnapshotFile, TextBad};
use super::state_dir::{NODE_CERT, NODE_KEY, StateDir, WAL_DIR};
use super::store::{Kind, Store};
use super::wal::{self, Segment, SnapshotMark};
use super::{Damage, Error, Warning, warning};

/// What [`examine`] found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// From the files in clear.
    pub identity: Identity,
    /// Whether an engine would come up with everything that was committed.
    pub proof: Proof,
    /// What the swarm holds; only of a proven state.
    pub inventory: Option<Inventory>,
    /// Position in the log; of a sealed state too, then without names of members.
    pub raft: Option<Raft>,
    /// Where the other managers expect this node: the first of the entry in `state.json`, the raft membership, the
    /// advertise address, and the address at the start of the log that is a usable address.
    pub raft_address: Option<SocketAddr>,
    /// What would hinder a restore or deserves a look.
    pub warnings: Vec<Warning>,
}

/// How sure it is that a state can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Everything was read, checked, opened and applied.
    Proven,
    /// The state breaks here; an engine would fail or lose something.
    Unproven(Damage),
    /// Autolocked, and no unlock key was given: checksums, metadata and index ranges hold, contents were not opened.
    Sealed(Checked),
}

/// How much of a sealed state was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Log entries behind the snapshot.
    pub entries: u64,
    /// Bytes of log records and snapshot.
    pub bytes: u64,
}

/// Reads a state directory as an engine would at start, changes nothing, and says whether all of it is there.
///
/// `unlock_key` is needed for autolocked states and ignored for others. Memory stays within the largest object (at
/// most 16 MiB) and a few hundred kB, apart from what the inventory itself takes.
///
/// Errors: not a manager's state, unreadable files, damaged certificates, a wrong unlock key.
/// All other damage is a result: [`Proof::Unproven`].
pub fn examine(dir: &Path, unlock_key: Option<&UnlockKey>) -> Result<Examined, Error> {
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
    let reading = match read(&dir, &mut identity, unlock_key, &mut warnings) {
        Ok(reading) => reading,
        Err(Error::Damaged(damage)) => Reading::broken(damage),
        Err(error) => return Err(error),
    };
    if let Some(inventory) = &reading.inventory {
        warnings.extend(warning::of_inventory(&identity, inventory));
    }
    Ok(Examined {
        raft_address: raft_address(&identity, &reading),
        identity,
        proof: reading.proof,
        inventory: reading.inventory,
        raft: reading.raft,
        warnings,
    })
}

/// What the keys, the snapshot and the log say.
struct Reading {
    proof: Proof,
    inventory: Option<Inventory>,
    raft: Option<Raft>,
    /// Address at the start of the log.
    first_addr: String,
}

/// Snapshot and log before anything is opened.
pub(super) struct Log {
    snapshot: Option<SnapshotFile>,
    /// A newer snapshot that is damaged.
    passed_over: Option<Damage>,
    start: SnapshotMark,
    pub(super) segments: Vec<Segment>,
    pub(super) scan: Scan,
}

fn read(
    dir: &StateDir,
    identity: &mut Identity,
    unlock_key: Option<&UnlockKey>,
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
            log.open(dir, identity, &keys, warnings).map_err(|error| blame(passed_over.as_ref(), error))
        }
        None => Ok(log.sealed()),
    }
}

/// The certificate must fit the key. If a renewal was interrupted, the one that fits is beside it under another name.
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

impl Log {
    /// A snapshot that is passed over is what is wrong where the log does not make up for it.
    pub(super) fn read(dir: &StateDir) -> Result<Self, Error> {
        let (snapshot, passed_over) = snapshot_file::readable(dir)?;
        let start = snapshot.as_ref().map_or(SnapshotMark { index: 0, term: 0 }, |s| s.mark);
        let scan = || -> Result<_, Error> {
            let segments = wal::segments(dir, start.index)?;
            let scan = Scan::run(dir, &segments, start)?;
            Ok((segments, scan))
        };
        let (segments, scan) = scan().map_err(|error| blame(passed_over.as_ref(), error))?;
        Ok(Self { snapshot, passed_over, start, segments, scan })
    }

    /// What an engine would make of the files by itself.
    fn warnings(&self) -> impl Iterator<Item = Warning> {
        let passed_over = self.passed_over.clone().map(|first| Warning::SnapshotPassedOver { first });
        let short = self.scan.short_end.clone().map(|(file, offset)| Warning::ShortTail { file, offset });
        passed_over.into_iter().chain(short)
    }

    fn sealed(self) -> Reading {
        let snapshot = self.snapshot.as_ref();
        let bytes = self.scan.bytes + snapshot.map_or(0, |snapshot| snapshot.bytes);
        let checked = Checked { entries: self.scan.entries, bytes };
        let membership = Membership::of_voters(snapshot.map_or(&[], SnapshotFile::voters));
        let raft = self.raft(membership);
        Reading { proof: Proof::Sealed(checked), inventory: None, raft: Some(raft), first_addr: self.scan.member.addr }
    }

    fn open(
        self,
        dir: &StateDir,
        identity: &Identity,
        keys: &RaftKeys,
        warnings: &mut Vec<Warning>,
    ) -> Result<Reading, Error> {
        let (mut store, mut membership) = (Store::default(), Membership::default());
        if let Some(snapshot) = &self.snapshot {
            restore(dir, snapshot, keys, (&mut store, &mut membership))?;
        }
        let refused = replay::apply(
            dir,
            &self.segments,
            (self.start, &self.scan),
            &keys.data_keys,
            (&mut store, &mut membership),
        )?;
        warnings
            .extend(refused.map(|refused| Warning::RefusedTransactions { count: refused.count, first: refused.first }));
        let uncommitted = self.scan.last_index - self.scan.state.commit;
        if uncommitted > 0 {
            warnings.push(Warning::UncommittedEntries { count: uncommitted });
        }
        let raft = self.raft(membership);
        let inventory = store.into_inventory(&identity.cluster_id, raft.clone()).ok_or_else(|| {
            let why = format!("the log does not hold the cluster {}", identity.cluster_id);
            Damage::incomplete(WAL_DIR, 0, why)
        })?;
        Ok(Reading {
            proof: Proof::Proven,
            inventory: Some(inventory),
            raft: Some(raft),
            first_addr: self.scan.member.addr,
        })
    }

    fn raft(&self, membership: Membership) -> Raft {
        let (members, removed) = membership.into_lists();
        Raft {
            raft_id: self.scan.member.raft_id,
            term: self.scan.state.term,
            commit: self.scan.state.commit,
            last_index: self.scan.last_index,
            snapshot_index: self.snapshot.as_ref().map(|snapshot| snapshot.mark.index),
            members,
            removed,
        }
    }
}

/// Damage that an engine would not have met, had it not passed over a damaged snapshot, is that of the snapshot.
fn blame(passed_over: Option<&Damage>, error: Error) -> Error {
    match (passed_over, error) {
        (Some(first), Error::Damaged(_)) => Error::Damaged(first.clone()),
        (_, error) => error,
    }
}

/// Fills the store from a snapshot.
fn restore(
    dir: &StateDir,
    snapshot: &SnapshotFile,
    keys: &RaftKeys,
    (store, membership): (&mut Store, &mut Membership),
) -> Result<(), Error> {
    let unknown = |at, why: &str| {
        let why = format!("the snapshot opens, but its content is not understood: {why}");
        Damage::corrupt(&snapshot.name, at, why)
    };
    let mut text = snapshot.open_text(dir, &keys.data_keys)?;
    loop {
        let part = match text.next() {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(()),
            Err(TextBad::Read(error)) => {
                return Err(Error::read(dir.root().join(&snapshot.name))(error));
            }
            Err(TextBad::Unknown(at, why)) => return Err(unknown(at, &why).into()),
        };
        let at = text.offset();
        match part {
            Part::Membership(bytes) => {
                membership.restore(&bytes).map_err(|error| unknown(at, &error.to_string()))?;
            }
            Part::Object(tag, bytes) => {
                let kind = Kind::in_snapshot(tag);
                let kind = kind.ok_or_else(|| unknown(at, &format!("objects of unknown sort {tag}")))?;
                store.put(kind, &bytes).map_err(|error| unknown(at, &error.0))?;
            }
        }
    }
}

fn raft_address(identity: &Identity, reading: &Reading) -> Option<SocketAddr> {
    let own_member = reading.raft.as_ref().and_then(|raft| {
        let own = raft.members.iter().find(|member| member.raft_id == raft.raft_id)?;
        usable(own.addr.as_deref()?)
    });
    let known = identity.known_address();
    known.or(own_member).or_else(|| identity.raft_address()).or_else(|| usable(&reading.first_addr))
}

impl Reading {
    fn broken(damage: Damage) -> Self {
        let first_addr = String::new();
        Self { proof: Proof::Unproven(damage), inventory: None, raft: None, first_addr }
    }
}

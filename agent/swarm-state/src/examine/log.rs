//! The snapshot and the log of a state, read as an engine reads them.

use super::{Checked, Proof};
use crate::{
    Damage, Error, Warning,
    identity::Identity,
    inventory::{Inventory, Raft},
    keys::RaftKeys,
    membership::Membership,
    replay::{self, Scan},
    snapshot_file::{self, Part, SnapshotFile, TextBad},
    state_dir::{StateDir, WAL_DIR},
    store::{Kept, Kind, Store},
    wal::{self, Segment, SnapshotMark},
};

/// Result of reading the keys, the snapshot and the log.
pub struct Reading {
    pub proof: Proof,
    pub inventory: Option<Inventory>,
    pub raft: Option<Raft>,
    pub uncommitted_of_leaders: u64,
    /// Address in the metadata at the start of the log.
    pub first_addr: String,
    /// What the caller wanted beside the inventory; only of a proven state.
    pub kept: Option<Kept>,
}

impl Reading {
    pub fn broken(damage: Damage) -> Self {
        Self {
            proof: Proof::Unproven(damage),
            inventory: None,
            raft: None,
            uncommitted_of_leaders: 0,
            first_addr: String::new(),
            kept: None,
        }
    }
}

/// Snapshot and log before anything is decrypted.
pub(crate) struct Log {
    pub(super) snapshot: Option<SnapshotFile>,
    /// Damage of the newest snapshot, if it was skipped.
    pub(super) passed_over: Option<Damage>,
    start: SnapshotMark,
    pub(crate) segments: Vec<Segment>,
    pub(crate) scan: Scan,
}

impl Log {
    /// Reads snapshot and log. If a damaged snapshot was skipped and the log does not replace it, the error is the
    /// damage of that snapshot.
    pub(crate) fn read(dir: &StateDir) -> Result<Self, Error> {
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

    /// Returns warnings about what an engine would accept by itself.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Warning> {
        let passed_over = self.passed_over.clone().map(|first| Warning::SnapshotPassedOver { first });
        let short =
            self.scan.end_without_preallocation.clone().map(|(file, offset)| Warning::ShortTail { file, offset });
        passed_over.into_iter().chain(short)
    }

    pub(super) fn sealed(self) -> Reading {
        let snapshot = self.snapshot.as_ref();
        let bytes = self.scan.bytes + snapshot.map_or(0, |snapshot| snapshot.bytes);
        let checked = Checked { entries: self.scan.entries, bytes };
        let membership = Membership::of_voters(snapshot.map_or(&[], SnapshotFile::voters));
        let raft = self.raft(membership);
        Reading {
            proof: Proof::Sealed(checked),
            inventory: None,
            raft: Some(raft),
            uncommitted_of_leaders: 0,
            first_addr: self.scan.member.addr,
            kept: None,
        }
    }

    /// Decrypts and replays everything into `store`, which is empty.
    pub(super) fn open(
        self,
        dir: &StateDir,
        identity: &Identity,
        keys: &RaftKeys,
        mut store: Store,
        warnings: &mut Vec<Warning>,
    ) -> Result<Reading, Error> {
        let mut membership = Membership::default();
        if let Some(snapshot) = &self.snapshot {
            restore(dir, snapshot, keys, (&mut store, &mut membership))?;
        }
        let replay::Applied { refused, uncommitted_of_leaders } = replay::apply(
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
        let kept = store.take_kept();
        let inventory = store.into_inventory(&identity.cluster_id, raft.clone()).ok_or_else(|| {
            let why = format!("the log does not hold the cluster {}", identity.cluster_id);
            Damage::incomplete(WAL_DIR, 0, why)
        })?;
        Ok(Reading {
            proof: Proof::Proven,
            inventory: Some(inventory),
            raft: Some(raft),
            uncommitted_of_leaders,
            first_addr: self.scan.member.addr,
            kept,
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

/// Returns the damage of a skipped snapshot in place of damage that an engine met only because it
/// skipped that snapshot.
pub fn blame(passed_over: Option<&Damage>, error: Error) -> Error {
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

//! Signed archives of made-up backups, and vaults in memory to store them.

use std::{io::Cursor, ops::ControlFlow};

use jiff::SignedDuration;
use ring::rand::SystemRandom;
use swarmdr_archive::{
    ClusterId, Digest, EntryKind, ManifestDraft, SecretKey,
    manifest::{CertificateTimes, Counts, FORMAT, Proof, RestoreHints, Snapshot, SnapshotMode},
    writer::{self, Packing, SourceEntry, SourceFile},
};

pub use super::memory::MemoryVault;
pub use crate::{LockMode, LockPolicy, Vault, catalog::*, object_name::ObjectName, store_bytes};
pub use jiff::Timestamp;
pub use swarmdr_archive::BackupId;

pub mod lives;
pub mod points;
pub mod streams;

pub const CLUSTER: &str = "q9x0h2k7m1c4v8b6n3z5a7s2d";
pub const OTHER: &str = "a1111111111111111111111111";

/// The id that [`CLUSTER`] spells.
pub fn cluster_id() -> ClusterId {
    CLUSTER.parse().unwrap()
}

/// A sealed backup in memory.
pub type Archive = Archived<ObjectName>;

/// A sealed archive in memory.
#[derive(Debug)]
pub struct Archived<N> {
    pub name: N,
    pub bytes: Vec<u8>,
    pub sequence: u64,
    pub digest: Digest,
}

pub fn key() -> SecretKey {
    SecretKey::generate(&SystemRandom::new()).unwrap()
}

pub fn minute(minute: i64) -> Timestamp {
    "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

/// Makes the first backup of a cluster, taken at this minute.
pub fn archive(cluster: &str, minute: i64, key: &SecretKey) -> Archive {
    following(None, cluster, minute, key)
}

/// Makes the first backup of a cluster, with what its agent knew of its log.
pub fn archive_with(cluster: &str, minute: i64, key: &SecretKey, proof: Proof) -> Archive {
    made(None, cluster, minute, [0xab; 4], key, proof)
}

/// Makes the backup that follows another one, or the first.
pub fn following(previous: Option<&Archive>, cluster: &str, at: i64, key: &SecretKey) -> Archive {
    made(previous, cluster, at, [0xab; 4], key, Proof::Unchecked)
}

/// Makes the backup that follows another one, with this tag in its id.
pub fn tagged(previous: Option<&Archive>, at: i64, tag: u8, key: &SecretKey) -> Archive {
    made(previous, CLUSTER, at, [tag; 4], key, Proof::Unchecked)
}

fn made(previous: Option<&Archive>, cluster: &str, at: i64, tag: [u8; 4], key: &SecretKey, proof: Proof) -> Archive {
    let created_at = minute(at);
    let id = BackupId::new(created_at, tag);
    let manifest = ManifestDraft {
        format: FORMAT,
        id,
        sequence: previous.map_or(1, |previous| previous.sequence + 1),
        previous: previous.map(|previous| previous.digest),
        created_at,
        agent_version: "0.1.0".into(),
        engine_version: "20.10.24".into(),
        cluster_id: cluster.parse().unwrap(),
        node_id: "n1".parse().unwrap(),
        hostname: "m1".into(),
        raft_addr: "10.0.0.4:2377".parse().unwrap(),
        raft_addr_local: true,
        managers: Vec::new(),
        raft: None,
        certificate: CertificateTimes::default(),
        autolock: false,
        kek_version: None,
        proof,
        proof_reason: None,
        restore: RestoreHints::default(),
        snapshot: Snapshot { mode: SnapshotMode::Cold, engine_down_ms: 1, ours_ms: 1 },
        counts: Counts::default(),
        specs: None,
        payload: (),
    };
    let entry = SourceEntry {
        path: "swarm".parse().unwrap(),
        kind: EntryKind::Dir,
        mode: 0o700,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0,
    };
    let packing = Packing {
        manifest,
        entries: vec![entry],
        left_out: Vec::new(),
        inventory: serde_json::Value::Null,
        recipients: &[],
        level: writer::DEFAULT_LEVEL,
        key,
    };
    let mut out = Cursor::new(Vec::new());
    let open = |_: &SourceEntry| -> std::io::Result<SourceFile<Cursor<Vec<u8>>>> { unreachable!("no files") };
    let sealed = writer::seal(packing, open, |_| ControlFlow::Continue(()), &mut out).unwrap();
    let bytes = out.into_inner();
    let head = swarmdr_archive::reader::read_head(&bytes[..]).unwrap().verify(&key.public().into()).unwrap();
    let name = ObjectName::new(sealed.manifest.cluster_id, id);
    Archive { name, bytes, sequence: sealed.manifest.sequence, digest: head.manifest_digest }
}

pub fn vault(name: &str) -> MemoryVault {
    MemoryVault::new(name, Some(LockPolicy { mode: LockMode::Compliance, days: 30 }))
}

pub async fn put(vault: &dyn Vault, archive: &Archive) {
    store_bytes(vault, archive.name.key(), &archive.bytes, archive.name.id().created_at()).await.unwrap();
}

//! A state in memory, the test key, and a visitor that keeps everything.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read},
    ops::ControlFlow,
};

use swarmdr_archive::{
    BackupId, Digest, EntryKind, FileEntry, Identities, LeftOut, ManifestDraft, Recipient, SecretKey,
    manifest::{CertificateTimes, Counts, FORMAT, Manager, Proof, RaftPosition, RestoreHints, Snapshot, SnapshotMode},
    reader::{Body, Visitor},
    writer::{self, Packing, Sealed, SourceEntry, SourceFile},
};

/// Signs every archive of the tests; made by `minisign -G -W`, worth nothing.
pub const SECRET_KEY: &str = include_str!("../testkit/test.key");

/// Opens every encrypted archive of the tests; made by `age-keygen`, worth nothing.
pub const IDENTITY: &str = include_str!("../testkit/test.identity");

pub fn test_identity() -> Identities {
    Identities::parse_file(IDENTITY).unwrap()
}

pub fn test_key() -> SecretKey {
    SecretKey::from_minisign_str(SECRET_KEY).unwrap()
}

/// Files by path; a path that ends in `/` is a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl State {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()));
        Self { files: files.collect() }
    }

    /// A state directory in miniature, with a WAL segment that is mostly a hole.
    pub fn small() -> Self {
        let mut wal = vec![0; 512 << 10];
        wal[..6000].fill(0xa5);
        wal[300_000..300_100].fill(0x5a);
        Self::new(&[
            ("swarm/", b""),
            ("swarm/certificates/", b""),
            ("swarm/certificates/swarm-node.crt", b"-----BEGIN CERTIFICATE-----\n"),
            ("swarm/docker-state.json", br#"{"LocalAddr":"10.0.0.4"}"#),
            ("swarm/raft/", b""),
            ("swarm/raft/wal-v3-encrypted/", b""),
            ("swarm/raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal", &wal),
        ])
    }

    pub fn entries(&self) -> Vec<SourceEntry> {
        self.files.iter().map(|(path, bytes)| source_entry(path, bytes.len() as u64)).collect()
    }

    pub fn packing<'a>(&self, recipients: &'a [Recipient], key: &'a SecretKey) -> Packing<'a> {
        Packing {
            manifest: draft(),
            entries: self.entries(),
            left_out: vec![LeftOut { path: "worker/tasks.db".into(), why: "the engine makes it anew".into() }],
            inventory: serde_json::json!({ "services": [{ "id": "s1", "name": "web" }] }),
            recipients,
            level: writer::DEFAULT_LEVEL,
            key,
        }
    }

    pub fn seal(&self, recipients: &[Recipient]) -> (Vec<u8>, Sealed) {
        let mut out = Cursor::new(Vec::new());
        let key = test_key();
        let packing = self.packing(recipients, &key);
        let sealed = writer::seal(packing, |entry| self.open(entry), |_| ControlFlow::Continue(()), &mut out);
        (out.into_inner(), sealed.unwrap())
    }

    pub fn open(&self, entry: &SourceEntry) -> io::Result<SourceFile<Cursor<&[u8]>>> {
        let bytes = self.files.get(entry.path.as_str()).ok_or(io::ErrorKind::NotFound)?;
        let size = bytes.len() as u64;
        Ok(SourceFile { file: Cursor::new(bytes), data: std::iter::once(0..size).collect() })
    }
}

pub fn source_entry(path: &str, size: u64) -> SourceEntry {
    let (kind, mode) = if path.ends_with('/') { (EntryKind::Dir, 0o700) } else { (EntryKind::File, 0o600) };
    let path = path.trim_end_matches('/').parse().unwrap();
    SourceEntry { path, kind, mode, uid: 0, gid: 0, size, mtime: 1_767_322_000 }
}

pub fn draft() -> ManifestDraft {
    let created_at = "2026-01-02T03:04:05Z".parse().unwrap();
    ManifestDraft {
        format: FORMAT,
        id: BackupId::new(created_at, [0x0a, 0x1b, 0x2c, 0x3d]),
        sequence: 7,
        previous: Some(Digest::of(b"the manifest before")),
        created_at,
        agent_version: "0.1.0".into(),
        engine_version: "26.1.5".into(),
        cluster_id: "w1ymnkr1qaqfdkyvdpgekypgb".parse().unwrap(),
        node_id: "k5f1mbqj2p1zk3kvq8ijhd4wd".parse().unwrap(),
        hostname: "manager-1".into(),
        raft_addr: "10.0.0.4:2377".parse().unwrap(),
        raft_addr_local: true,
        managers: vec![
            Manager { node_id: "a".into(), addr: "10.0.0.5:2377".into(), hostname: Some("manager-2".into()) },
            Manager { node_id: "b".into(), addr: "[fd00::6]:2377".into(), hostname: None },
        ],
        raft: Some(RaftPosition { term: 3, index: 4711 }),
        certificate: CertificateTimes {
            node_not_before: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            node_not_after: Some("2026-04-01T00:00:00Z".parse().unwrap()),
            root_not_after: Some("2046-01-01T00:00:00Z".parse().unwrap()),
        },
        autolock: true,
        kek_version: Some(12),
        proof: Proof::Unchecked,
        proof_reason: Some("made by a test".into()),
        restore: RestoreHints {
            auto_lock_managers: true,
            force_rotate: 2,
            listen_addr: Some("0.0.0.0:2377".into()),
            advertise_addr: Some("10.0.0.4:2377".into()),
            data_path_addr: None,
            data_path_port: Some(4789),
            data_root: Some("/var/lib/docker".into()),
        },
        snapshot: Snapshot { mode: SnapshotMode::Cold, engine_down_ms: 1200, ours_ms: 90 },
        counts: Counts { nodes: 3, managers: 3, services: 1, ..Counts::default() },
        specs: None,
        payload: (),
    }
}

/// Keeps what it is given, in the form of [`State`].
#[derive(Debug, Default)]
pub struct Taken {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Visitor for Taken {
    fn entry(&mut self, entry: &FileEntry, body: &mut Body<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)?;
        let slash = if entry.kind == EntryKind::Dir { "/" } else { "" };
        self.files.insert(format!("{}{slash}", entry.path), bytes);
        Ok(())
    }
}

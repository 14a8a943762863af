//! Archives: genuine ones, and those that an attacker can make.

use std::{io::Cursor, ops::ControlFlow};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{
    BackupId, Digest, EntryKind, ManifestDraft, Recipient, SecretKey,
    manifest::{CertificateTimes, Counts, FORMAT, Manifest, Proof, RestoreHints, Snapshot, SnapshotMode},
    reader,
    writer::{self, Packing, SourceEntry, SourceFile},
};
use swarmdr_tests::scenario::Site;

/// A backup as it was stored.
#[derive(Debug, Clone)]
pub struct Genuine {
    /// Key in the vault.
    pub key: String,
    pub bytes: Vec<u8>,
}

impl Genuine {
    pub fn cluster(&self) -> String {
        self.key.split_once('/').map_or(String::new(), |(cluster, _)| cluster.to_owned())
    }

    pub fn id(&self) -> String {
        self.key.trim_end_matches(".swarmdr").rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// Time of the backup, in RFC 3339.
    pub fn created_at(&self) -> String {
        self.id().parse::<BackupId>().map(|id| id.created_at().to_string()).unwrap_or_default()
    }

    /// Returns the key of a backup of the same cluster, this much later.
    pub fn key_later(&self, later: SignedDuration, tag: u32) -> String {
        let id: BackupId = self.id().parse().expect("is an id");
        let id = BackupId::new(id.created_at() + later, tag.to_be_bytes());
        format!("{}/{id}.swarmdr", self.cluster())
    }
}

/// Contents of a made-up archive.
pub struct MadeUp<'a> {
    pub cluster: &'a str,
    pub created_at: Timestamp,
    pub previous: Option<(u64, Digest)>,
    pub key: &'a SecretKey,
    pub recipient: &'a str,
}

/// Makes a complete, signed and encrypted archive of an empty state, for everything that does not look into the state.
pub fn archive(made_up: &MadeUp<'_>) -> Result<(Genuine, (u64, Digest))> {
    let id = BackupId::new(made_up.created_at, [7; 4]);
    let recipients: [Recipient; 1] = [made_up.recipient.parse()?];
    let directory =
        SourceEntry { path: "swarm".parse()?, kind: EntryKind::Dir, mode: 0o700, uid: 0, gid: 0, size: 0, mtime: 0 };
    let packing = Packing {
        manifest: draft(made_up, id),
        entries: vec![directory],
        left_out: Vec::new(),
        inventory: serde_json::Value::Null,
        recipients: &recipients,
        level: writer::DEFAULT_LEVEL,
        key: made_up.key,
    };
    let mut out = Cursor::new(Vec::new());
    let open = |_: &SourceEntry| -> std::io::Result<SourceFile<Cursor<Vec<u8>>>> { unreachable!("there are no files") };
    let sealed = writer::seal(packing, open, |_| ControlFlow::Continue(()), &mut out)?;
    let bytes = out.into_inner();
    let head = reader::read_head(&bytes[..])?.verify(&made_up.key.public().into())?;
    let key = format!("{}/{id}.swarmdr", made_up.cluster);
    Ok((Genuine { key, bytes }, (sealed.manifest.sequence, head.manifest_digest)))
}

fn draft(made_up: &MadeUp<'_>, id: BackupId) -> ManifestDraft {
    Manifest {
        format: FORMAT,
        id,
        sequence: made_up.previous.map_or(1, |(sequence, _)| sequence + 1),
        previous: made_up.previous.map(|(_, digest)| digest),
        created_at: made_up.created_at,
        agent_version: "0.1.0".into(),
        engine_version: "26.1.5".into(),
        cluster_id: made_up.cluster.parse().expect("is an id"),
        node_id: "n1".parse().expect("is an id"),
        hostname: "m1".into(),
        raft_addr: "10.77.0.11:2377".parse().expect("is an address"),
        raft_addr_local: true,
        managers: Vec::new(),
        raft: None,
        certificate: CertificateTimes::default(),
        autolock: false,
        kek_version: None,
        proof: Proof::Unchecked,
        proof_reason: None,
        restore: RestoreHints::default(),
        snapshot: Snapshot { mode: SnapshotMode::Cold, engine_down_ms: 1, ours_ms: 1 },
        counts: Counts::default(),
        specs: None,
        payload: (),
    }
}

/// Makes a chain of backups, an hour apart, up to one hour ago, signed with the site's key; oldest first.
pub fn made_up(site: &Site, count: i64) -> Result<Vec<Genuine>> {
    let key = SecretKey::from_minisign_str(site.signing_key()).context("the site's key is a minisign key")?;
    let mut previous = None;
    let mut genuine = Vec::new();
    for hours in (1..=count).rev() {
        let made_up = MadeUp {
            cluster: "madeupmadeupmadeupmadeup1",
            created_at: Timestamp::now() - SignedDuration::from_hours(hours),
            previous,
            key: &key,
            recipient: &site.recipient,
        };
        let (backup, link) = archive(&made_up)?;
        previous = Some(link);
        genuine.push(backup);
    }
    Ok(genuine)
}

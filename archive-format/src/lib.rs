//! The swarmdr archive: one signed file that holds the state of a Swarm manager (format 1) or a stream of data (format 2).
//!
//! `FORMAT.md` in the directory of this crate is the normative text. The crate is pure: it reads and writes through
//! [`std::io`] traits, takes time, keys and randomness as parameters, and accesses no clock, network or path.
//!
//! - [`writer::seal`] packs a directory listing into an archive and signs it.
//! - [`reader::read_head`] reads the metadata of a backup from the first [`limits::HEAD_LIMIT`] bytes.
//! - [`reader::verify_stored`] checks everything that can be checked without a decryption identity.
//! - [`reader::unpack`] streams the state, and returns `Ok` only if all of it was good.
//! - [`receipt`] packs and signs a document about a backup.
//! - [`point`] says which backup, streams and snapshots of other tools belong together in time.
//! - [`stream_archive`] packs a stream while it comes, and releases it while it is checked.
//!
//! A backup of one file, made and opened in memory:
//!
//! ```
//! use std::{io::Cursor, ops::ControlFlow};
//!
//! use ring::rand::SystemRandom;
//! use swarmdr_archive::{
//!     BackupId, EntryKind, Identities, Limits, ManifestDraft, SecretKey, TrustedKeys,
//!     manifest::{CertificateTimes, Counts, FORMAT, Proof, RestoreHints, Snapshot, SnapshotMode},
//!     reader,
//!     writer::{self, Packing, SourceEntry, SourceFile},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let created_at = "2026-01-02T03:04:05Z".parse()?;
//! let manifest = ManifestDraft {
//!     id: BackupId::new(created_at, [1, 2, 3, 4]),
//!     cluster_id: "w1ymnkr1qaqfdkyvdpgekypgb".parse()?,
//!     node_id: "k5f1mbqj2p1zk3kvq8ijhd4wd".parse()?,
//!     hostname: "manager-1".into(),
//!     raft_addr: "10.0.0.4:2377".parse()?,
//! #     format: FORMAT,
//! #     sequence: 1,
//! #     previous: None,
//! #     created_at,
//! #     agent_version: "0.1.0".into(),
//! #     engine_version: "28.5.2".into(),
//! #     raft_addr_local: true,
//! #     managers: Vec::new(),
//! #     raft: None,
//! #     certificate: CertificateTimes::default(),
//! #     autolock: false,
//! #     kek_version: None,
//! #     proof: Proof::Unchecked,
//! #     proof_reason: None,
//! #     restore: RestoreHints::default(),
//! #     snapshot: Snapshot { mode: SnapshotMode::Cold, engine_down_ms: 0, ours_ms: 0 },
//! #     counts: Counts::default(),
//! #     specs: None,
//! #     payload: (),
//!     // … and the other facts about the backup.
//! };
//! let content = b"[]";
//! let entry = |path: &str, kind, mode, size| -> Result<SourceEntry, swarmdr_archive::Error> {
//!     Ok(SourceEntry { path: path.parse()?, kind, mode, uid: 0, gid: 0, size, mtime: 0 })
//! };
//! let key = SecretKey::generate(&SystemRandom::new())?;
//! let packing = Packing {
//!     manifest,
//!     entries: vec![
//!         entry("swarm", EntryKind::Dir, 0o700, 0)?,
//!         entry("swarm/state.json", EntryKind::File, 0o600, content.len() as u64)?,
//!     ],
//!     left_out: Vec::new(),
//!     inventory: serde_json::Value::Null,
//!     recipients: &[],
//!     level: writer::DEFAULT_LEVEL,
//!     key: &key,
//! };
//! let open = |_: &SourceEntry| {
//!     Ok(SourceFile { file: Cursor::new(content), data: [0..content.len() as u64].into() })
//! };
//! let mut archive = Cursor::new(Vec::new());
//! writer::seal(packing, open, |_progress| ControlFlow::Continue(()), &mut archive)?;
//! let archive = archive.into_inner();
//!
//! let trusted = TrustedKeys::from(key.public());
//! let head = reader::read_head(&archive[..])?.verify(&trusted)?;
//! assert_eq!(head.manifest.cluster_id.as_str(), "w1ymnkr1qaqfdkyvdpgekypgb");
//!
//! // The visitor `()` ignores every entry, so this only checks.
//! let unpacked = reader::unpack(&archive[..], &trusted, &Identities::none(), &Limits::default(), &mut ())?;
//! assert_eq!(unpacked.contents.files[1].path.as_str(), "swarm/state.json");
//!
//! let stranger = TrustedKeys::from(SecretKey::generate(&SystemRandom::new())?.public());
//! assert!(reader::verify_stored(&archive[..], &stranger).is_err());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// Implements serde for a type through its `Display` and `FromStr`.
macro_rules! serde_as_string {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub mod backup_id;
pub mod contents;
pub mod digest;
pub mod entry_path;
pub mod error;
pub mod extents;
pub mod key;
mod key_id;
pub mod limits;
pub mod manifest;
pub mod point;
pub mod reader;
pub mod receipt;
pub mod recipients;
pub mod signature;
mod stream;
pub mod stream_archive;
pub mod swarm_node;
mod tar_header;
pub mod untrusted;
pub mod writer;

pub use backup_id::BackupId;
pub use contents::{Contents, EntryKind, FileEntry, LeftOut};
pub use digest::{Digest, Hasher};
pub use entry_path::EntryPath;
pub use error::{Error, Result};
pub use key::{KeyId, PublicKey, SecretKey, TrustedKeys};
pub use limits::{HEAD_LIMIT, Limits};
pub use manifest::{Manifest, ManifestDraft};
pub use recipients::{Identities, Recipient};
pub use stream::HashReader;
pub use swarm_node::{ClusterId, NodeId, SwarmNode};

//! Reads Swarm state directories. It never opens a file for writing, and follows no symbolic link.
//!
//! [`examine()`] is the one call that backup, inspect and verify need; the modules below are its parts. They are
//! layered: `wire`, `secretbox` and `fernet` handle bytes; `envelope`, `keys`, `wal` and `snapshot_file` handle files;
//! `specs`, `store`, `membership` and `replay` handle their content.
//!
//! Reading the state of this host's engine, which may run meanwhile:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use swarm_state::{Proof, examine};
//!
//! # fn main() -> Result<(), swarm_state::Error> {
//! let examined = examine(Path::new("/var/lib/docker/swarm"), None)?;
//! println!("node {} of swarm {}", examined.identity.node_id, examined.identity.cluster_id);
//! match &examined.proof {
//!     Proof::Proven => println!("it can be restored"),
//!     Proof::Sealed(checked) => println!("autolocked; {} log entries are whole", checked.entries),
//!     Proof::Unproven(damage) => println!("it breaks: {damage}"),
//! }
//! for service in examined.inventory.iter().flat_map(|inventory| &inventory.services) {
//!     println!("service {} of {}", service.name, service.image);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The error for a directory that is not a manager's state differs from that for a damaged one:
//!
//! ```
//! use swarm_state::{Error, StateDir, examine};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! std::fs::create_dir_all(dir.path().join("raft/wal-v3-encrypted"))?;
//! std::fs::write(dir.path().join("state.json"), "[]")?;
//! let survey = StateDir::open(dir.path())?.survey()?;
//! assert!(survey.has_file("state.json") && !survey.has_log());
//! assert!(matches!(examine(dir.path(), None), Err(Error::Missing { .. })));
//! # Ok(())
//! # }
//! ```

mod certificate;
mod commit_mark;
mod damage;
mod data_key;
mod envelope;
mod examine;
mod fernet;
pub mod identity;
pub mod inventory;
pub mod keys;
mod membership;
mod replay;
mod secretbox;
mod snapshot_file;
pub mod specs;
pub mod state_dir;
mod store;
#[cfg(any(test, feature = "testkit"))]
#[allow(clippy::unwrap_used, reason = "it is for tests")]
pub mod testkit;
mod wal;
mod warning;
mod wire;

pub use commit_mark::{MissingCommit, missing_commit};
pub use damage::{Damage, DamageKind, Error};
pub use examine::{Checked, Examined, Proof, examine, examine_items, read_values};
pub use identity::Identity;
pub use inventory::Inventory;
pub use keys::UnlockKey;
pub use state_dir::StateDir;
pub use warning::Warning;

/// Returns the SHA-256 as lower-case hex.
fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

/// Parses `<16 hex digits>-<16 hex digits><suffix>`, the form of the names of all files of etcd.
fn hex_pair(name: &str, suffix: &str) -> Option<(u64, u64)> {
    let (first, second) = name.strip_suffix(suffix)?.split_once('-')?;
    let number = |digits: &str| {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let whole = digits.len() == 16 && digits.bytes().all(lower);
        u64::from_str_radix(digits, 16).ok().filter(|_| whole)
    };
    Some((number(first)?, number(second)?))
}

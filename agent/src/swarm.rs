//! What a Swarm state directory says. Reads only, follows no symbolic link, never opens for writing.
//!
//! [`examine()`] is the one call that backup, inspect and verify need; the modules below are its parts. They are
//! layered: `wire`, `secretbox` and `fernet` know bytes; `envelope`, `keys`, `wal` and `snapshot_file` know files;
//! `store`, `membership` and `replay` know what is in them.

mod certificate;
mod commit_mark;
mod damage;
mod data_key;
mod envelope;
mod examine;
mod fernet;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod identity;
pub mod inventory;
pub mod keys;
mod membership;
mod replay;
mod secretbox;
mod snapshot_file;
pub mod state_dir;
mod store;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, reason = "it is for tests")]
mod testing;
mod wal;
mod warning;
mod wire;

pub use commit_mark::{MissingMark, missing_mark};
pub use damage::{Damage, DamageKind, Error};
pub use examine::{Checked, Examined, Proof, examine};
pub use identity::Identity;
pub use inventory::Inventory;
pub use keys::UnlockKey;
pub use state_dir::StateDir;
pub use warning::Warning;

/// SHA-256 as lower-case hex.
fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

/// Reads `<16 hex digits>-<16 hex digits><suffix>`, the form of all names of etcd's files.
fn hex_pair(name: &str, suffix: &str) -> Option<(u64, u64)> {
    let (first, second) = name.strip_suffix(suffix)?.split_once('-')?;
    let number = |digits: &str| {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let whole = digits.len() == 16 && digits.bytes().all(lower);
        u64::from_str_radix(digits, 16).ok().filter(|_| whole)
    };
    Some((number(first)?, number(second)?))
}

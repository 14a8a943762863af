//! The swarmdr archive, format 1: one signed file that holds the state of a Swarm manager.
//!
//! `FORMAT.md` beside this crate is the normative text. The crate is pure: it reads and writes through
//! [`std::io`] traits and takes time, keys and randomness as parameters; it knows no clock, network or path.
//!
//! - [`writer::seal`] packs a directory listing into an archive and signs it.
//! - [`reader::read_head`] needs only the first [`limits::HEAD_LIMIT`] bytes and tells what a backup is.
//! - [`reader::verify_stored`] checks everything that can be checked without a decryption identity.
//! - [`reader::unpack`] streams the state out, and says at its end whether all of it was good.
//! - [`receipt`] keeps what somebody found out about a backup.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// Serialises a type as the string that it displays, and reads it back through `FromStr`.
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
pub mod limits;
pub mod manifest;
pub mod reader;
pub mod receipt;
pub mod recipients;
pub mod signature;
mod stream;
mod tar_header;
pub mod writer;

pub use backup_id::BackupId;
pub use contents::{Contents, EntryKind, FileEntry, LeftOut};
pub use digest::Digest;
pub use entry_path::EntryPath;
pub use error::{Error, Result};
pub use key::{KeyId, PublicKey, SecretKey, TrustedKeys};
pub use limits::{HEAD_LIMIT, Limits};
pub use manifest::{Manifest, ManifestDraft};
pub use recipients::{Identities, Recipient};

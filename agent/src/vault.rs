//! Where archives go: create-only puts, versions, locks and ranged reads, in S3's verbs.
//!
//! [`Vault`] is the thin edge: one method is one attempt at one thing. What needs care across attempts is written
//! once, above it, and holds for every vault: [`store`] puts an archive and proves that it is there, [`fetch`] brings
//! one back over a connection that breaks, [`catalog`] finds the backups that verify among whatever is stored.
//!
//! Keys are relative to the vault (its bucket prefix or directory), see [`object_name`].

pub mod catalog;
pub mod clock;
// Not behind a feature: that would build the agent twice in every test run, and features unite across the workspace
// anyway. Nothing in the binary calls it, so the linker leaves it out.
#[doc(hidden)]
pub mod conformance;
mod connect;
pub mod directory;
mod error;
pub mod faulty;
mod fetch;
pub mod memory;
mod object;
pub mod object_name;
mod renew;
pub mod s3;
pub mod settings;
mod store;
mod watched;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::AsyncRead;

pub use directory::make_directory;
pub use error::VaultError;
pub use fetch::{Fetched, fetch, read_range};
pub use object::{
    Checksum, Lock, LockMode, LockPolicy, Marker, ObjectHead, Page, Placed, Tampering, Upload, Version, VersionRef,
};
pub use renew::{Renewed, renew};
pub use settings::{SettingsError, Target, VaultSettings};
pub use store::{Proof, Stored, store, store_bytes};

/// Told how many bytes are done so far. The figure goes back when a part has to be sent again.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// For callers that show no progress.
pub const NO_PROGRESS: Progress<'static> = &|_| {};

/// The bytes of a version, from [`Vault::open`].
pub type Content = Box<dyn AsyncRead + Send + Unpin>;

/// One place that keeps archives. Each method is one attempt; reads may retry inside, writes never do.
#[async_trait]
pub trait Vault: fmt::Debug + Send + Sync {
    /// How messages call this vault: its URL, without credentials.
    fn address(&self) -> &str;

    /// The lock that every put asks for; `None` where the vault cannot lock (a directory).
    fn lock_policy(&self) -> Option<LockPolicy>;

    /// Whether a put could work and would be locked. Changes nothing; the error says what is missing and the fix.
    async fn check(&self) -> Result<(), VaultError>;

    /// Whether the vault knows all that a put asks of it: a put is tried whose checksums are those of other bytes, so that
    /// it is refused at its end and nothing is stored. An error says that no put will work; trouble of the moment is none.
    async fn rehearse(&self, key: &str, now: Timestamp) -> Result<(), VaultError> {
        let _ = (key, now);
        Ok(())
    }

    /// Creates the object under a key that must be free, with the lock and a SHA-256 that the vault verifies.
    ///
    /// An error for which [`VaultError::is_transient`] holds does not say that nothing was stored: the reply may have
    /// been lost. [`store`] resolves that; call it instead. A put that fails or is dropped leaves no partial object.
    async fn put(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError>;

    /// What is stored under this version, with the retention that is in effect, not the one that was asked for.
    async fn head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError>;

    /// One page of every version and delete marker whose key starts with `under`: keys ascending by bytes, within a key
    /// newest first. `after` is the `next` of the page before, or any key to start behind. A page may be empty and
    /// still have a next one.
    async fn list_versions(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError>;

    /// Opens the bytes of `range` of one version. The stream may end early when the connection breaks;
    /// [`fetch`] and [`read_range`] resume it.
    async fn open(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError>;

    /// Removes one version for good. A locked one is refused with [`VaultError::AccessDenied`].
    async fn delete_version(&self, version: &VersionRef) -> Result<(), VaultError>;

    /// Lets the lock of one version hold until then; one that holds for longer already is an error, and stays.
    async fn extend_lock(&self, version: &VersionRef, lock: Lock) -> Result<(), VaultError>;

    /// Tries to take the protection of one version away, as whoever has these credentials could. `Ok` means that it
    /// worked: only ever for an object that nobody needs.
    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError>;

    /// What time it is there; `None` for a vault with the clock of this host.
    async fn clock(&self) -> Result<Option<Timestamp>, VaultError>;

    /// Keys of uploads that were begun and never finished nor aborted, at most one page of them. They cost money and hold no backup.
    async fn unfinished(&self) -> Result<Vec<String>, VaultError>;
}

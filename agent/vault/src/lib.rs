//! Vaults: places that keep archives, with S3's operations: create-only puts, versions, locks and ranged reads.
//!
//! [`Vault`] is a thin trait: each method makes one attempt at one operation. Everything that spans several attempts is
//! written once, on top of the trait, and works for every vault: [`store`](store()) puts an archive and proves that it
//! is there, [`put_stream`] does so for a stream of unknown length, [`fetch`](fetch()) and [`Ranges`] read one back over a
//! connection that may break, and [`catalog`] finds the backups that verify among all stored objects.
//!
//! Keys are relative to the vault (its bucket prefix or directory), see [`object_name`].
//!
//! ```
//! use swarmdr_http::Proxies;
//! use swarmdr_vault::{NO_PROGRESS, VaultSettings, fetch, store_bytes};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().display();
//! let settings = VaultSettings::new(format!("file://{path}"));
//! let vault = settings.target()?.connect(&Proxies::none()).await?;
//! vault.check().await?;
//!
//! let stored = store_bytes(&*vault, "a/key".into(), b"an archive", jiff::Timestamp::now()).await?;
//! let mut content = Vec::new();
//! let fetched = fetch(&*vault, &stored.at, stored.size, &mut content, NO_PROGRESS).await?;
//! assert_eq!((content.as_slice(), fetched.size), (&b"an archive"[..], 10));
//! # Ok(())
//! # }
//! ```
//!
//! # How a new vault is added
//!
//! 1. A module implements [`Vault`], next to [`directory`] and [`s3`]. No method retries a write; [`VaultError`] tells
//!    a refusal from an outcome that is unknown.
//! 2. [`settings`] reads the new URL scheme and its configuration keys, and refuses keys that have no effect there:
//!    [`VaultSettings::target`] returns a new variant of [`Target`].
//! 3. [`Target::connect`] (`connect.rs`) makes the vault from that variant, wrapped in a `WatchedVault`, which logs
//!    calls that take long.
//! 4. A test runs `testkit::conformance` against the vault. A promise that it cannot keep becomes a field of
//!    `Abilities`.

pub mod catalog;
pub mod clock;
mod connect;
pub mod directory;
mod error;
mod fetch;
mod object;
pub mod object_name;
mod parts;
mod prove;
mod renew;
mod replace;
pub mod s3;
pub mod settings;
mod source;
mod store;
mod stream;
#[cfg(any(test, feature = "testkit"))]
#[allow(clippy::unwrap_used, reason = "code for tests")]
pub mod testkit;
mod watched;

use std::{fmt, ops::Range};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::AsyncRead;

pub use directory::make_directory;
pub use error::VaultError;
pub use fetch::{Fetched, fetch, read_range};
pub use object::{
    Checksum, Lock, LockMode, LockPolicy, Marker, ObjectHead, Page, Placed, Tampering, Upload, Version, VersionRef,
};
pub use parts::{Draft, Part, PartLimits, Parts, SentPart};
pub use prove::{Stored, VerifiedBy};
pub use renew::{Renewed, renew, renew_points, renew_streams, renew_version};
pub use replace::replace;
pub use settings::{SettingsError, Target, VaultSettings};
pub use source::Source;
pub use store::{store, store_bytes};
pub use stream::{
    Closed, Ending, Payload, PayloadSender, PayloadWriter, Ranges, StreamSizes, StreamUpload, payload, put_stream,
};

/// Callback for the number of bytes transferred so far, which shrinks when a part has to be sent again.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// A callback that ignores progress.
pub const NO_PROGRESS: Progress<'static> = &|_| {};

/// Stream of the bytes of one version, from [`Vault::open`].
pub type Content = Box<dyn AsyncRead + Send + Unpin>;

/// A place that keeps archives. Each method makes one attempt; reads may retry internally, writes never do.
#[async_trait]
pub trait Vault: fmt::Debug + Send + Sync {
    /// Returns the name of this vault in messages: its URL, without credentials.
    fn address(&self) -> &str;

    /// Returns the lock that every put requests; `None` if the vault cannot lock (a directory).
    fn lock_policy(&self) -> Option<LockPolicy>;

    /// Checks that a put would work and its object would be locked. Changes nothing; the error says what is missing and
    /// how to fix it.
    async fn check(&self) -> Result<(), VaultError>;

    /// Checks that the vault supports everything that a put needs: tries a put with wrong checksums, which the vault
    /// refuses at its end, so nothing is stored. An error means that no put will work; an outage is not an error. The
    /// default checks nothing.
    async fn rehearse(&self, key: &str, now: Timestamp) -> Result<(), VaultError> {
        let _ = (key, now);
        Ok(())
    }

    /// Creates the object under a key that must be free, with the lock and a SHA-256 that the vault verifies.
    ///
    /// After a [transient](VaultError::is_transient) error the object may be stored anyway: the reply may have been
    /// lost. Call [`store`](store()) instead, which resolves that. A put that fails or is dropped leaves no partial
    /// object.
    async fn put(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError>;

    /// Returns what this vault takes as parts of an object.
    fn part_limits(&self) -> PartLimits;

    /// Begins an object that is put together of parts, with the lock. It becomes visible, whole, when it is completed,
    /// and only if its key is free then. Call [`put_stream`] instead.
    async fn begin<'a>(&'a self, draft: &Draft) -> Result<Box<dyn Parts + 'a>, VaultError>;

    /// Puts a few bytes on top of what the key holds: a new version, or the only one where the vault keeps none. Its lock
    /// is [`Lock::brief`], so that a bucket's default retention does not keep every version for weeks.
    async fn put_over(&self, key: &str, bytes: &[u8], now: Timestamp) -> Result<(), VaultError>;

    /// Returns size, checksum and lock of one version. The lock is the retention in effect, not the requested one.
    async fn head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError>;

    /// Returns one page of the versions and delete markers whose keys start with `under`: by key in ascending byte
    /// order, and newest first within a key. `after` is the `next` of the previous page, or any key after which to
    /// start. A page may be empty and still have a next one.
    async fn list_versions(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError>;

    /// Opens the bytes of `range` of one version. The stream may end early if the connection breaks; [`fetch`](fetch())
    /// and [`read_range`] resume it.
    async fn open(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError>;

    /// Removes one version permanently. A locked version is refused with [`VaultError::AccessDenied`].
    async fn delete_version(&self, version: &VersionRef) -> Result<(), VaultError>;

    /// Extends the lock of one version. If its lock already holds for longer, that is an error, and the lock stays.
    async fn extend_lock(&self, version: &VersionRef, lock: Lock) -> Result<(), VaultError>;

    /// Tries to remove the protection of one version, as an attacker with these credentials could. `Ok` means that the
    /// attack worked. Only for objects that nobody needs.
    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError>;

    /// Returns the time by the vault's clock; `None` for a vault that uses the clock of this host.
    async fn clock(&self) -> Result<Option<Timestamp>, VaultError>;

    /// Returns the keys of uploads that were begun and neither completed nor aborted, at most one page. They cost money
    /// and hold no backup.
    async fn unfinished(&self) -> Result<Vec<String>, VaultError>;

    /// Removes uploads that were begun before this time and never completed, if their keys start with `under`, and
    /// returns their keys; at most one page. An upload that still runs is removed too if it was begun before (in a
    /// directory: if nothing was written to it since).
    async fn discard_unfinished(&self, under: &str, before: Timestamp) -> Result<Vec<String>, VaultError>;
}

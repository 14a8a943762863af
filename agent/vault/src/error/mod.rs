//! Errors of vaults. Callers act on the variant; the operator reads the problem and the advice.

mod message;

use std::{io, path::PathBuf};

use thiserror::Error;

use super::Lock;

/// A failed call. `vault` is the address of the vault, `action` the attempted operation, and `detail` the reply of the
/// server or the error below.
///
/// Displays as the problem, followed by a semicolon and the advice if there is any; [`VaultError::problem`] and
/// [`VaultError::advice`] return each of them alone.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    NoBucket {
        vault: String,
        detail: String,
    },

    NotVersioned {
        vault: String,
    },

    NoObjectLock {
        vault: String,
    },

    /// The object is stored without the requested lock: it can be deleted or overwritten.
    LockDropped {
        vault: String,
        key: String,
        asked: Lock,
        found: Option<Lock>,
    },

    AccessDenied {
        vault: String,
        action: String,
        detail: String,
    },

    WrongCredentials {
        vault: String,
        detail: String,
    },

    /// The answer came from the proxy. It says neither why, nor whether the request reached the vault.
    Proxy {
        vault: String,
        proxy: String,
        detail: String,
    },

    /// The answer came from something that is not an S3 server.
    NotS3 {
        vault: String,
        action: String,
        detail: String,
    },

    /// The server lacks the call, or does not support one of its headers. Trying again does not help.
    NotSupported {
        vault: String,
        action: String,
        what: String,
        detail: String,
        way_out: &'static str,
    },

    WrongRegion {
        vault: String,
        action: String,
        region: String,
        detail: String,
    },

    /// The profile needs a person to log in. `profile` is its name in backquotes after a blank, or empty; in the
    /// message it follows "the profile".
    PersonalLogin {
        vault: String,
        profile: String,
    },

    /// The key is in use already. From [`store`](crate::store()): by an object with other bytes.
    AlreadyExists {
        vault: String,
        key: String,
        found: String,
    },

    ChecksumMismatch {
        vault: String,
        key: String,
        expected: String,
        found: String,
    },

    NoSpace {
        vault: String,
        action: String,
        detail: String,
    },

    /// There was no answer, or one that says "try again". Whether the request took effect is not known.
    Unreachable {
        vault: String,
        action: String,
        detail: String,
    },

    NotFound {
        vault: String,
        key: String,
    },

    /// Whoever produced a stream ended before it said that the stream is complete, so nothing was stored.
    Abandoned {
        vault: String,
        key: String,
    },

    InvalidKey {
        vault: String,
        key: String,
        why: &'static str,
    },

    /// This host failed to read a file: the archive to send, or a file that a setting names.
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    /// This host failed to write the fetched bytes.
    Sink {
        key: String,
        source: io::Error,
    },

    /// The place of the vault cannot be used as it is; `advice` says how to fix it.
    Unusable {
        vault: String,
        action: String,
        detail: String,
        advice: String,
    },

    Other {
        vault: String,
        action: String,
        detail: String,
    },
}

impl VaultError {
    /// Whether the same request may work later, or may have worked already with only its reply lost.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Proxy { .. })
    }

    /// Whether the vault itself was not reached, so the error is neither a refusal nor a sign that something is
    /// missing.
    pub fn is_inconclusive(&self) -> bool {
        let not_reached = matches!(
            self,
            Self::NotS3 { .. } | Self::WrongRegion { .. } | Self::WrongCredentials { .. } | Self::PersonalLogin { .. }
        );
        not_reached || self.is_transient()
    }
}

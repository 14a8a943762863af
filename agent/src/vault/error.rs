//! Why a vault did not do what was asked. Callers act on the kind; each message ends with what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{Lock, LockMode};

/// `vault` is the address of the vault, `action` what was attempted, `detail` what the other side answered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    #[error(
        "{vault}: there is no such bucket ({detail}); create it with versioning and Object Lock on, or correct `url`"
    )]
    NoBucket { vault: String, detail: String },

    #[error(
        "{vault}: the bucket keeps no versions, so a stored backup could be overwritten; turn versioning and Object Lock on"
    )]
    NotVersioned { vault: String },

    #[error(
        "{vault}: the bucket has no Object Lock, so a stored backup could be deleted; turn Object Lock on, or use a bucket that has it"
    )]
    NoObjectLock { vault: String },

    /// The object is stored but can be deleted or overwritten.
    #[error("{vault}: `{key}` was asked to be locked in {} mode until {}, but {}", asked.mode, asked.until, found_lock(*found))]
    LockDropped { vault: String, key: String, asked: Lock, found: Option<Lock> },

    #[error("{vault}: not allowed to {action} ({detail}); grant it to these credentials")]
    AccessDenied { vault: String, action: String, detail: String },

    #[error("{vault}: the credentials do not work ({detail}); check the access key, the secret and this host's clock")]
    WrongCredentials { vault: String, detail: String },

    /// A proxy's own answer: it tells neither why nor whether it ever asked the vault.
    #[error(
        "{vault}: the proxy {proxy} does not pass this on ({detail}); it may want a login (`proxy_login_file`) or forbid the vault's address: see its log"
    )]
    Proxy { vault: String, proxy: String, detail: String },

    /// Whatever answered, it is no S3 server.
    #[error(
        "{vault}: failed to {action}: {detail}: is `endpoint` right, and is there a proxy or a login page (a captive portal) in between?"
    )]
    NotS3 { vault: String, action: String, detail: String },

    /// The server has no such call, or does not do what a header asks for: trying again helps nobody.
    #[error("{vault}: failed to {action}: the server does not know {what} ({detail}); {way_out}")]
    NotSupported { vault: String, action: String, what: String, detail: String, way_out: &'static str },

    #[error(
        "{vault}: failed to {action}: the bucket is in the region `{region}` ({detail}); set `region = \"{region}\"` for this vault"
    )]
    WrongRegion { vault: String, action: String, region: String, detail: String },

    /// `profile` reads behind "the profile": empty, or its name in quotes.
    #[error(
        "{vault}: the profile{profile} is one that a person logs in to (SSO, `aws login`), and on a manager nobody does: its sessions end after hours; use the role of the instance, an access key in `credentials_file`, or a profile with `credential_process` or `role_arn`"
    )]
    PersonalLogin { vault: String, profile: String },

    /// The key is taken by other bytes than ours.
    #[error("{vault}: `{key}` exists already ({found}); nothing was replaced")]
    AlreadyExists { vault: String, key: String, found: String },

    #[error(
        "{vault}: the bytes of `{key}` are not the ones sent: expected {expected}, found {found}; check the network and the vault's disks, then run again"
    )]
    ChecksumMismatch { vault: String, key: String, expected: String, found: String },

    #[error("{vault}: no room to {action} ({detail}); free space or raise the quota")]
    NoSpace { vault: String, action: String, detail: String },

    /// No answer, or one that says "try again": the effect of the request is unknown.
    #[error("{vault}: failed to {action}: {detail}; check the network and the endpoint, then run again")]
    Unreachable { vault: String, action: String, detail: String },

    #[error("{vault}: there is no `{key}`; it was deleted, or never stored")]
    NotFound { vault: String, key: String },

    #[error("{vault}: `{key}` cannot be a key of this vault: {why}")]
    InvalidKey { vault: String, key: String, why: &'static str },

    /// This host's side: the archive to send, or the file to write into.
    #[error("failed to {action} `{}`", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },

    #[error("failed to write the bytes fetched of `{key}`; free space at the destination and run again")]
    Sink { key: String, source: io::Error },

    #[error("{vault}: failed to {action}: {detail}")]
    Other { vault: String, action: String, detail: String },
}

impl VaultError {
    /// True when the same request may work later, and when it may have worked already with its reply lost.
    pub fn is_transient(&self) -> bool {
        matches!(self, VaultError::Unreachable { .. } | VaultError::Proxy { .. })
    }

    /// True when this says nothing of what was asked for, only that the vault was not heard: it is neither a refusal nor
    /// a sign that something is not there.
    pub fn tells_nothing(&self) -> bool {
        let unheard = matches!(
            self,
            VaultError::NotS3 { .. }
                | VaultError::WrongRegion { .. }
                | VaultError::WrongCredentials { .. }
                | VaultError::PersonalLogin { .. }
        );
        unheard || self.is_transient()
    }
}

fn found_lock(found: Option<Lock>) -> String {
    match found {
        None => {
            "the server dropped the lock without an error (Ceph before version 20 does that to multipart uploads): \
                 the copy can be deleted; upgrade the server, or raise `multipart_threshold` above the size of a backup"
                .into()
        }
        Some(Lock { mode, until }) => {
            format!("the server gave it {mode} until {until}; look for a bucket policy or default that changes locks")
        }
    }
}

impl std::fmt::Display for LockMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LockMode::Compliance => "COMPLIANCE",
            LockMode::Governance => "GOVERNANCE",
        })
    }
}

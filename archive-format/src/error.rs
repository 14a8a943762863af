//! What can be wrong with an archive, told apart by what the caller does about it.

use std::io;

use crate::entry_path::EntryPath;
use crate::key::KeyId;

/// What this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an archive, a key or a name was refused. No message holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are something else altogether.
    #[error("not a swarmdr archive: {reason}")]
    NotAnArchive {
        /// What was found instead.
        reason: String,
    },
    /// The bytes end too early.
    #[error("the archive is cut off within {within}; fetch it again")]
    Truncated {
        /// The part that is incomplete.
        within: &'static str,
    },
    /// Bytes that belong to nothing, padding that is not zero included.
    #[error("the archive has bytes that belong to nothing after {after}")]
    TrailingBytes {
        /// The part before them.
        after: &'static str,
    },
    /// A member of the outer tar is not the one that belongs there.
    #[error("the archive has a member `{found}` where {expected} belongs")]
    UnexpectedMember {
        /// Its name, escaped.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The archive is of a format that this version does not know.
    #[error("the archive is of format {found} and this version reads format 1 only; update swarmdr-agent")]
    UnsupportedVersion {
        /// The format that the manifest names.
        found: u64,
    },
    /// The manifest is signed by a key that is not trusted here.
    #[error("the archive is signed by key {key_id}, which is not trusted here (trusted: {trusted})")]
    UnknownKey {
        /// The signer, as the archive claims it.
        key_id: KeyId,
        /// The ids of the trusted keys, or `none`.
        trusted: String,
    },
    /// The signature is malformed or does not verify: the manifest is forged or damaged.
    #[error("the signature of the manifest is not valid: {reason}")]
    BadSignature {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The manifest is well signed but breaks a rule of the format.
    #[error("the manifest is not valid: {reason}")]
    InvalidManifest {
        /// The rule that it breaks.
        reason: String,
    },
    /// The list of contents breaks a rule of the format.
    #[error("contents.json is not valid: {reason}")]
    InvalidContents {
        /// The rule that it breaks.
        reason: String,
    },
    /// A path that could lead out of the directory it is unpacked into, or cannot be stored.
    #[error("the path `{path}` {reason}")]
    UnsafePath {
        /// The path, escaped and cut.
        path: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// An entry of the payload is not the next one that contents.json lists.
    #[error("the payload holds {found} where contents.json lists {expected}")]
    UnexpectedEntry {
        /// What is there.
        found: String,
        /// What was listed.
        expected: String,
    },
    /// A link, device, socket or extension where only files and directories may be.
    #[error("the payload holds `{name}`, a {kind}; only files and directories may be in it")]
    ForbiddenEntry {
        /// Its name, escaped.
        name: String,
        /// What it is.
        kind: String,
    },
    /// The tar header of an entry says something else than contents.json.
    #[error("the tar header of `{path}` and contents.json disagree about its {what}")]
    EntryMismatch {
        /// The entry.
        path: String,
        /// The field that differs.
        what: &'static str,
    },
    /// Bytes are not the ones that were signed.
    #[error("the digest of {what} is not the signed one: it was altered or damaged")]
    DigestMismatch {
        /// What was hashed.
        what: String,
    },
    /// A length is not the one that was signed.
    #[error("the size of {what} is not the signed one ({expected} bytes)")]
    SizeMismatch {
        /// What was measured.
        what: &'static str,
        /// The signed size.
        expected: u64,
    },
    /// More than a reader takes.
    #[error("{what} is over the limit of {limit}")]
    LimitExceeded {
        /// What is too large or too many.
        what: &'static str,
        /// The most that is allowed, in the unit of the limit.
        limit: u64,
    },
    /// The payload is encrypted and no identity was given.
    #[error("the payload is encrypted to {recipients}; give the identity of one of them")]
    NeedsIdentity {
        /// The public recipients.
        recipients: String,
    },
    /// None of the given identities opens the payload.
    #[error("none of the given identities opens the payload, which is encrypted to {recipients}")]
    WrongIdentity {
        /// The public recipients.
        recipients: String,
    },
    /// A layer of the payload cannot be decoded although its bytes are the signed ones.
    #[error("the {layer} of the payload cannot be decoded")]
    Damaged {
        /// The layer: encryption, compression or tar.
        layer: &'static str,
        /// What the decoder says.
        source: io::Error,
    },
    /// Text that is not the id of a backup.
    #[error("`{text}` is not a backup id; one looks like 20260102T030405Z-0a1b2c3d")]
    InvalidBackupId {
        /// The text, cut.
        text: String,
    },
    /// Text that is not a SHA-256.
    #[error("not a SHA-256 in 64 lower-case hex digits")]
    InvalidDigest,
    /// A minisign key that cannot be used.
    #[error("the minisign {which} key cannot be used: {reason}")]
    InvalidKey {
        /// `public` or `secret`.
        which: &'static str,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// An age recipient that cannot be used.
    #[error("the age recipient on line {line} cannot be used: {reason}")]
    InvalidRecipient {
        /// The line, from 1.
        line: usize,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// An age identity that cannot be used.
    #[error("the age identity on line {line} cannot be used: {reason}")]
    InvalidIdentity {
        /// The line, from 1.
        line: usize,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// An argument of the writer that no archive can be made of.
    #[error("cannot pack: {reason}")]
    InvalidInput {
        /// What is wrong with it.
        reason: String,
    },
    /// A file to pack could not be read.
    #[error("cannot read `{path}` to pack it")]
    Source {
        /// Its name in the archive.
        path: EntryPath,
        /// What the system says.
        source: io::Error,
    },
    /// A file changed while it was packed.
    #[error("`{path}` changed while it was packed: {what}")]
    SourceChanged {
        /// Its name in the archive.
        path: EntryPath,
        /// What about it changed.
        what: &'static str,
    },
    /// The caller's visitor could not take an entry.
    #[error("cannot unpack `{path}`")]
    Visit {
        /// The entry.
        path: String,
        /// What the visitor says.
        source: io::Error,
    },
    /// The progress callback asked to stop.
    #[error("stopped before the archive was complete")]
    Cancelled,
    /// The archive itself could not be read or written.
    #[error("cannot {action} the archive")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn read(source: io::Error) -> Self {
        Self::Io { action: "read", source }
    }

    pub(crate) fn write(source: io::Error) -> Self {
        Self::Io { action: "write", source }
    }

    pub(crate) fn damaged(layer: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Damaged { layer, source }
    }

    pub(crate) fn limit(what: &'static str, limit: u64) -> Self {
        Self::LimitExceeded { what, limit }
    }
}

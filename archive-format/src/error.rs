//! Errors of this crate, distinguished by what the caller does about them.

use std::io;

use crate::key_id::KeyId;

/// Result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Reason why an archive, a key or an id was refused. No message contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not an archive at all.
    #[error("not a swarmdr archive: {reason}")]
    NotAnArchive {
        /// Description of what was found instead.
        reason: String,
    },
    /// The bytes end too early.
    #[error("the archive is cut off within {within}; fetch it again")]
    Truncated {
        /// Part that is incomplete.
        within: &'static str,
    },
    /// There are bytes that belong to no part of the archive, or padding that is not zero.
    #[error("the archive has bytes that belong to nothing after {after}")]
    TrailingBytes {
        /// Part before these bytes.
        after: &'static str,
    },
    /// A member of the outer tar is not the expected one.
    #[error("the archive has a member `{found}` where {expected} belongs")]
    UnexpectedMember {
        /// Name that was found, escaped.
        found: String,
        /// Name of the expected member.
        expected: &'static str,
    },
    /// The archive has another format than the one that belongs here, which may be one of a later version.
    #[error("the archive is of format {found}, and this version reads only format {reads} here; update swarmdr-agent")]
    UnsupportedVersion {
        /// Format that the manifest names.
        found: u64,
        /// Format that this reader reads.
        reads: u64,
    },
    /// The archive is of another kind, by its members.
    #[error("the archive is {found}, not {wanted}")]
    OtherKind {
        /// Kind that was found.
        found: &'static str,
        /// Kind that was expected.
        wanted: &'static str,
    },
    /// The manifest is signed by a key that is not trusted here.
    #[error("the archive is signed by key {key_id}, which is not trusted here (trusted: {trusted})")]
    UnknownKey {
        /// Key id that the archive claims.
        key_id: KeyId,
        /// Ids of the trusted keys, or `none`.
        trusted: String,
    },
    /// The signature is malformed or does not verify: the manifest is forged or damaged.
    #[error("the signature of the manifest is not valid: {reason}")]
    BadSignature {
        /// Description of the fault.
        reason: &'static str,
    },
    /// The signature of the manifest is good, but the manifest breaks a rule of the format.
    #[error("the manifest is not valid: {reason}")]
    InvalidManifest {
        /// Rule that is broken.
        reason: String,
    },
    /// The list of contents breaks a rule of the format.
    #[error("contents.json is not valid: {reason}")]
    InvalidContents {
        /// Rule that is broken.
        reason: String,
    },
    /// A path could lead out of the directory into which it is unpacked, or cannot be stored.
    #[error("the path `{path}` {reason}")]
    UnsafePath {
        /// Path, escaped and truncated.
        path: String,
        /// Rule that is broken.
        reason: &'static str,
    },
    /// An entry of the payload is not the next one that contents.json lists.
    #[error("the payload holds {found} where contents.json lists {expected}")]
    UnexpectedEntry {
        /// Description of the entry that was found.
        found: String,
        /// Description of the entry that was listed.
        expected: String,
    },
    /// There is a link, device, socket or extension in the payload, where only files and directories are allowed.
    #[error("the payload holds `{name}`, a {kind}; only files and directories may be in it")]
    ForbiddenEntry {
        /// Name that was found, escaped.
        name: String,
        /// Kind of the entry.
        kind: String,
    },
    /// The tar header of an entry disagrees with contents.json.
    #[error("the tar header of `{path}` and contents.json disagree about its {what}")]
    EntryMismatch {
        /// Path of the entry.
        path: String,
        /// Field that differs.
        what: &'static str,
    },
    /// The digest of some bytes is not the signed one.
    #[error("the digest of {what} is not the signed one: it was altered or damaged")]
    DigestMismatch {
        /// Name of the hashed part.
        what: String,
    },
    /// The archive may be good, and is not the one that was asked for.
    #[error("the archive is another one than was asked for: its manifest is {found}, not {wanted}")]
    OtherArchive {
        /// Digest of the manifest that was asked for.
        wanted: String,
        /// Digest of the one that is here.
        found: String,
    },
    /// The stream may be good, and does not belong to the place where it was found.
    #[error("the archive belongs at `{own}`, not at `{place}`")]
    Misplaced {
        /// Key that the manifest asks for.
        own: String,
        /// Key that it was found at.
        place: String,
    },
    /// A chunk of a stream is not the signed one, or is not there. Nothing of it was released.
    #[error("chunk {chunk} of the stream, at byte {offset} of its payload, {fault}")]
    BadChunk {
        /// Number of the chunk, counted from 0.
        chunk: u64,
        /// Offset in the stored payload, in bytes: of the chunk, or of the end if the payload ends in the chunk.
        offset: u64,
        /// Fault, and what to do about it.
        fault: &'static str,
    },
    /// A chunk of a stream could not be read. Nothing of it was released.
    #[error("cannot read chunk {chunk} of the stream, at byte {offset} of its payload")]
    ChunkUnread {
        /// Number of the chunk, counted from 0.
        chunk: u64,
        /// Offset of the chunk in the stored payload, in bytes.
        offset: u64,
        /// Error of the input.
        source: io::Error,
    },
    /// What a stream holds could not be handed on: the receiver ended or refused it.
    #[error("cannot hand on what the stream holds, after {released} bytes")]
    Output {
        /// Number of bytes that the receiver took before that.
        released: u64,
        /// Error of the receiver.
        source: io::Error,
    },
    /// A size is not the signed one.
    #[error("the size of {what} is not the signed one ({expected} bytes)")]
    SizeMismatch {
        /// Name of the measured part.
        what: &'static str,
        /// Signed size in bytes.
        expected: u64,
    },
    /// A limit was exceeded.
    #[error("{what} is over the limit of {limit}")]
    LimitExceeded {
        /// Name of the quantity that is too large.
        what: &'static str,
        /// Maximum, in the unit of the quantity.
        limit: u64,
    },
    /// The payload is encrypted and no identity was given.
    #[error("the payload is encrypted to {recipients}; give the identity of one of them")]
    NeedsIdentity {
        /// Recipients of the payload.
        recipients: String,
    },
    /// None of the given identities decrypts the payload.
    #[error("none of the given identities opens the payload, which is encrypted to {recipients}")]
    WrongIdentity {
        /// Recipients of the payload.
        recipients: String,
    },
    /// A layer of the payload cannot be decoded although its bytes have the signed digest.
    #[error("the {layer} of the payload cannot be decoded")]
    Damaged {
        /// Layer: encryption, compression or tar.
        layer: &'static str,
        /// Error of the decoder.
        source: io::Error,
    },
    /// The text is not a backup id.
    #[error("`{text}` is not a backup id; one looks like 20260102T030405Z-0a1b2c3d")]
    InvalidBackupId {
        /// Text, truncated.
        text: String,
    },
    /// The text is not the name of a stream.
    #[error(
        "`{text}` is not the name of a stream; one is 1 to 64 of a-z, 0-9, `-` and `_`, begins with a letter or digit, \
         and looks like shop-db"
    )]
    InvalidStreamName {
        /// Text, escaped and truncated.
        text: String,
    },
    /// The text is not the key of a stream in a vault.
    #[error("`{text}` is not the key of a stream; one is streams/CLUSTER/NAME/ID.stream")]
    InvalidStreamKey {
        /// Text, escaped and truncated.
        text: String,
    },
    /// The text is not the key of a recovery point in a vault.
    #[error("`{text}` is not the key of a recovery point; one is points/CLUSTER/ID.point")]
    InvalidPointKey {
        /// Text, escaped and truncated.
        text: String,
    },
    /// The document of a recovery point breaks a rule of the format.
    #[error("the recovery point is not valid: {reason}")]
    InvalidPoint {
        /// Rule that is broken.
        reason: String,
    },
    /// Text that is not the id of a cluster or of a node.
    #[error("`{text}` is not a {kind}; one is 1 to 64 letters and digits, like w1ymnkr1qaqfdkyvdpgekypgb")]
    InvalidSwarmId {
        /// `cluster id` or `node id`.
        kind: &'static str,
        /// The text, escaped and cut.
        text: String,
    },
    /// The text is not a SHA-256 digest.
    #[error("not a SHA-256 in 64 lower-case hex digits")]
    InvalidDigest,
    /// A minisign key cannot be used.
    #[error("the minisign {which} key cannot be used: {reason}")]
    InvalidKey {
        /// `public` or `secret`.
        which: &'static str,
        /// Reason, and what to do about it.
        reason: &'static str,
    },
    /// An age recipient cannot be used.
    #[error("the age recipient on line {line} cannot be used: {reason}")]
    InvalidRecipient {
        /// Line number, counted from 1.
        line: usize,
        /// Reason, and what to do about it.
        reason: &'static str,
    },
    /// An age identity cannot be used.
    #[error("the age identity on line {line} cannot be used: {reason}")]
    InvalidIdentity {
        /// Line number, counted from 1.
        line: usize,
        /// Reason, and what to do about it.
        reason: &'static str,
    },
    /// No archive can be made from an argument of the writer.
    #[error("cannot pack: {reason}")]
    InvalidInput {
        /// Description of the fault.
        reason: String,
    },
    /// A file to pack could not be read.
    #[error("cannot read `{path}` to pack it")]
    Source {
        /// Path of the file in the archive.
        path: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file changed while it was packed.
    #[error("`{path}` changed while it was packed: {what}")]
    SourceChanged {
        /// Path of the file in the archive.
        path: String,
        /// What changed.
        what: &'static str,
    },
    /// The visitor of the caller returned an error for an entry.
    #[error("cannot unpack `{path}`")]
    Visit {
        /// Path of the entry.
        path: String,
        /// Error of the visitor.
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
        /// Error of the operating system.
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

//! Why a registry did not do what it was asked for.

use std::{error::Error, fmt, io};

/// A failure of one operation on a registry or a layout. It holds no login and no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    pub kind: ErrorKind,
    /// What it was about: an image, a blob, or what was done with a file.
    pub what: String,
    /// The registry, or the directory.
    pub place: String,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It answers that this does not exist.
    NotThere,
    /// The login is refused, there is none, or it may not do this.
    Denied,
    /// It asks to come back later than the patience lasts.
    Busy,
    /// No answer, or one of a server that is broken.
    Unreachable,
    /// An answer that means something else.
    Refused,
    /// Bytes that are not those of the digest, or are no manifest.
    Damaged,
    /// A file of a layout.
    File,
    /// Settings that cannot be used.
    Settings,
}

impl RegistryError {
    pub(crate) fn new(kind: ErrorKind, what: &str, place: &str, why: impl ToString) -> Self {
        Self { kind, what: what.to_owned(), place: place.to_owned(), why: why.to_string() }
    }

    pub(crate) fn damaged(what: &str, place: &str, why: impl ToString) -> Self {
        Self::new(ErrorKind::Damaged, what, place, why)
    }

    /// A failure with a file; `what` follows "failed to".
    pub(crate) fn file(what: &str, cause: &io::Error) -> Self {
        Self::new(ErrorKind::File, what, "", cause)
    }

    pub(crate) fn settings(why: impl ToString) -> Self {
        Self::new(ErrorKind::Settings, "", "", why)
    }

    /// Whether it may be otherwise a little later, or from another place.
    pub fn is_unknown(&self) -> bool {
        !self.is_missing()
    }

    /// Whether the place says for sure that it does not give this.
    pub fn is_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::NotThere | ErrorKind::Denied | ErrorKind::Damaged)
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, what, place, why } = self;
        match kind {
            ErrorKind::NotThere => write!(f, "{what} is not in {place}: {why}"),
            ErrorKind::Denied => write!(f, "{place} refuses {what}: {why}"),
            ErrorKind::Busy => write!(f, "{place} is too busy for {what}: {why}"),
            ErrorKind::Unreachable => write!(f, "{place} cannot be reached for {what}: {why}"),
            ErrorKind::Refused => write!(f, "{place} did not take {what}: {why}"),
            ErrorKind::Damaged => write!(f, "{what} from {place} is damaged: {why}"),
            ErrorKind::File => write!(f, "failed to {what}: {why}"),
            ErrorKind::Settings => f.write_str(why),
        }
    }
}

impl Error for RegistryError {}

//! Why a registry did not do what it was asked for.

use thiserror::Error;

use crate::{login::NotALogin, manifest::NotAManifest};

/// A failure of one operation on a registry or a layout. None holds a login or a token.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// It answers that this does not exist.
    #[error("{what} is not in {place}: {why}")]
    NotThere { what: String, place: String, why: String },
    /// The login is refused, there is none, or it may not do this.
    #[error("{place} refuses {what}: {why}")]
    Denied { what: String, place: String, why: String },
    /// It asks to come back later than the patience lasts.
    #[error("{place} is too busy for {what}: {why}")]
    Busy { what: String, place: String, why: String },
    /// No answer, or one of a server that is broken.
    #[error("{place} cannot be reached for {what}: {why}")]
    Unreachable { what: String, place: String, why: String },
    /// An answer that means something else.
    #[error("{place} did not take {what}: {why}")]
    Refused { what: String, place: String, why: String },
    /// Bytes that are not those of the digest, or are no manifest.
    #[error("{what} from {place} is damaged: {why}")]
    Damaged { what: String, place: String, why: String },
    /// Files of a layout.
    #[error("failed to {what}")]
    File { what: String, source: std::io::Error },
    /// Settings of this registry that cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl RegistryError {
    /// Whether it may be otherwise a little later, or from another place.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unreachable { .. } | Self::File { .. } | Self::Settings(_))
    }

    /// Returns the same failure once more.
    pub(crate) fn again(&self) -> Self {
        let [what, place, why] = match self {
            Self::Unreachable { what, place, why }
            | Self::Busy { what, place, why }
            | Self::Refused { what, place, why }
            | Self::Denied { what, place, why }
            | Self::NotThere { what, place, why }
            | Self::Damaged { what, place, why } => [what, place, why].map(String::clone),
            other => return Self::Settings(other.to_string()),
        };
        match self {
            Self::Busy { .. } => Self::Busy { what, place, why },
            Self::Refused { .. } => Self::Refused { what, place, why },
            Self::Denied { .. } => Self::Denied { what, place, why },
            Self::NotThere { .. } => Self::NotThere { what, place, why },
            Self::Damaged { .. } => Self::Damaged { what, place, why },
            _ => Self::Unreachable { what, place, why },
        }
    }

    pub(crate) fn damaged(what: &str, place: &str, why: impl ToString) -> Self {
        Self::Damaged { what: what.to_owned(), place: place.to_owned(), why: why.to_string() }
    }

    pub(crate) fn manifest(what: &str, place: &str, why: &NotAManifest) -> Self {
        Self::damaged(what, place, why)
    }
}

impl From<NotALogin> for RegistryError {
    fn from(cause: NotALogin) -> Self {
        Self::Settings(cause.to_string())
    }
}

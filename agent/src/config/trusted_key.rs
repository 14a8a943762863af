//! Public keys whose signatures are trusted, for ever or until a time.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One entry of `trusted_keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a key is `RW…` or the path of a .pub file, or { key = \"RW…\", until = \"2026-11-21T10:15Z\" }"
)]
pub enum TrustedKey {
    Always(String),
    Until(EndedKey),
}

/// A key that is not trusted for archives that were stored at `until` or later, by the vault's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndedKey {
    pub key: String,
    pub until: Timestamp,
}

impl TrustedKey {
    /// The key as it is written: `RW…`, or a path.
    pub fn named(&self) -> &str {
        match self {
            TrustedKey::Always(key) => key,
            TrustedKey::Until(ended) => &ended.key,
        }
    }

    pub fn until(&self) -> Option<Timestamp> {
        match self {
            TrustedKey::Always(_) => None,
            TrustedKey::Until(ended) => Some(ended.until),
        }
    }
}

/// Formats the entry as it is written in the configuration.
impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedKey::Always(key) => write!(f, "\"{key}\""),
            TrustedKey::Until(EndedKey { key, until }) => write!(f, "{{ key = \"{key}\", until = \"{until}\" }}"),
        }
    }
}

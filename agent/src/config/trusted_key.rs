//! Public keys whose signatures are trusted, for ever or until a time.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One entry of `trusted_keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a key is `RW…` or the path of a .pub file, or { key = \"RW…\", until = \"2026-11-21T10:15Z\" }, or { key = \"RW…\", only = \"streams\" }"
)]
pub enum TrustedKey {
    Always(String),
    Until(EndedKey),
    Only(NarrowKey),
}

/// A key whose signature counts on some archives only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NarrowKey {
    pub key: String,
    pub only: Only,
    /// As that of an [`EndedKey`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a narrow key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// Data streams: neither backups nor recovery points, nor anything else.
    Streams,
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
            TrustedKey::Only(narrow) => &narrow.key,
        }
    }

    /// The same entry with the key written in another way.
    #[must_use]
    pub fn written(&self, key: String) -> Self {
        let mut written = self.clone();
        match &mut written {
            TrustedKey::Always(named) => *named = key,
            TrustedKey::Until(ended) => ended.key = key,
            TrustedKey::Only(narrow) => narrow.key = key,
        }
        written
    }

    pub fn until(&self) -> Option<Timestamp> {
        match self {
            TrustedKey::Always(_) => None,
            TrustedKey::Until(ended) => Some(ended.until),
            TrustedKey::Only(narrow) => narrow.until,
        }
    }

    /// Whether its signature counts on data streams, and on nothing else.
    pub fn is_for_streams_only(&self) -> bool {
        matches!(self, TrustedKey::Only(NarrowKey { only: Only::Streams, .. }))
    }
}

/// Formats the entry as it is written in the configuration.
impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedKey::Always(key) => write!(f, "\"{key}\""),
            TrustedKey::Until(EndedKey { key, until }) => write!(f, "{{ key = \"{key}\", until = \"{until}\" }}"),
            TrustedKey::Only(NarrowKey { key, only: Only::Streams, until }) => {
                write!(f, "{{ key = \"{key}\", only = \"streams\"")?;
                until.iter().try_for_each(|until| write!(f, ", until = \"{until}\""))?;
                f.write_str(" }")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_key_is_written_as_it_is_read() {
        let text = r#"["RWa", { key = "RWb", until = "2026-11-21T10:15:00Z" }, { key = "RWc", only = "streams" }, { key = "RWd", only = "streams", until = "2026-11-21T10:15:00Z" }]"#;
        let config: Config = toml::from_str(&format!("trusted_keys = {text}")).expect("is a configuration");
        let shown: Vec<String> = config.trusted_keys.iter().map(ToString::to_string).collect();
        assert_eq!(format!("[{}]", shown.join(", ")), text);
        let narrow: Vec<bool> = config.trusted_keys.iter().map(TrustedKey::is_for_streams_only).collect();
        assert_eq!(narrow, [false, false, true, true]);
        for wrong in [
            r#"{ key = "RWa" }"#,
            r#"{ key = "RWa", only = "backups" }"#,
            r#"{ key = "RWa", only = "streams", x = 1 }"#,
        ] {
            let error = toml::from_str::<Config>(&format!("trusted_keys = [{wrong}]")).expect_err(wrong).to_string();
            assert!(error.contains(r#"only = "streams""#), "{error}");
        }
    }
}

//! Name of a stream, which an operator chose.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// Longest name, in bytes.
const MAX_LEN: usize = 64;

/// Name of a stream: 1 to 64 bytes of `a-z`, `0-9`, `-` and `_`, the first of which is a letter or a digit.
///
/// It is one harmless component of a path and of an object's key, also where upper and lower case are the same, and it
/// cannot be taken for an option of a command. Ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(String);

impl StreamName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_well_formed(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LEN
        && bytes.first().is_some_and(|&first| plain(first))
        && bytes.iter().all(|&byte| plain(byte) || byte == b'-' || byte == b'_')
}

impl FromStr for StreamName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_well_formed(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::InvalidStreamName { text: text.escape_debug().take(MAX_LEN).collect() })
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamName({})", self.0)
    }
}

serde_as_string!(StreamName);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_harmless_component() {
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        for text in ["a", "0", "shop-db", "shop_db", "a--b", "a-", longest.as_str()] {
            assert_eq!(text.parse::<StreamName>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "-a",
            "_a",
            ".",
            "..",
            "a.b",
            "a/b",
            "/a",
            "a\\b",
            "A",
            "shop-DB",
            "a b",
            " a",
            "a\n",
            "a\0",
            "é",
            "a\u{202e}",
            "--latest",
            too_long.as_str(),
        ] {
            assert!(text.parse::<StreamName>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<StreamName>(text.into()).is_err(), "{text:?}");
        }
        let message = "a\u{1b}[2J".parse::<StreamName>().unwrap_err().to_string();
        assert!(message.starts_with(r"`a\u{1b}[2J` is not the name of a stream"), "{message}");
    }
}

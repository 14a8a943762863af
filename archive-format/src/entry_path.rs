//! Paths inside the payload. The type admits only safe ones.

use std::{fmt, path::Path, str::FromStr};

use crate::error::Error;

/// Directory of the payload that holds the copy of the state directory.
pub const STATE_ROOT: &str = "swarm";

/// A relative path that cannot lead out of the directory into which it is extracted; `/` separates its components.
///
/// It is never empty, absolute or longer than [`EntryPath::MAX_BYTES`]. No component is empty, `.`, `..` or longer than
/// [`EntryPath::MAX_COMPONENT`]. It has no backslash and no control character. Paths are ordered by bytes, so that a
/// directory comes before its contents.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(String);

impl EntryPath {
    /// Maximum length of a path in bytes.
    pub const MAX_BYTES: usize = 1024;
    /// Maximum length of a component in bytes, as on Linux filesystems.
    pub const MAX_COMPONENT: usize = 255;

    /// Returns the entry path of `relative` in the state directory; an empty path is the state directory itself.
    pub fn in_state(relative: &Path) -> Result<Self, Error> {
        let refuse = |reason| unsafe_path(&relative.to_string_lossy(), reason);
        let text = relative.to_str().ok_or_else(|| refuse("is not UTF-8"))?;
        match text {
            "" => STATE_ROOT.parse(),
            text => format!("{STATE_ROOT}/{text}").parse(),
        }
    }

    /// Returns the path below the state directory; empty for the state directory itself.
    pub fn state_relative(&self) -> &Path {
        let below = self.0.strip_prefix(STATE_ROOT).unwrap_or(&self.0);
        Path::new(below.strip_prefix('/').unwrap_or(below))
    }

    /// Returns the path as it is written in the archive.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the directory that holds this entry; `None` for an entry at the top.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }
}

/// Returns the first rule that a path breaks, if any.
fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.len() > EntryPath::MAX_BYTES {
        return Some("is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Some("holds a control character or a backslash");
    }
    path.split('/').find_map(|component| match component {
        "" => Some("has an empty component"),
        "." | ".." => Some("has a component `.` or `..`"),
        long if long.len() > EntryPath::MAX_COMPONENT => Some("has a component longer than 255 bytes"),
        _ => None,
    })
}

fn unsafe_path(path: &str, reason: &'static str) -> Error {
    let path = path.escape_debug().take(EntryPath::MAX_BYTES).collect();
    Error::UnsafePath { path, reason }
}

impl FromStr for EntryPath {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        match fault(path) {
            Some(reason) => Err(unsafe_path(path, reason)),
            None => Ok(Self(path.to_owned())),
        }
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryPath({})", self.0)
    }
}

serde_as_string!(EntryPath);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    #[test]
    fn unsafe_paths_cannot_be_made() {
        let long = "a/".repeat(512) + "b";
        let wide = "a".repeat(256);
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "swarm/..",
            "swarm/../x",
            ".",
            "swarm/./x",
            "swarm//x",
            "swarm/",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{85}b",
            &long,
            &wide,
        ] {
            assert!(matches!(path.parse::<EntryPath>(), Err(Error::UnsafePath { .. })), "{path:?}");
        }
    }

    #[test]
    fn state_paths_round_trip() {
        for (relative, path) in [("", "swarm"), ("raft/wal", "swarm/raft/wal"), ("...", "swarm/...")] {
            let entry = EntryPath::in_state(Path::new(relative)).unwrap();
            assert_eq!(entry.as_str(), path);
            assert_eq!(entry.state_relative(), Path::new(relative));
        }
        assert!(EntryPath::in_state(Path::new("/x")).is_err());
    }
}

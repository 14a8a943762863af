//! Keys of streams in a vault: `streams/<cluster id>/<name>/<id>.stream`.

use std::{fmt, str::FromStr};

use swarmdr_archive::{BackupId, ClusterId};
use thiserror::Error;

use super::object_name::STREAMS;

const SUFFIX: &str = ".stream";

/// The longest name of a stream, in bytes.
const LONGEST: usize = 64;

/// The name of a stream, under which it is stored again and again: 1 to 64 characters of `a-z`, `0-9`, `.`, `_` and `-`,
/// the first a letter or digit. No two names differ in their case only, and none is a hidden file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamLabel(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamNameError {
    #[error("not of the form `streams/<cluster id>/<name>/<id>.stream`")]
    Shape,
    #[error("a cluster id is 1 to 64 letters and digits")]
    Cluster,
    #[error("the name of a stream is 1 to 64 characters of a-z, 0-9, `.`, `_` and `-`, the first a letter or digit")]
    Label,
    #[error("an id is `YYYYMMDDTHHMMSSZ-` and 8 characters of 0-9 and a-f")]
    Id,
}

impl FromStr for StreamLabel {
    type Err = StreamNameError;

    fn from_str(text: &str) -> Result<Self, StreamNameError> {
        let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_inner = |byte: u8| is_edge(byte) || matches!(byte, b'.' | b'_' | b'-');
        let good = text.len() <= LONGEST && text.bytes().next().is_some_and(is_edge) && text.bytes().all(is_inner);
        if good { Ok(Self(text.to_owned())) } else { Err(StreamNameError::Label) }
    }
}

impl fmt::Display for StreamLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Key of one stored stream. Every value is well-formed, so none points outside its vault.
///
/// Ordered by cluster, then by name, then by time, as keys sort.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    cluster: ClusterId,
    label: StreamLabel,
    id: BackupId,
}

impl StreamName {
    /// The id is made like that of a backup: of the time at which the stream begins, and a random tag.
    pub fn new(cluster: ClusterId, label: StreamLabel, id: BackupId) -> Self {
        Self { cluster, label, id }
    }

    /// Parses a key. Accepts exactly the text that [`Self::key`] returns.
    pub fn parse(key: &str) -> Result<Self, StreamNameError> {
        let mut levels = key.strip_prefix(STREAMS).ok_or(StreamNameError::Shape)?.split('/');
        let (Some(cluster), Some(label), Some(file), None) =
            (levels.next(), levels.next(), levels.next(), levels.next())
        else {
            return Err(StreamNameError::Shape);
        };
        let id = file.strip_suffix(SUFFIX).ok_or(StreamNameError::Shape)?;
        let cluster = cluster.parse().map_err(|_| StreamNameError::Cluster)?;
        Ok(Self::new(cluster, label.parse()?, id.parse().map_err(|_| StreamNameError::Id)?))
    }

    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    pub fn label(&self) -> &StreamLabel {
        &self.label
    }

    pub fn id(&self) -> BackupId {
        self.id
    }

    pub fn key(&self) -> String {
        self.to_string()
    }

    /// Returns the prefix of the keys of all streams of one cluster.
    pub fn cluster_prefix(cluster: &ClusterId) -> String {
        format!("{STREAMS}{cluster}/")
    }

    /// Returns the prefix of all keys of one stream.
    pub fn prefix(cluster: &ClusterId, label: &StreamLabel) -> String {
        format!("{STREAMS}{cluster}/{label}/")
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{SUFFIX}", Self::prefix(&self.cluster, &self.label), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_name::{self, ObjectName};

    #[test]
    fn a_name_reads_back_as_written_and_is_no_backup() {
        let (cluster, label) = ("q9x0h2k7m1c4v8b6n3z5a7s2d".parse().unwrap(), "shop-db.v2_x".parse().unwrap());
        let name = StreamName::new(cluster, label, "20261121T101500Z-0a1b2c3d".parse().unwrap());
        let key = "streams/q9x0h2k7m1c4v8b6n3z5a7s2d/shop-db.v2_x/20261121T101500Z-0a1b2c3d.stream";
        assert_eq!(name.key(), key);
        assert_eq!(StreamName::parse(key), Ok(name));
        assert!(object_name::is_own(key) && ObjectName::parse(key).is_err());
    }

    #[test]
    fn anything_else_is_refused() {
        use StreamNameError::*;
        let long = format!("streams/abc/{}/20261121T101500Z-0a1b2c3d.stream", "l".repeat(65));
        for (key, why) in [
            ("", Shape),
            ("abc/20261121T101500Z-0a1b2c3d.swarmdr", Shape),
            ("streams/abc/20261121T101500Z-0a1b2c3d.stream", Shape),
            ("streams/abc/db/x/20261121T101500Z-0a1b2c3d.stream", Shape),
            ("streams/abc/db/20261121T101500Z-0a1b2c3d.swarmdr", Shape),
            ("streams//db/20261121T101500Z-0a1b2c3d.stream", Cluster),
            ("streams/../db/20261121T101500Z-0a1b2c3d.stream", Cluster),
            ("streams/abc//20261121T101500Z-0a1b2c3d.stream", Label),
            ("streams/abc/../20261121T101500Z-0a1b2c3d.stream", Label),
            ("streams/abc/.db/20261121T101500Z-0a1b2c3d.stream", Label),
            ("streams/abc/DB/20261121T101500Z-0a1b2c3d.stream", Label),
            ("streams/abc/ü/20261121T101500Z-0a1b2c3d.stream", Label),
            (&long, Label),
            ("streams/abc/db/20261121T101500Z-0A1B2C3D.stream", Id),
        ] {
            assert_eq!(StreamName::parse(key), Err(why), "{key}");
        }
    }
}

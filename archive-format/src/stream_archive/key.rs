//! Place of a stream in a vault: `streams/<cluster id>/<name>/<id>.stream`.

use std::{fmt, str::FromStr};

use super::StreamName;
use crate::{
    backup_id::BackupId,
    error::{Error, Result},
    swarm_node::ClusterId,
};

/// Prefix of the keys of all streams; the cluster id follows.
pub const STREAMS: &str = "streams/";

const SUFFIX: &str = ".stream";

/// Key of one stream in a vault. Every value is well-formed, so none points outside of [`STREAMS`].
///
/// Ordered by cluster, by name, then by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// Swarm whose data the stream holds.
    pub cluster: ClusterId,
    /// Name of the stream.
    pub name: StreamName,
    /// Id of this one among the streams of that name.
    pub id: BackupId,
}

impl StreamKey {
    /// Returns the prefix of the keys of all streams of one cluster.
    pub fn cluster_prefix(cluster: &ClusterId) -> String {
        format!("{STREAMS}{cluster}/")
    }

    /// Returns the prefix of the keys of all streams of one name.
    pub fn name_prefix(cluster: &ClusterId, name: &StreamName) -> String {
        format!("{STREAMS}{cluster}/{name}/")
    }
}

impl FromStr for StreamKey {
    type Err = Error;

    /// Parses exactly the form that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| Error::InvalidStreamKey { text: text.escape_debug().take(256).collect() })
    }
}

fn parse(text: &str) -> Option<StreamKey> {
    let (cluster, rest) = text.strip_prefix(STREAMS)?.split_once('/')?;
    let (name, file) = rest.split_once('/')?;
    let id = file.strip_suffix(SUFFIX)?;
    Some(StreamKey { cluster: cluster.parse().ok()?, name: name.parse().ok()?, id: id.parse().ok()? })
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STREAMS}{}/{}/{}{SUFFIX}", self.cluster, self.name, self.id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    const KEY: &str = "streams/q9x0h2k7m1c4v8b6n3z5a7s2d/shop-db/20261121T101500Z-0a1b2c3d.stream";

    #[test]
    fn a_key_reads_back_as_written() {
        let key: StreamKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert!(KEY.starts_with(&StreamKey::name_prefix(&key.cluster, &key.name)));
        assert!(KEY.starts_with(&StreamKey::cluster_prefix(&key.cluster)));
    }

    #[test]
    fn anything_else_is_refused() {
        for (part, other) in [
            ("streams/", ""),
            ("streams/", "/streams/"),
            ("streams/", "streams//"),
            ("q9x0h2k7m1c4v8b6n3z5a7s2d", ".."),
            ("q9x0h2k7m1c4v8b6n3z5a7s2d", "q-9"),
            ("shop-db", ".."),
            ("shop-db", "a/b"),
            ("shop-db", "Shop"),
            ("/shop-db", ""),
            ("2026", "./2026"),
            ("0a1b2c3d", "0A1B2C3D"),
            (".stream", ""),
            (".stream", ".swarmdr"),
            (".stream", ".stream.stream"),
            (".stream", ".stream/"),
        ] {
            let key = KEY.replacen(part, other, 1);
            assert!(matches!(key.parse::<StreamKey>(), Err(Error::InvalidStreamKey { .. })), "{key}");
        }
    }
}

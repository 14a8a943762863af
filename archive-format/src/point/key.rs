//! Place of a recovery point in a vault: `points/<cluster id>/<id>.point`.

use std::{fmt, str::FromStr};

use crate::{
    backup_id::BackupId,
    error::{Error, Result},
    swarm_node::ClusterId,
};

/// Prefix of the keys of all points; the cluster id follows.
pub const POINTS: &str = "points/";

const SUFFIX: &str = ".point";

/// Key of one point in a vault. Every value is well-formed, so none points outside of [`POINTS`].
///
/// Ordered by cluster, then by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointKey {
    /// Swarm whose state and data the point names.
    pub cluster: ClusterId,
    /// Id of this one among the points of that swarm.
    pub id: BackupId,
}

impl PointKey {
    /// Returns the prefix of the keys of all points of one cluster.
    pub fn cluster_prefix(cluster: &ClusterId) -> String {
        format!("{POINTS}{cluster}/")
    }
}

impl FromStr for PointKey {
    type Err = Error;

    /// Parses exactly the form that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| Error::InvalidPointKey { text: text.escape_debug().take(256).collect() })
    }
}

fn parse(text: &str) -> Option<PointKey> {
    let (cluster, file) = text.strip_prefix(POINTS)?.split_once('/')?;
    let id = file.strip_suffix(SUFFIX)?;
    Some(PointKey { cluster: cluster.parse().ok()?, id: id.parse().ok()? })
}

impl fmt::Display for PointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{POINTS}{}/{}{SUFFIX}", self.cluster, self.id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    const KEY: &str = "points/q9x0h2k7m1c4v8b6n3z5a7s2d/20261121T101500Z-0a1b2c3d.point";

    #[test]
    fn a_key_reads_back_as_written_and_nothing_else_does() {
        let key: PointKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert!(KEY.starts_with(&PointKey::cluster_prefix(&key.cluster)));
        for (part, other) in [
            ("points/", ""),
            ("points/", "/points/"),
            ("q9x0h2k7m1c4v8b6n3z5a7s2d", ".."),
            ("/2026", "/x/2026"),
            ("0a1b2c3d", "0A1B2C3D"),
            (".point", ""),
            (".point", ".stream"),
            (".point", ".point.point"),
        ] {
            let key = KEY.replacen(part, other, 1);
            assert!(matches!(key.parse::<PointKey>(), Err(Error::InvalidPointKey { .. })), "{key}");
        }
    }
}

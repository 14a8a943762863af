//! Keys of backups in a vault: `<cluster id>/<backup id>.swarmdr`.

use std::fmt;

use swarmdr_archive::{BackupId, ClusterId, point, stream_archive};
use thiserror::Error;

const SUFFIX: &str = ".swarmdr";

/// Prefix of the objects on which `doctor` tests locks. It is in the vault of the backups, so that the same permissions
/// apply.
pub const DOCTOR: &str = "doctor/";

/// Prefix of the objects that `doctor` creates several times at once, to see how many of the creates are accepted.
pub const RACE: &str = "doctor/race/";

/// Key of the put that is rehearsed before a backup. Only a server that verifies no checksum stores an object there.
pub const REHEARSAL: &str = "doctor/rehearsal";

/// Prefix of the receipts of drills; the cluster id follows.
pub const DRILLS: &str = "drills/";

/// Prefix of the claims of sites on a swarm; the cluster id follows.
pub const CLAIMS: &str = "claims/";

/// Prefix of the signs of life of managers; the cluster id follows.
pub const LIFE: &str = "life/";

/// Prefix of streams; the cluster id and the name of the stream follow.
pub const STREAMS: &str = stream_archive::STREAMS;

/// Prefix of recovery points; the cluster id follows.
pub const POINTS: &str = point::POINTS;

/// Whether a key belongs to the agent although it names no backup.
pub fn is_own(key: &str) -> bool {
    [DOCTOR, DRILLS, CLAIMS, LIFE, STREAMS, POINTS].iter().any(|own| key.starts_with(own))
}

/// Key of one backup. Every value is well-formed, so none points outside its vault.
///
/// Ordered by cluster, then by time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    cluster: ClusterId,
    id: BackupId,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectNameError {
    #[error("not of the form `<cluster id>/<backup id>.swarmdr`")]
    Shape,
    #[error("a cluster id is 1 to 64 letters and digits")]
    Cluster,
    #[error("a backup id is `YYYYMMDDTHHMMSSZ-` and 8 characters of 0-9 and a-f")]
    Id,
}

impl ObjectName {
    pub fn new(cluster: ClusterId, id: BackupId) -> Self {
        Self { cluster, id }
    }

    /// Parses a key. Accepts exactly the text that [`Self::key`] returns.
    pub fn parse(key: &str) -> Result<Self, ObjectNameError> {
        let (cluster, file) = key.split_once('/').ok_or(ObjectNameError::Shape)?;
        let id = file.strip_suffix(SUFFIX).ok_or(ObjectNameError::Shape)?;
        let id = id.parse().map_err(|_| ObjectNameError::Id)?;
        Ok(ObjectName::new(cluster.parse().map_err(|_| ObjectNameError::Cluster)?, id))
    }

    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    pub fn id(&self) -> BackupId {
        self.id
    }

    pub fn key(&self) -> String {
        self.to_string()
    }

    /// Returns the prefix of all keys of one cluster.
    pub fn cluster_prefix(cluster: &ClusterId) -> String {
        format!("{cluster}/")
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{SUFFIX}", self.cluster, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_written() {
        let cluster = "q9x0h2k7m1c4v8b6n3z5a7s2d".parse().unwrap();
        let name = ObjectName::new(cluster, "20261121T101500Z-0a1b2c3d".parse().unwrap());
        assert_eq!(name.key(), "q9x0h2k7m1c4v8b6n3z5a7s2d/20261121T101500Z-0a1b2c3d.swarmdr");
        assert_eq!(ObjectName::parse(&name.key()), Ok(name));
    }

    #[test]
    fn anything_else_is_refused() {
        use ObjectNameError::*;
        for (key, why) in [
            ("", Shape),
            ("20261121T101500Z-0a1b2c3d.swarmdr", Shape),
            ("abc/20261121T101500Z-0a1b2c3d.tar", Shape),
            ("/20261121T101500Z-0a1b2c3d.swarmdr", Cluster),
            ("../20261121T101500Z-0a1b2c3d.swarmdr", Cluster),
            ("a-c/20261121T101500Z-0a1b2c3d.swarmdr", Cluster),
            ("abc/x/20261121T101500Z-0a1b2c3d.swarmdr", Id),
            ("abc/20261121T101500Z-0A1B2C3D.swarmdr", Id),
            ("abc/20261121T101500Z-0a1b2c3.swarmdr", Id),
            ("abc/20261121t101500z-0a1b2c3d.swarmdr", Id),
            ("abc/20261121T101500Z-0a1b2c3d.swarmdr.swarmdr", Id),
            ("abc/.20261121T101500Z-0a1b2c3d.swarmdr", Id),
        ] {
            assert_eq!(ObjectName::parse(key), Err(why), "{key}");
        }
    }
}

//! `<cluster id>/<backup id>.swarmdr`: the one place that knows how backups are named in a vault.

use std::fmt;

use swarmdr_archive::BackupId;
use thiserror::Error;

const SUFFIX: &str = ".swarmdr";

/// Where `doctor` puts what it tries locks on. Beside the backups, so that the same rights apply.
pub const DOCTOR: &str = "doctor/";

/// Where a put is rehearsed before the first backup. Nothing comes to lie there but on a server that verifies nothing.
pub const REHEARSAL: &str = "doctor/rehearsal";

/// Where the receipts of drills lie, by cluster.
pub const DRILLS: &str = "drills/";

/// Whether a key is the agent's own although it names no backup.
pub fn is_own(key: &str) -> bool {
    [DOCTOR, DRILLS].iter().any(|own| key.starts_with(own))
}

/// The key of one backup. Only well-formed names exist as values, so none points outside its vault.
///
/// Ordered by cluster, then by time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    cluster: String,
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
    pub fn new(cluster: &str, id: BackupId) -> Result<ObjectName, ObjectNameError> {
        if !is_cluster_id(cluster) {
            return Err(ObjectNameError::Cluster);
        }
        Ok(ObjectName { cluster: cluster.into(), id })
    }

    /// Accepts exactly what [`Self::key`] writes.
    pub fn parse(key: &str) -> Result<ObjectName, ObjectNameError> {
        let (cluster, file) = key.split_once('/').ok_or(ObjectNameError::Shape)?;
        let id = file.strip_suffix(SUFFIX).ok_or(ObjectNameError::Shape)?;
        ObjectName::new(cluster, id.parse().map_err(|_| ObjectNameError::Id)?)
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    pub fn id(&self) -> BackupId {
        self.id
    }

    pub fn key(&self) -> String {
        self.to_string()
    }

    /// What every key of one cluster starts with.
    pub fn cluster_prefix(cluster: &str) -> Result<String, ObjectNameError> {
        if is_cluster_id(cluster) { Ok(format!("{cluster}/")) } else { Err(ObjectNameError::Cluster) }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{SUFFIX}", self.cluster, self.id)
    }
}

/// Swarm writes 25 characters of base 36; nothing here depends on that, only on what cannot lead out of a directory.
fn is_cluster_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_written() {
        let name = ObjectName::new("q9x0h2k7m1c4v8b6n3z5a7s2d", "20261121T101500Z-0a1b2c3d".parse().unwrap()).unwrap();
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

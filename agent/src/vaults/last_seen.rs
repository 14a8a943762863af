//! The newest backup that this host knows to have been stored, to detect a rollback: a vault cannot show that its
//! newest backups were removed, because nothing follows them.
//!
//! Written by `backup` and `doctor`, compared by `doctor`. Without the file, there is no comparison until the next
//! backup.

use std::{fs, path::PathBuf};

use swarmdr_archive::ClusterId;
use swarmdr_vault::catalog::lineage::Remembered;

use super::by_swarm::BySwarm;
use crate::{config::Config, host::files::whole_file};

/// The newest backup of each swarm, in a file below the state directory.
#[derive(Debug)]
pub struct LastSeen {
    path: PathBuf,
}

impl LastSeen {
    pub fn of(config: &Config) -> Self {
        Self { path: config.state_dir.join("newest.json") }
    }

    /// Returns the newest backup; `None` if this host knows of none.
    pub fn read(&self, cluster: &ClusterId) -> Option<Remembered> {
        self.all().0.remove(cluster)
    }

    /// Records this backup in place of the known one. The caller decides which is newer: the times in ids are only
    /// claims. A failure to write is only logged.
    pub fn note(&self, seen: Remembered) {
        let mut all = self.all();
        if all.0.get(&seen.cluster) == Some(&seen) {
            return;
        }
        all.0.insert(seen.cluster.clone(), seen);
        if let Err(error) = whole_file::replace_json(&self.path, &all) {
            let path = self.path.display();
            tracing::warn!("this host will not notice a vault that was rolled back: failed to write {path}: {error}");
        }
    }

    fn all(&self) -> BySwarm {
        fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_swarm_is_kept() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let id = |text: &str| text.parse::<ClusterId>().expect("is an id");
        let seen = |cluster: &str, hour: u8| Remembered {
            cluster: id(cluster),
            id: format!("20261121T{hour:02}0000Z-00000001").parse().expect("is an id"),
            sequence: hour.into(),
            locked_until: None,
            digest: None,
        };
        let last_seen = LastSeen::of(&config);
        assert_eq!(last_seen.read(&id("a")), None);
        for (cluster, hour) in [("a", 1), ("b", 1), ("a", 2)] {
            last_seen.note(seen(cluster, hour));
        }
        let again = LastSeen::of(&config);
        assert_eq!(
            (again.read(&id("a")), again.read(&id("b")), again.read(&id("c"))),
            (Some(seen("a", 2)), Some(seen("b", 1)), None)
        );
        fs::write(dir.path().join("newest.json"), "junk").expect("writes");
        assert_eq!(again.read(&id("a")), None);
        again.note(seen("a", 3));
        assert_eq!(again.read(&id("a")), Some(seen("a", 3)));
    }
}

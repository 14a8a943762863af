//! The newest backup that this host knows to have been stored. A vault cannot show that the end of its history was taken
//! away: nothing follows the newest backup. This host can.
//!
//! Kept by `backup` and `doctor`, compared by `doctor`. A file that is lost costs the comparison until the next backup.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::{config::Config, vault::catalog::chain::Remembered, whole_file};

/// One line for each swarm, in a file below the state directory.
#[derive(Debug)]
pub struct Witness {
    path: PathBuf,
}

impl Witness {
    pub fn of(config: &Config) -> Self {
        Self { path: config.state_dir.join("newest.json") }
    }

    /// `None` if this host knows of none.
    pub fn read(&self, cluster: &str) -> Option<Remembered> {
        self.all().remove(cluster)
    }

    /// Keeps this one instead of the one that is known. Which of them is newer is for the caller to say: names are
    /// claims. A host that cannot write says so and goes on.
    pub fn note(&self, seen: Remembered) {
        let mut all = self.all();
        if all.get(&seen.cluster) == Some(&seen) {
            return;
        }
        all.insert(seen.cluster.clone(), seen);
        if let Err(error) = whole_file::replace_json(&self.path, &all) {
            let path = self.path.display();
            tracing::warn!("this host will not notice a vault that was rolled back: failed to write {path}: {error}");
        }
    }

    fn all(&self) -> BTreeMap<String, Remembered> {
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
        let seen = |cluster: &str, hour: u8| Remembered {
            cluster: cluster.to_owned(),
            id: format!("20261121T{hour:02}0000Z-00000001").parse().expect("is an id"),
            sequence: hour.into(),
            locked_until: None,
            digest: None,
        };
        let witness = Witness::of(&config);
        assert_eq!(witness.read("a"), None);
        for (cluster, hour) in [("a", 1), ("b", 1), ("a", 2)] {
            witness.note(seen(cluster, hour));
        }
        let again = Witness::of(&config);
        assert_eq!((again.read("a"), again.read("b"), again.read("c")), (Some(seen("a", 2)), Some(seen("b", 1)), None));
        fs::write(dir.path().join("newest.json"), "junk").expect("writes");
        assert_eq!(again.read("a"), None);
        again.note(seen("a", 3));
        assert_eq!(again.read("a"), Some(seen("a", 3)));
    }
}

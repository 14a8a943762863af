//! This host's memory of what the last backup that it made holds, to notice what is removed after it.
//!
//! Names and ids only, no value. Without the file nothing is compared until the next backup. Kept only with
//! `watch.removals`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId};

use super::{object::Object, removed::Removed};
use crate::host::files::whole_file;

/// The objects of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub backup: BackupId,
    pub cluster: ClusterId,
    pub objects: Vec<Object>,
}

impl Memory {
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("objects.json")
    }

    /// Returns what this host remembers; `None` if that is nothing, or cannot be read.
    pub fn read(state_dir: &Path) -> Option<Self> {
        let path = Self::path(state_dir);
        let warn = |error: &dyn std::fmt::Display| {
            tracing::warn!("{} cannot be read, so nothing is compared with it: {error}", path.display());
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).inspect_err(|error| warn(error)).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn(&error);
                None
            }
        }
    }

    /// Takes the place of what this host remembered, and returns what was removed since then; `None` if there was
    /// nothing of this swarm to compare with. A failure to write is only logged.
    pub fn replace(self, state_dir: &Path) -> Option<Removed> {
        let earlier = Self::read(state_dir).filter(|earlier| earlier.cluster == self.cluster);
        let removed = earlier.map(|earlier| earlier.removed(&self.objects));
        let path = Self::path(state_dir);
        if let Err(error) = whole_file::replace_json(&path, &self) {
            let path = path.display();
            tracing::warn!(
                "what is removed from the swarm after this backup will not be noticed: failed to write {path}: {error}"
            );
        }
        removed
    }

    /// Returns what of it is no longer among the objects of the same swarm.
    pub fn removed(&self, now: &[Object]) -> Removed {
        Removed::between(self.backup, &self.objects, now)
    }
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::PermissionsExt;

    use swarm_state::inventory::ObjectKind;

    use super::{super::object::tests::object, *};

    /// A memory of these services of the swarm `c`, made at this hour.
    pub fn memory(hour: u8, cluster: &str, services: &[&str]) -> Memory {
        Memory {
            backup: format!("20261121T{hour:02}0000Z-00000001").parse().expect("is an id"),
            cluster: cluster.parse().expect("is an id"),
            objects: services.iter().map(|name| object(ObjectKind::Service, name, None)).collect(),
        }
    }

    #[test]
    fn each_backup_is_compared_with_the_one_before() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        assert_eq!(Memory::read(dir.path()), None);
        assert_eq!(memory(1, "c", &["a", "b"]).replace(dir.path()), None, "there is nothing to compare with");
        let removed = memory(2, "c", &["b", "x"]).replace(dir.path()).expect("is compared");
        assert_eq!((removed.words().as_str(), removed.since), ("service a", memory(1, "c", &[]).backup));
        assert!(memory(3, "c", &["b", "x"]).replace(dir.path()).expect("is compared").is_empty());
        assert_eq!(Memory::read(dir.path()), Some(memory(3, "c", &["b", "x"])));
        let mode = fs::metadata(dir.path().join("objects.json")).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_swarm_or_a_damaged_file_is_not_compared_with() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        memory(1, "c", &["a"]).replace(dir.path());
        assert_eq!(memory(2, "d", &["b"]).replace(dir.path()), None);
        for damaged in ["", "{", "{}", r#"{"backup":"x","cluster":"d","objects":[]}"#] {
            fs::write(dir.path().join("objects.json"), damaged).expect("writes");
            assert_eq!(Memory::read(dir.path()), None, "{damaged}");
            assert_eq!(memory(3, "d", &["b"]).replace(dir.path()), None, "{damaged}");
            assert_eq!(Memory::read(dir.path()), Some(memory(3, "d", &["b"])));
        }
        assert_eq!(memory(4, "d", &[]).replace(&dir.path().join("none")), None, "a failure to write is no error");
    }

    #[test]
    fn it_holds_names_and_nothing_else() {
        let of = Memory { objects: vec![object(ObjectKind::Secret, "key", Some("shop"))], ..memory(1, "c", &[]) };
        let expected = serde_json::json!({
            "backup": "20261121T010000Z-00000001",
            "cluster": "c",
            "objects": [{ "kind": "secret", "id": "id-of-secret-key", "name": "key", "stack": "shop" }],
        });
        assert_eq!(serde_json::to_value(&of).expect("is JSON"), expected);
    }
}

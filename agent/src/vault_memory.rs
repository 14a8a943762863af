//! Which directories this host has stored backups in. Where its disk is not mounted, a vault that is a mount point looks
//! like an empty one, and a backup would go to another disk, unnoticed. A bucket says itself what it is.

use std::{collections::BTreeMap, fs, path::PathBuf};

use swarmdr_archive::BackupId;

use crate::{
    config::Config,
    vault::{Vault, VaultError, object_name::ObjectName},
    whole_file,
};

/// The last backup of each swarm in each directory vault, in a file below the state directory.
#[derive(Debug)]
pub struct VaultMemory {
    path: PathBuf,
}

type Known = BTreeMap<String, BTreeMap<String, BackupId>>;

impl VaultMemory {
    pub fn of(config: &Config) -> Self {
        Self { path: config.state_dir.join("directories.json") }
    }

    /// Refuses a directory that is empty now and was not. One request.
    pub async fn compare(&self, vault: &dyn Vault, cluster: &str) -> Result<(), VaultError> {
        let Some(id) = self.all().get(vault.address()).and_then(|of| of.get(cluster)).copied() else { return Ok(()) };
        let Ok(prefix) = ObjectName::cluster_prefix(cluster) else { return Ok(()) };
        if !vault.list_versions(&prefix, None).await?.versions.is_empty() {
            return Ok(());
        }
        Err(VaultError::Other {
            vault: vault.address().to_owned(),
            action: "find what was stored before".to_owned(),
            detail: format!(
                "this host stored backup {id} here, and nothing of its swarm is left: mount the disk; if it was emptied \
                 on purpose, remove {}",
                self.path.display()
            ),
        })
    }

    /// A host that cannot write says so and goes on.
    pub fn note(&self, vault: &dyn Vault, cluster: &str, id: BackupId) {
        if vault.lock_policy().is_some() {
            return;
        }
        let mut all = self.all();
        all.entry(vault.address().to_owned()).or_default().insert(cluster.to_owned(), id);
        if let Err(error) = whole_file::replace_json(&self.path, &all) {
            let path = self.path.display();
            tracing::warn!("this host will not notice a disk that is not mounted: failed to write {path}: {error}");
        }
    }

    fn all(&self) -> Known {
        fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{
        catalog::testing::{CLUSTER, OTHER, archive, key, put},
        memory::MemoryVault,
    };

    #[tokio::test]
    async fn an_empty_mount_point_is_not_taken_for_a_new_vault() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let memory = VaultMemory::of(&Config { state_dir: dir.path().to_owned(), ..Config::default() });
        let (vault, moved) = (MemoryVault::new("v", None), MemoryVault::new("w", None));
        memory.compare(&vault, CLUSTER).await.expect("a new one is empty");
        let archive = archive(CLUSTER, 0, &key());
        put(&vault, &archive).await;
        memory.note(&vault, CLUSTER, archive.name.id());
        memory.compare(&vault, CLUSTER).await.expect("it is there");

        vault.remove(&archive.name.key());
        let error = memory.compare(&vault, CLUSTER).await.expect_err("it is gone").to_string();
        assert!(error.contains("mount the disk") && error.contains("directories.json"), "{error}");
        // Another swarm, another directory: those are new.
        memory.compare(&vault, OTHER).await.expect("is new");
        memory.compare(&moved, CLUSTER).await.expect("is new");
    }
}

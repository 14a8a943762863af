//! What this host has stored in each vault, compared before a new backup goes in: once that is the newest, nothing shows
//! what came before it.
//!
//! Where its disk is not mounted, a directory that is a mount point looks like an empty vault, and a backup would go to
//! another disk: that is refused. A bucket that lost what this host stored, or another one under its name, still takes
//! backups: there it is told, since a backup less is no help.

use std::{collections::BTreeMap, fs, path::PathBuf};

use jiff::Timestamp;

use crate::{
    config::Config,
    vault::{
        Vault, VaultError,
        catalog::chain::{Gone, Remembered},
        object_name::ObjectName,
    },
    whole_file,
};

/// The last backup of each swarm in each vault, in a file below the state directory.
#[derive(Debug)]
pub struct VaultMemory {
    path: PathBuf,
}

type Known = BTreeMap<String, BTreeMap<String, Remembered>>;

impl VaultMemory {
    pub fn of(config: &Config) -> Self {
        Self { path: config.state_dir.join("vaults.json") }
    }

    /// Refuses a directory that is empty now and was not. One request.
    pub async fn require_history(&self, vault: &dyn Vault, cluster: &str) -> Result<(), VaultError> {
        if vault.lock_policy().is_some() {
            return Ok(());
        }
        let Some(Remembered { id, .. }) = self.known(vault, cluster) else { return Ok(()) };
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

    /// What should be looked at: the last backup that this host stored there is gone, and it should not be. `newest` is the
    /// number of the newest that is there. One request.
    pub async fn lost(
        &self,
        vault: &dyn Vault,
        cluster: &str,
        newest: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<String>, VaultError> {
        let Some(known) = self.known(vault, cluster) else { return Ok(None) };
        let Ok(name) = ObjectName::new(cluster, known.id) else { return Ok(None) };
        let page = vault.list_versions(&name.key(), None).await?;
        if page.versions.iter().any(|version| version.at.key == name.key() && !version.is_delete_marker) {
            return Ok(None);
        }
        let why = match (known.gone(newest, now), known.locked_until) {
            (Gone::Pruned, _) => return Ok(None),
            (Gone::TakenAway, Some(until)) => {
                format!(
                    "its lock was to hold until {until}: this is another vault under the same name, or it was taken away"
                )
            }
            (Gone::TakenAway, None) => {
                "nothing newer is there: this is another directory in the same place, or somebody removed it".to_owned()
            }
            (Gone::Unlocked, _) => "its lock has ended, and nothing newer is there".to_owned(),
        };
        let lost =
            format!("{}: backup {}, which this host stored, is not there any more; {why}", vault.address(), known.id);
        tracing::warn!("{lost}");
        Ok(Some(lost))
    }

    /// A host that cannot write says so and goes on. One that comes late out of the spool is not the last.
    pub fn note(&self, vault: &dyn Vault, stored: Remembered) {
        let mut all = self.all();
        let of_vault = all.entry(vault.address().to_owned()).or_default();
        if of_vault.get(&stored.cluster).is_some_and(|known| known.id > stored.id) {
            return;
        }
        of_vault.insert(stored.cluster.clone(), stored);
        if let Err(error) = whole_file::replace_json(&self.path, &all) {
            let path = self.path.display();
            tracing::warn!("this host will not notice a vault that lost its history: failed to write {path}: {error}");
        }
    }

    fn known(&self, vault: &dyn Vault, cluster: &str) -> Option<Remembered> {
        self.all().remove(vault.address())?.remove(cluster)
    }

    fn all(&self) -> Known {
        fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::TrustedKeys;

    use super::*;
    use crate::{
        backup::Chain,
        vault::{
            catalog::testing::{Archive, CLUSTER, OTHER, archive, following, key, lives, minute, put, vault},
            memory::MemoryVault,
        },
    };

    const DAY: i64 = lives::DAY;

    fn memory(dir: &tempfile::TempDir) -> VaultMemory {
        VaultMemory::of(&Config { state_dir: dir.path().to_owned(), ..Config::default() })
    }

    fn stored(archive: &Archive, lock_days: Option<i64>) -> Remembered {
        let made = archive.name.id().created_at();
        Remembered {
            id: archive.name.id(),
            cluster: CLUSTER.to_owned(),
            sequence: archive.sequence,
            locked_until: lock_days.map(|days| made + jiff::SignedDuration::from_hours(24 * days)),
            digest: Some(archive.digest),
        }
    }

    /// What a run asks of a vault before it makes a backup.
    async fn before_a_backup(
        memory: &VaultMemory,
        vault: &dyn Vault,
        keys: &TrustedKeys,
        now: Timestamp,
    ) -> Result<Option<String>, VaultError> {
        memory.require_history(vault, CLUSTER).await?;
        let newest = Chain::default().extend_from(vault, CLUSTER, keys, now).await?.newest;
        memory.lost(vault, CLUSTER, newest, now).await
    }

    #[tokio::test]
    async fn an_empty_mount_point_is_not_taken_for_a_new_vault() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let memory = memory(&dir);
        let (vault, moved) = (MemoryVault::new("v", None), MemoryVault::new("w", None));
        memory.require_history(&vault, CLUSTER).await.expect("a new one is empty");
        let archive = archive(CLUSTER, 0, &key());
        put(&vault, &archive).await;
        memory.note(&vault, stored(&archive, None));
        memory.require_history(&vault, CLUSTER).await.expect("it is there");

        vault.remove(&archive.name.key());
        let error = memory.require_history(&vault, CLUSTER).await.expect_err("it is gone").to_string();
        assert!(error.contains("mount the disk") && error.contains("vaults.json"), "{error}");
        // Another swarm, another directory: those are new.
        memory.require_history(&vault, OTHER).await.expect("is new");
        memory.require_history(&moved, CLUSTER).await.expect("is new");
    }

    #[tokio::test]
    async fn what_a_vault_lost_is_told_before_another_backup_is_its_newest() {
        let key = key();
        let keys = TrustedKeys::from(key.public());
        // Whether it locks, what was removed of five, the day of the look, and what is said.
        for (locks, removed, day, said) in [
            (true, 0..0, 6, None),
            (true, 4..5, 6, Some("or it was taken away")),
            (true, 0..5, 6, Some("or it was taken away")),
            (true, 4..5, 40, Some("its lock has ended")),
            (true, 0..4, 40, None),
            (false, 4..5, 6, Some("another directory in the same place")),
            (false, 0..4, 6, None),
        ] {
            let (dir, of) = (tempfile::tempdir().expect("a scratch directory"), format!("{locks} {removed:?} {day}"));
            let (memory, vault) = (memory(&dir), if locks { vault("v") } else { MemoryVault::new("v", None) });
            let mut line: Vec<Archive> = Vec::new();
            for day in 0..5 {
                line.push(following(line.last(), CLUSTER, day * DAY, &key));
                put(&vault, &line[day as usize]).await;
                memory.note(&vault, stored(&line[day as usize], locks.then_some(30)));
            }
            // One that comes late out of the spool is not what is expected next.
            memory.note(&vault, stored(&line[1], locks.then_some(30)));
            line[removed].iter().for_each(|archive| vault.remove(&archive.name.key()));
            let told = before_a_backup(&memory, &vault, &keys, minute(day * DAY)).await.expect("answers");
            let expected = said.is_none_or(|words| told.as_ref().is_some_and(|told| told.contains(words)));
            assert!(expected && told.is_some() == said.is_some(), "{of}: {told:?}");
            // The next one is remembered in its place, and the loss was told.
            let next = following(line.last(), CLUSTER, day * DAY, &key);
            put(&vault, &next).await;
            memory.note(&vault, stored(&next, locks.then_some(30)));
            let told = before_a_backup(&memory, &vault, &keys, minute((day + 1) * DAY)).await.expect("answers");
            assert_eq!(told, None, "{of}");
        }
    }

    #[tokio::test]
    async fn no_life_of_a_vault_accuses_anybody() {
        for life in lives::all().await {
            let dir = tempfile::tempdir().expect("a scratch directory");
            let memory = memory(&dir);
            let vault = life.vaults[0].as_ref();
            if let Some(known) = life.remembered.clone() {
                memory.note(vault, known);
            }
            let told = before_a_backup(&memory, vault, &life.keys, minute(life.now)).await.expect("answers");
            life.assert_tame("backup", &Vec::from_iter(told));
        }
    }
}

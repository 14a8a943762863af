//! The last backup that this host stored in each vault, compared before a new one is stored: once the new one is the
//! newest, nothing shows that an earlier one is missing.
//!
//! If its disk is not mounted, a directory that is a mount point looks like an empty vault, and a backup would go to
//! another disk: that is refused. A bucket that lost what this host stored, or another one under its name, still takes
//! backups: the loss is only reported, since one backup less would not help.

use std::{collections::BTreeMap, fs, path::PathBuf};

use jiff::Timestamp;
use swarmdr_archive::ClusterId;
use swarmdr_vault::{
    Vault, VaultError,
    catalog::lineage::{Gone, Remembered},
    clock::SKEW,
    object_name::ObjectName,
};

use super::by_swarm::BySwarm;
use crate::{config::Config, host::files::whole_file};

/// The last backup of each swarm in each vault, in a file below the state directory.
#[derive(Debug)]
pub struct DeliveryRecord {
    path: PathBuf,
}

/// By address of the vault.
type Known = BTreeMap<String, BySwarm>;

impl DeliveryRecord {
    pub fn of(config: &Config) -> Self {
        Self { path: config.state_dir.join("vaults.json") }
    }

    /// Refuses a directory that is empty although this host stored a backup there. One request.
    pub async fn require_history(&self, vault: &dyn Vault, cluster: &ClusterId) -> Result<(), VaultError> {
        if vault.lock_policy().is_some() {
            return Ok(());
        }
        let Some(Remembered { id, .. }) = self.known(vault, cluster) else { return Ok(()) };
        if !vault.list_versions(&ObjectName::cluster_prefix(cluster), None).await?.versions.is_empty() {
            return Ok(());
        }
        Err(VaultError::Unusable {
            vault: vault.address().to_owned(),
            action: "find what was stored before".to_owned(),
            detail: format!("this host stored backup {id} here, and nothing of its swarm is left"),
            advice: format!("mount the disk; if it was emptied on purpose, remove {}", self.path.display()),
        })
    }

    /// Returns a line for the operator if the last backup that this host stored there is gone and should not be.
    /// `newest` is the number of the newest that is there. One request.
    pub async fn lost(
        &self,
        vault: &dyn Vault,
        cluster: &ClusterId,
        newest: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<String>, VaultError> {
        let Some(known) = self.known(vault, cluster) else { return Ok(None) };
        let name = ObjectName::new(cluster.clone(), known.id);
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
                "there is nothing newer: this is another directory in the same place, or it was removed".to_owned()
            }
            (Gone::Unlocked, _) => "its lock has ended, and nothing newer is there".to_owned(),
        };
        let lost =
            format!("{}: backup {}, which this host stored, is not there any more; {why}", vault.address(), known.id);
        tracing::warn!("{lost}");
        Ok(Some(lost))
    }

    /// Records a stored backup, unless it came late out of the spool. A failure to write is only logged.
    ///
    /// The times in the ids decide what is late, as far as they are past: this host's own clock wrote them, and a
    /// backup that a wrong clock dated in the future is replaced by the next one. The numbers would say less: whoever
    /// can hide backups in the vault has this host count from a lower one, so that each further backup looked late and
    /// its removal went unnoticed.
    pub fn note(&self, vault: &dyn Vault, stored: Remembered, now: Timestamp) {
        let mut all = self.all();
        let of_vault = &mut all.entry(vault.address().to_owned()).or_default().0;
        let latest = now.checked_add(SKEW).unwrap_or(Timestamp::MAX);
        let is_late = |known: &Remembered| known.id > stored.id && known.id.created_at() <= latest;
        if of_vault.get(&stored.cluster).is_some_and(is_late) {
            return;
        }
        of_vault.insert(stored.cluster.clone(), stored);
        if let Err(error) = whole_file::replace_json(&self.path, &all) {
            let path = self.path.display();
            tracing::warn!("this host will not notice a vault that lost its history: failed to write {path}: {error}");
        }
    }

    fn known(&self, vault: &dyn Vault, cluster: &ClusterId) -> Option<Remembered> {
        self.all().remove(vault.address())?.0.remove(cluster)
    }

    fn all(&self) -> Known {
        fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::TrustedKeys;

    use super::*;
    use crate::backup::PreviousBackups;
    use swarmdr_vault::testkit::{
        archives::{Archive, CLUSTER, OTHER, archive, cluster_id, following, key, lives, minute, put, vault},
        memory::MemoryVault,
    };

    const DAY: i64 = lives::DAY;

    fn record(dir: &tempfile::TempDir) -> DeliveryRecord {
        DeliveryRecord::of(&Config { state_dir: dir.path().to_owned(), ..Config::default() })
    }

    fn stored(archive: &Archive, lock_days: Option<i64>) -> Remembered {
        let made = archive.name.id().created_at();
        Remembered {
            id: archive.name.id(),
            cluster: cluster_id(),
            sequence: archive.sequence,
            locked_until: lock_days.map(|days| made + jiff::SignedDuration::from_hours(24 * days)),
            digest: Some(archive.digest),
        }
    }

    /// The checks of a run before it makes a backup.
    async fn before_a_backup(
        record: &DeliveryRecord,
        vault: &dyn Vault,
        keys: &TrustedKeys,
        now: Timestamp,
    ) -> Result<Option<String>, VaultError> {
        record.require_history(vault, &cluster_id()).await?;
        let newest = PreviousBackups::default().extend_from(vault, &cluster_id(), keys, now).await?.newest;
        record.lost(vault, &cluster_id(), newest, now).await
    }

    #[tokio::test]
    async fn an_empty_mount_point_is_not_taken_for_a_new_vault() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let record = record(&dir);
        let (vault, moved) = (MemoryVault::new("v", None), MemoryVault::new("w", None));
        record.require_history(&vault, &cluster_id()).await.expect("a new one is empty");
        let archive = archive(CLUSTER, 0, &key());
        put(&vault, &archive).await;
        record.note(&vault, stored(&archive, None), minute(0));
        record.require_history(&vault, &cluster_id()).await.expect("it is there");

        vault.remove(&archive.name.key());
        let error = record.require_history(&vault, &cluster_id()).await.expect_err("it is gone").to_string();
        assert!(error.contains("mount the disk") && error.contains("vaults.json"), "{error}");
        // For another swarm, or in another directory, nothing was stored.
        record.require_history(&vault, &OTHER.parse().expect("is an id")).await.expect("is new");
        record.require_history(&moved, &cluster_id()).await.expect("is new");
    }

    #[tokio::test]
    async fn a_loss_is_reported_before_another_backup_is_the_newest() {
        let key = key();
        let keys = TrustedKeys::from(key.public());
        // Whether the vault locks, which of five backups were removed, the day of the check, and the words of the
        // report.
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
            let (record, vault) = (record(&dir), if locks { vault("v") } else { MemoryVault::new("v", None) });
            let mut line: Vec<Archive> = Vec::new();
            for day in 0..5 {
                line.push(following(line.last(), CLUSTER, day * DAY, &key));
                put(&vault, &line[day as usize]).await;
                record.note(&vault, stored(&line[day as usize], locks.then_some(30)), minute(day * DAY));
            }
            // A backup that comes late out of the spool is not the one that is expected next.
            record.note(&vault, stored(&line[1], locks.then_some(30)), minute(4 * DAY));
            line[removed].iter().for_each(|archive| vault.remove(&archive.name.key()));
            let reported = before_a_backup(&record, &vault, &keys, minute(day * DAY)).await.expect("answers");
            let expected = said.is_none_or(|words| reported.as_ref().is_some_and(|reported| reported.contains(words)));
            assert!(expected && reported.is_some() == said.is_some(), "{of}: {reported:?}");
            // The next one is recorded in its place, and the loss is not reported again.
            let next = following(line.last(), CLUSTER, day * DAY, &key);
            put(&vault, &next).await;
            record.note(&vault, stored(&next, locks.then_some(30)), minute(day * DAY));
            let reported = before_a_backup(&record, &vault, &keys, minute((day + 1) * DAY)).await.expect("answers");
            assert_eq!(reported, None, "{of}");
        }
    }

    #[test]
    fn a_backup_from_the_future_does_not_hold_the_record_up() {
        let (dir, key) = (tempfile::tempdir().expect("a scratch directory"), key());
        let (record, vault) = (record(&dir), MemoryVault::new("v", None));
        let first = archive(CLUSTER, 0, &key);
        let ahead = following(Some(&first), CLUSTER, 300 * DAY, &key);
        let next = following(Some(&ahead), CLUSTER, DAY, &key);
        // What is hidden in the vault lowers the number of the next one, which is recorded all the same.
        let recounted = archive(CLUSTER, 2 * DAY, &key);
        let kept = |of: &Archive, minutes: i64| {
            record.note(&vault, stored(of, None), minute(minutes));
            record.known(&vault, &cluster_id()).map(|known| known.id) == Some(of.name.id())
        };
        assert!(kept(&first, 0) && kept(&ahead, 300 * DAY) && kept(&next, DAY) && kept(&recounted, 2 * DAY));
        assert!(recounted.sequence < next.sequence && !kept(&next, 2 * DAY), "it came late");
    }

    #[tokio::test]
    async fn a_vault_without_an_attacker_accuses_nobody() {
        for life in lives::all().await {
            let dir = tempfile::tempdir().expect("a scratch directory");
            let record = record(&dir);
            let vault = life.vaults[0].as_ref();
            if let Some(known) = life.remembered.clone() {
                record.note(vault, known, minute(life.now));
            }
            let reported = before_a_backup(&record, vault, &life.keys, minute(life.now)).await.expect("answers");
            life.assert_no_accusation("backup", &Vec::from_iter(reported));
        }
    }
}

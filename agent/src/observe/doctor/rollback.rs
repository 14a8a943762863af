//! The check for a rollback: whether the newest backup that this host knows to have been stored is still in a vault.

use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId, TrustedKeys};
use swarmdr_vault::{
    Vault, VaultError,
    catalog::{
        Filter, Place, Verdict, Walk,
        lineage::{Gone, Remembered},
    },
    object_name::ObjectName,
};

use super::Check;
use crate::vaults::last_seen::LastSeen;

const NAME: &str = "vault.rollback";

/// Whether the newest backup that this host knows to have been stored is still in a vault.
pub(super) async fn check(
    last_seen: &LastSeen,
    cluster: &ClusterId,
    vaults: &[Arc<dyn Vault>],
    newest: Option<&Place>,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Check {
    let Some(known) = last_seen.read(cluster) else {
        note(last_seen, cluster, vaults, newest).await;
        return Check::ok(NAME, "this host has stored no backup yet that could be missing");
    };
    let check = match is_there(vaults, &known, keys, now).await {
        Err(error) => return Check::failed(NAME, &error.into()),
        Ok(true) => {
            Check::ok(NAME, format!("the vaults still have the newest backup that this host knows of ({})", known.id))
        }
        Ok(false) => {
            let gone = known.gone(newest.map(|newest| newest.sequence), now);
            let check = judge(known.id, gone);
            // The record is kept as it is, so that the next run reports this again.
            if gone == Gone::TakenAway {
                return check;
            }
            check
        }
    };
    note(last_seen, cluster, vaults, newest).await;
    check
}

/// Judges how a backup that is in no vault came to be gone.
fn judge(id: BackupId, gone: Gone) -> Check {
    match gone {
        Gone::Pruned => Check::ok(NAME, format!("backup {id} is gone, as pruning leaves it; newer ones are there")),
        Gone::Unlocked => Check::warn(
            NAME,
            format!(
                "backup {id} was stored and is in no vault any more; its lock has ended, and there is no newer one"
            ),
        )
        .fix("make backups again, and see what removes old ones: a lifecycle rule, `prune`"),
        Gone::TakenAway => Check::fail(
            NAME,
            format!(
                "backup {id} was stored and is in no vault that is configured here: it was taken away, or its vault is \
                 not among them any more"
            ),
        )
        .fix(
            "if the vaults were changed, make a backup; otherwise find out who can delete there, and check the copies",
        ),
    }
}

/// Whether a vault has the backup in any form. One that is unproven, dated after it was stored, or signed with a key
/// that has ended was not taken away.
async fn is_there(
    vaults: &[Arc<dyn Vault>],
    known: &Remembered,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<bool, VaultError> {
    let filter = Filter { id: Some(known.id), ..Filter::cluster(known.cluster.clone()) };
    for vault in vaults {
        let mut walk = Walk::new(vault.as_ref(), &known.cluster, &filter, keys, now);
        while let Some(entry) = walk.next().await? {
            match entry.verdict {
                Verdict::Good(_) | Verdict::Impossible(_) | Verdict::KeyEnded { .. } => return Ok(true),
                Verdict::Unread(error) => return Err(error),
                // It is the same archive; only its key was removed from `trusted_keys`.
                Verdict::Forged { digest, .. } if known.digest == Some(digest) => return Ok(true),
                // An attacker who took it away may have put something else in its place.
                Verdict::Forged { .. }
                | Verdict::Damaged(_)
                | Verdict::WrongSize { .. }
                | Verdict::Misplaced { .. } => {}
            }
        }
    }
    Ok(false)
}

/// Records the newest backup and how long it is locked. If its lock cannot be read, the record stays unchanged: an
/// unread lock must not be taken for one that has ended.
async fn note(last_seen: &LastSeen, cluster: &ClusterId, vaults: &[Arc<dyn Vault>], newest: Option<&Place>) {
    let Some(newest) = newest else { return };
    let name = ObjectName::new(cluster.clone(), newest.id);
    let mut locked_until = None;
    for vault in vaults {
        let Ok(longest) = longest_lock(vault.as_ref(), &name).await else { return };
        locked_until = locked_until.max(longest);
    }
    let Place { id, sequence, digest, .. } = *newest;
    last_seen.note(Remembered { id, cluster: cluster.clone(), sequence, locked_until, digest: Some(digest) });
}

async fn longest_lock(vault: &dyn Vault, name: &ObjectName) -> Result<Option<Timestamp>, VaultError> {
    let page = vault.list_versions(&name.key(), None).await?;
    let mut longest = None;
    // A key that the agent wrote has one version; asking for the lock of a thousand others is not worth it.
    for version in page.versions.iter().rev().filter(|version| !version.is_delete_marker).take(4) {
        let lock = vault.head(&version.at).await?.lock;
        longest = longest.max(lock.map(|lock| lock.until));
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::manifest::Proof;
    use swarmdr_vault::{
        catalog,
        testkit::{
            archives::{Archive, CLUSTER, archive_with, cluster_id, key, minute, put, vault},
            injector::without_locks_to_read,
            memory::MemoryVault,
        },
    };

    use super::*;
    use crate::{config::Config, observe::doctor::Level};

    const DAY: i64 = 24 * 60;

    /// A host that made some backups, and the vaults that it looks into.
    struct Scene {
        dir: tempfile::TempDir,
        key: swarmdr_archive::SecretKey,
        vaults: Vec<Arc<MemoryVault>>,
    }

    impl Scene {
        fn new(names: &[&str]) -> Self {
            let vaults = names.iter().map(|name| Arc::new(vault(name))).collect();
            Self { dir: tempfile::tempdir().expect("a scratch directory"), key: key(), vaults }
        }

        fn last_seen(&self) -> LastSeen {
            LastSeen::of(&Config { state_dir: self.dir.path().to_owned(), ..Config::default() })
        }

        /// Stores and records a backup as `backup` does.
        async fn backup(&self, at: i64, proof: Proof, into: &[usize]) -> Archive {
            let archive = archive_with(CLUSTER, at, &self.key, proof);
            for index in into {
                put(self.vaults[*index].as_ref(), &archive).await;
            }
            let locked_until = Some(minute(at + 30 * DAY));
            let (id, cluster) = (archive.name.id(), cluster_id());
            let (sequence, digest) = (archive.sequence, Some(archive.digest));
            self.last_seen().note(Remembered { id, cluster, sequence, locked_until, digest });
            archive
        }

        /// Returns what `doctor` reports about rollback.
        async fn looked_at(&self, now: i64) -> Check {
            let vaults: Vec<Arc<dyn Vault>> = self.vaults.iter().map(|it| Arc::clone(it) as Arc<dyn Vault>).collect();
            let keys = TrustedKeys::from(self.key.public());
            let filter = Filter::cluster(cluster_id());
            let latest = catalog::find_latest(&vaults, &filter, &keys, minute(now)).await.ok();
            let newest = latest.map(|latest| latest.place);
            check(&self.last_seen(), &cluster_id(), &vaults, newest.as_ref(), &keys, minute(now)).await
        }
    }

    #[tokio::test]
    async fn honest_lives_accuse_nobody() {
        // The newest was stored unproven, so a restore takes an older one.
        let scene = Scene::new(&["one"]);
        scene.backup(0, Proof::Proven, &[0]).await;
        scene.backup(DAY, Proof::Unproven, &[0]).await;
        for _ in 0..2 {
            assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Ok);
        }
        // Two vaults, and the newest reached only one of them.
        let scene = Scene::new(&["one", "two"]);
        scene.backup(0, Proof::Proven, &[0, 1]).await;
        scene.backup(DAY, Proof::Proven, &[1]).await;
        assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Ok);
        // Other managers made newer backups, and that of this host was pruned after its lock had ended.
        let scene = Scene::new(&["one"]);
        let old = scene.backup(0, Proof::Proven, &[0]).await;
        put(&*scene.vaults[0], &swarmdr_vault::testkit::archives::following(Some(&old), CLUSTER, 40 * DAY, &scene.key))
            .await;
        scene.vaults[0].remove(&old.name.key());
        let check = scene.looked_at(41 * DAY).await;
        assert!(check.level == Level::Ok && check.found.contains("as pruning leaves it"), "{check:?}");
        // The clock of this host was behind when it made the newest backup.
        let scene = Scene::new(&["one"]);
        scene.backup(5 * DAY, Proof::Proven, &[0]).await;
        scene.backup(3 * DAY, Proof::Proven, &[0]).await;
        assert_eq!(scene.looked_at(6 * DAY).await.level, Level::Ok);
        // The lock of the backup has ended, and no newer backup was made.
        let scene = Scene::new(&["one"]);
        let last = scene.backup(0, Proof::Proven, &[0]).await;
        scene.vaults[0].remove(&last.name.key());
        let check = scene.looked_at(41 * DAY).await;
        assert!(check.level == Level::Warn && check.found.contains("its lock has ended"), "{check:?}");
    }

    #[tokio::test]
    async fn what_was_taken_away_while_its_lock_must_hold_is_told_until_it_is_back() {
        let scene = Scene::new(&["one"]);
        scene.backup(0, Proof::Proven, &[0]).await;
        let taken = scene.backup(DAY, Proof::Proven, &[0]).await;
        scene.vaults[0].remove(&taken.name.key());
        for _ in 0..2 {
            let check = scene.looked_at(2 * DAY).await;
            assert!(check.level == Level::Fail && check.found.contains("taken away"), "{check:?}");
        }
        // Another object in its place does not count.
        scene.vaults[0].overlay(&taken.name.key(), "junk");
        assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Fail);
        scene.vaults[0].remove(&taken.name.key());
        put(&*scene.vaults[0], &taken).await;
        assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Ok);
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_read_is_not_one_that_has_ended() {
        let scene = Scene::new(&["one"]);
        scene.backup(0, Proof::Proven, &[0]).await;
        let known = scene.last_seen().read(&cluster_id());
        let later = archive_with(CLUSTER, DAY, &scene.key, Proof::Proven);
        put(scene.vaults[0].as_ref(), &later).await;
        let unread: Arc<dyn Vault> = Arc::new(without_locks_to_read(scene.vaults[0].clone()));
        let (keys, filter) = (TrustedKeys::from(scene.key.public()), Filter::cluster(cluster_id()));
        let found = catalog::find_latest(std::slice::from_ref(&unread), &filter, &keys, minute(2 * DAY)).await;
        let newest = found.expect("it can be listed and read").place;
        note(&scene.last_seen(), &cluster_id(), &[unread], Some(&newest)).await;
        assert_eq!(scene.last_seen().read(&cluster_id()), known);
    }
}

//! The newest backups of the cluster: they decide which one the next backup follows, and whether one is due.

use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId, Digest, TrustedKeys};
use swarmdr_vault::{
    Vault, VaultError,
    catalog::{self, Bounds, Filter, Place, Skipped, order},
};

/// The newest backups of the cluster in all vaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreviousBackups {
    places: Vec<Place>,
    newest: Option<Place>,
    /// The newest backup that is not dated in the future.
    newest_not_future: Option<BackupId>,
}

/// The backups of the cluster in one vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InVault {
    pub has_any: bool,
    /// Sequence number of the newest one.
    pub newest: Option<u64>,
}

impl PreviousBackups {
    /// Adds the backups in one more vault.
    pub async fn extend_from(
        &mut self,
        vault: &dyn Vault,
        cluster: &ClusterId,
        keys: &TrustedKeys,
        now: Timestamp,
    ) -> Result<InVault, VaultError> {
        let on_bad = |entry| {
            tracing::warn!(vault = vault.address(), "{entry}");
            Ok(())
        };
        let (filter, found) = (Filter::default(), (Bounds::default(), &mut Skipped::default()));
        let view = catalog::view(vault, cluster, &filter, keys, now, found, on_bad).await?;
        for place in view.places.iter().filter(|place| !place.is_past(now)) {
            tracing::warn!(
                vault = vault.address(),
                "backup {} is from the future: check the managers' clocks",
                place.id
            );
        }
        let newest = view.newest(now).map(|index| view.places[index].sequence);
        self.newest_not_future = self.newest_not_future.max(view.freshest(now).map(|place| place.id));
        let has_any = !view.places.is_empty();
        self.places.extend(view.places);
        self.newest = order::newest(&self.places, |_| true, now).map(|index| self.places[index].clone());
        Ok(InVault { has_any, newest })
    }

    /// The newest backup, which decides when the next one is due. One that a manager with a wrong clock dated in the
    /// future does not count: no other would be due until then.
    pub fn newest(&self) -> Option<BackupId> {
        self.newest_not_future
    }

    /// Sequence number of the next backup.
    pub fn next_sequence(&self) -> u64 {
        // A number is its writer's claim: after the highest one the count must not start again from zero.
        self.newest.as_ref().map_or(1, |newest| newest.sequence.saturating_add(1))
    }

    /// The newest backup, and the digest of the settings in it.
    pub fn newest_specs(&self) -> Option<(BackupId, Digest)> {
        self.newest.as_ref().and_then(|newest| Some((newest.id, newest.specs?)))
    }

    /// Digest of the manifest of the backup that the next one follows.
    pub fn newest_digest(&self) -> Option<Digest> {
        self.newest.as_ref().map(|newest| newest.digest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use swarmdr_vault::testkit::archives::{Archive, CLUSTER, archive, cluster_id, key, put, tagged, vault};

    fn at(minute: i64) -> Timestamp {
        "2026-11-21T10:00:00Z".parse::<Timestamp>().expect("is a time") + SignedDuration::from_mins(minute)
    }

    #[tokio::test]
    async fn the_newest_over_all_vaults_that_is_not_from_the_future_counts() {
        let (key, first, second) = (key(), vault("one"), vault("two"));
        let keys: TrustedKeys = [key.public()].into_iter().collect();
        for (vault, minute) in [(&first, 0), (&first, 10), (&second, 20), (&second, 600)] {
            put(vault, &archive(CLUSTER, minute, &key)).await;
        }
        // now, vaults, and the minute of the newest that counts
        for (now, vaults, newest) in [
            (30, &[&first][..], 10),
            (30, &[&first, &second], 20),
            (30, &[&second, &first], 20),
            // Clocks of managers differ by seconds.
            (16, &[&first, &second], 20),
            (600, &[&second, &first], 600),
        ] {
            let mut previous = PreviousBackups::default();
            for vault in vaults {
                previous.extend_from(*vault, &cluster_id(), &keys, at(now)).await.expect("lists");
            }
            assert_eq!(previous.newest().map(|id| id.created_at()), Some(at(newest)), "at {now}");
        }
    }

    #[tokio::test]
    async fn the_next_one_follows_even_one_from_the_future() {
        let (key, vault) = (key(), vault("one"));
        let keys: TrustedKeys = [key.public()].into_iter().collect();
        let mut previous = PreviousBackups::default();
        assert_eq!((previous.next_sequence(), previous.newest_digest()), (1, None));
        put(&vault, &archive(CLUSTER, 600, &key)).await;
        previous.extend_from(&vault, &cluster_id(), &keys, at(0)).await.expect("lists");
        assert_eq!((previous.newest(), previous.next_sequence()), (None, 2));
        assert!(previous.newest_digest().is_some());
    }

    #[tokio::test]
    async fn the_next_one_follows_the_later_of_two_from_one_second() {
        let (key, vault) = (key(), vault("one"));
        let keys: TrustedKeys = [key.public()].into_iter().collect();
        let first = tagged(None, 0, 0xff, &key);
        let second = tagged(Some(&first), 0, 0x00, &key);
        for archive in [&first, &second] {
            put(&vault, archive).await;
        }
        let mut previous = PreviousBackups::default();
        previous.extend_from(&vault, &cluster_id(), &keys, at(0)).await.expect("lists");
        assert_eq!((previous.next_sequence(), previous.newest_digest()), (3, Some(second.digest)));
    }

    #[tokio::test]
    async fn the_highest_number_is_not_followed_by_the_lowest() {
        let (key, vault) = (key(), vault("one"));
        let keys: TrustedKeys = [key.public()].into_iter().collect();
        let mut parent = archive(CLUSTER, 0, &key);
        parent.sequence = u64::MAX - 1;
        let highest = tagged(Some(&parent), 60, 1, &key);
        let after = |previous: &Archive, at| {
            let lower = Archive { sequence: u64::MAX - 1, digest: previous.digest, ..archive(CLUSTER, 0, &key) };
            tagged(Some(&lower), at, 2, &key)
        };
        for archive in [&highest, &after(&highest, 24 * 60)] {
            put(&vault, archive).await;
        }
        let (now, mut previous) = (at(25 * 60), PreviousBackups::default());
        previous.extend_from(&vault, &cluster_id(), &keys, now).await.expect("lists");
        assert_eq!(previous.next_sequence(), u64::MAX);
        // The backup that follows it is not reported as misnumbered either.
        let (vaults, filter) = ([Arc::new(vault) as Arc<dyn Vault>], Filter::default());
        let latest = catalog::find_latest(&vaults, &filter, &keys, now).await.expect("is found");
        assert_eq!(latest.findings.lines(), Vec::<String>::new());
    }
}

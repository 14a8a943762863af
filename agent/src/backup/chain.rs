//! The newest backups of the cluster: what the next one follows, and what says whether one is due.

use jiff::Timestamp;
use swarmdr_archive::{BackupId, Digest, TrustedKeys};

use crate::vault::{
    Vault, VaultError,
    catalog::{self, Bounds, Filter, Place, Strays, order},
};

/// The newest backups of the cluster over all vaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    places: Vec<Place>,
    newest: Option<Place>,
    /// The newest that is not from the future.
    believable: Option<BackupId>,
}

/// What one vault has of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct There {
    pub has_any: bool,
    /// The number of the newest.
    pub newest: Option<u64>,
}

impl Chain {
    /// Looks into one more vault.
    pub async fn extend_from(
        &mut self,
        vault: &dyn Vault,
        cluster: &str,
        keys: &TrustedKeys,
        now: Timestamp,
    ) -> Result<There, VaultError> {
        let beside = |entry| {
            tracing::warn!(vault = vault.address(), "{entry}");
            Ok(())
        };
        let (filter, found) = (Filter::default(), (Bounds::default(), &mut Strays::default()));
        let view = catalog::view(vault, cluster, &filter, keys, now, found, beside).await?;
        for place in view.places.iter().filter(|place| !place.is_past(now)) {
            tracing::warn!(
                vault = vault.address(),
                "backup {} is from the future: check the managers' clocks",
                place.id
            );
        }
        let newest = view.newest(now).map(|index| view.places[index].sequence);
        self.believable = self.believable.max(view.freshest(now).map(|place| place.id));
        let has_any = !view.places.is_empty();
        self.places.extend(view.places);
        self.newest = order::newest(&self.places, |_| true, now).map(|index| self.places[index].clone());
        Ok(There { has_any, newest })
    }

    /// The backup that says when the next one is due. One that a manager with a wrong clock dated into the
    /// future does not count: it would end all backups until then.
    pub fn newest(&self) -> Option<BackupId> {
        self.believable
    }

    /// The number of the next backup.
    pub fn next_sequence(&self) -> u64 {
        // A number is its writer's claim: the highest must not begin anew from none.
        self.newest.as_ref().map_or(1, |newest| newest.sequence.saturating_add(1))
    }

    /// Digest of the manifest that the next one follows.
    pub fn previous(&self) -> Option<Digest> {
        self.newest.as_ref().map(|newest| newest.digest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use crate::vault::catalog::testing::{Archive, CLUSTER, archive, key, put, tagged, vault};

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
            let mut chain = Chain::default();
            for vault in vaults {
                chain.extend_from(*vault, CLUSTER, &keys, at(now)).await.expect("lists");
            }
            assert_eq!(chain.newest().map(|id| id.created_at()), Some(at(newest)), "at {now}");
        }
    }

    #[tokio::test]
    async fn the_next_one_follows_even_one_from_the_future() {
        let (key, vault) = (key(), vault("one"));
        let keys: TrustedKeys = [key.public()].into_iter().collect();
        let mut chain = Chain::default();
        assert_eq!((chain.next_sequence(), chain.previous()), (1, None));
        put(&vault, &archive(CLUSTER, 600, &key)).await;
        chain.extend_from(&vault, CLUSTER, &keys, at(0)).await.expect("lists");
        assert_eq!((chain.newest(), chain.next_sequence()), (None, 2));
        assert!(chain.previous().is_some());
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
        let mut chain = Chain::default();
        chain.extend_from(&vault, CLUSTER, &keys, at(0)).await.expect("lists");
        assert_eq!((chain.next_sequence(), chain.previous()), (3, Some(second.digest)));
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
        let (now, mut chain) = (at(25 * 60), Chain::default());
        chain.extend_from(&vault, CLUSTER, &keys, now).await.expect("lists");
        assert_eq!(chain.next_sequence(), u64::MAX);
        // Nor is the one that follows it called misnumbered.
        let (vaults, filter) = ([Arc::new(vault) as Arc<dyn Vault>], Filter::default());
        let latest = catalog::find_latest(&vaults, &filter, &keys, now).await.expect("is found");
        assert_eq!(latest.findings.lines(), Vec::<String>::new());
    }
}

//! The newest backups of the cluster: what the next one follows, and what says whether one is due.

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, Digest, TrustedKeys};

use crate::vault::{
    Vault, VaultError,
    catalog::{Filter, Verdict, Walk, age},
};

/// Clocks of managers differ by seconds; more is a wrong clock.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// The newest backup of the cluster over all vaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    newest: Option<Link>,
    /// The newest that is not from the future.
    believable: Option<BackupId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    age: (Timestamp, u64, BackupId),
    manifest: Digest,
}

impl Chain {
    /// Looks into one more vault.
    pub async fn extend_from(
        &mut self,
        vault: &dyn Vault,
        cluster: &str,
        keys: &TrustedKeys,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let mut walk = Walk::new(vault, cluster, &Filter::default(), keys, now);
        while let Some(entry) = walk.next().await? {
            let Verdict::Good(head) = &entry.verdict else {
                tracing::warn!(vault = vault.address(), "{entry}");
                continue;
            };
            let id = head.manifest.id;
            let link = Link { age: age(&head.manifest), manifest: head.manifest_digest };
            if self.newest.is_none_or(|newest| newest.age < link.age) {
                self.newest = Some(link);
            }
            if id.created_at() <= now + CLOCK_TOLERANCE {
                self.believable = self.believable.max(Some(id));
                return Ok(());
            }
            tracing::warn!(vault = vault.address(), "backup {id} is from the future: check the managers' clocks");
        }
        Ok(())
    }

    /// The backup that says when the next one is due. One that a manager with a wrong clock dated into the
    /// future does not count: it would end all backups until then.
    pub fn newest(&self) -> Option<BackupId> {
        self.believable
    }

    /// The number of the next backup.
    pub fn next_sequence(&self) -> u64 {
        self.newest.map_or(1, |newest| newest.age.1 + 1)
    }

    /// Digest of the manifest that the next one follows.
    pub fn previous(&self) -> Option<Digest> {
        self.newest.map(|newest| newest.manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::catalog::testing::{CLUSTER, archive, key, put, tagged, vault};

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
}

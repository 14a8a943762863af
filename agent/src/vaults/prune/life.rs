//! Removes old signs of life: each manager leaves one every few minutes, always under the same key.
//!
//! No content is read: versions go by their age alone. A lifecycle rule of the bucket does the same without any
//! credentials (`packaging/aws/vault.yaml`).

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::ClusterId;
use swarmdr_vault::{Marker, Vault, Version, VersionRef, object_name};

use crate::{host::shutdown::Shutdown, vaults::Connected};

/// Versions of a key that stay, so that somebody who covers the newest with junk does not have it removed by this.
const KEPT: usize = 3;

/// Age below which no version is removed: younger ones are locked, or could still count.
const YOUNG: SignedDuration = SignedDuration::from_hours(12);

/// Age from which a node that leaves no more signs is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Most versions that one run removes: what is left over goes with the next one.
const MOST: usize = 20_000;

/// The old signs of life of one vault.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LifePlan {
    pub vault: String,
    /// Number of versions that are listed.
    pub listed: u64,
    /// Number of versions that are old.
    pub old: u64,
    /// Number of versions that were removed.
    pub removed: u64,
    /// False if the plan is only shown: for a bucket, unless versions are to be deleted one by one.
    pub acts: bool,
    #[serde(skip)]
    versions: Vec<VersionRef>,
}

impl LifePlan {
    /// Lists the old versions of all clusters, or of the given one.
    pub async fn make(connected: &Connected, cluster: Option<&ClusterId>, acts: bool, now: Timestamp) -> Result<Self> {
        let under = match cluster {
            Some(cluster) => format!("{}{cluster}/", object_name::LIFE),
            None => object_name::LIFE.to_owned(),
        };
        let vault = connected.vault.as_ref();
        let now = vault.clock().await?.unwrap_or(now);
        let mut plan = Self { vault: connected.settings.url.clone(), acts, ..Self::default() };
        let mut key = OfKey::default();
        let mut after: Option<Marker> = None;
        loop {
            let page = vault.list_versions(&under, after.as_ref()).await.context("failed to list signs of life")?;
            for version in page.versions {
                plan.listed += 1;
                if key.is_old(&version, now) {
                    plan.old += 1;
                    plan.versions.push(version.at);
                }
            }
            after = page.next.filter(|_| plan.versions.len() < MOST);
            if after.is_none() {
                plan.versions.truncate(MOST);
                return Ok(plan);
            }
        }
    }

    /// A plan that shows so many old versions.
    #[cfg(test)]
    pub fn of(vault: &str, old: u64) -> Self {
        Self { vault: vault.to_owned(), old, ..Self::default() }
    }

    /// Removes what is old.
    pub async fn carry_out(&mut self, vault: &dyn Vault, shutdown: &Shutdown) -> Result<()> {
        if !self.acts {
            return Ok(());
        }
        for version in std::mem::take(&mut self.versions) {
            shutdown.check()?;
            let deleted = vault.delete_version(&version).await;
            deleted.with_context(|| format!("failed to remove an old sign of life from {}", self.vault))?;
            self.removed += 1;
        }
        Ok(())
    }
}

/// The versions of one key so far, newest first.
#[derive(Debug, Default)]
struct OfKey {
    key: String,
    seen: usize,
    is_forgotten: bool,
}

impl OfKey {
    fn is_old(&mut self, version: &Version, now: Timestamp) -> bool {
        let age = now.duration_since(version.modified);
        if self.key != version.at.key {
            *self = Self { key: version.at.key.clone(), seen: 0, is_forgotten: age > FORGOTTEN };
        }
        self.seen += 1;
        self.is_forgotten || (self.seen > KEPT && age > YOUNG)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmdr_vault::{
        VaultSettings,
        testkit::archives::{minute, vault},
    };

    use super::*;

    fn hours(hours: i64) -> Timestamp {
        minute(0) + SignedDuration::from_hours(hours)
    }

    /// Returns what is left of each key after a run at hour 1000.
    async fn left(cluster: Option<&str>, acts: bool) -> (LifePlan, Vec<String>) {
        let vault = Arc::new(vault("v"));
        for at in [900, 970, 980, 985, 990, 999] {
            vault.overlay_at("life/c/alive", "sign", hours(at));
        }
        for at in [1, 2, 3, 4] {
            vault.overlay_at("life/c/gone", "sign", hours(at));
            vault.overlay_at("life/d/gone", "sign", hours(at));
            vault.overlay_at("c/20261121T033000Z-00000001.swarmdr", "backup", hours(at));
        }
        let connected = Connected { settings: VaultSettings::new("s3://v"), vault: vault.clone() };
        let cluster = cluster.map(|it| it.parse().expect("is an id"));
        let mut plan = LifePlan::make(&connected, cluster.as_ref(), acts, hours(1000)).await.expect("lists");
        plan.carry_out(vault.as_ref(), &Shutdown::default()).await.expect("removes");
        let listed = vault.list_versions("", None).await.expect("lists").versions;
        (plan, listed.into_iter().map(|version| version.at.key).collect())
    }

    #[tokio::test]
    async fn three_versions_of_a_living_node_stay_and_none_of_one_that_is_long_gone() {
        let (plan, keys) = left(None, true).await;
        let number = |of: &str| keys.iter().filter(|key| *key == of).count();
        assert_eq!((number("life/c/alive"), number("life/c/gone"), number("life/d/gone")), (3, 0, 0));
        assert_eq!((plan.listed, plan.old, plan.removed), (14, 11, 11));
        assert_eq!(keys.iter().filter(|key| key.ends_with(".swarmdr")).count(), 4, "no backup is touched");
    }

    #[tokio::test]
    async fn only_the_cluster_that_is_meant_is_touched_and_a_plan_removes_nothing() {
        let (plan, keys) = left(Some("c"), true).await;
        assert_eq!((plan.removed, keys.iter().filter(|key| *key == "life/d/gone").count()), (7, 4));
        let (plan, keys) = left(None, false).await;
        assert_eq!((plan.old, plan.removed, keys.len()), (11, 0, 18));
    }
}

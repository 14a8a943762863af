//! Removes old backups from vaults, as a plan first.
//!
//! For each cluster in each vault, the policy decides which backups stay; the newest and the newest proven one always
//! do. Only good backups are removed: forged or damaged ones are for an operator to look at. A locked version stays
//! until its lock ends. Credentials of an agent should not be able to delete in a bucket at all, so there the plan is
//! only shown unless the owner asks for more.

mod flow;
mod life;
pub mod lifecycle;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{
    BackupId, ClusterId, TrustedKeys,
    manifest::Proof,
    untrusted::{joined, shown},
};
use swarmdr_vault::{
    Lock, VersionRef,
    catalog::{Filter, Place, Timing, Verdict, Walk, clusters_of, order},
};

use crate::{
    config::retention::Policy,
    host::{files::space::human_bytes, shutdown::Shutdown},
    outcome::{count::count, exit::Exit, failure::Failure},
    vaults::Connected,
};

pub use flow::{Request, run};
pub use life::LifePlan;

/// A good backup in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoodBackup {
    pub place: Place,
    pub at: VersionRef,
    pub size: u64,
    pub proven: bool,
    pub lock: Option<Lock>,
}

impl GoodBackup {
    /// True if the vault's clock confirms the time in its id, and if that is not in the future.
    fn is_regular(&self, now: Timestamp) -> bool {
        self.place.timing() == Timing::Prompt && self.place.is_past(now)
    }
}

/// The decision about one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PruneDecision {
    pub id: BackupId,
    /// The time of storing by the vault's clock.
    pub stored_at: Timestamp,
    /// True if the vault's clock does not confirm the time in its id, or if that is in the future.
    pub late: bool,
    pub size: u64,
    pub act: Act,
    /// The reasons why it stays; empty if it is removed.
    pub because: Vec<String>,
    #[serde(skip)]
    pub at: VersionRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    Keep,
    Remove,
    /// To be removed once its lock has ended.
    Locked,
}

/// The plan for one cluster in one vault.
#[derive(Debug, Clone, Serialize)]
pub struct VaultPlan {
    pub vault: String,
    pub cluster: ClusterId,
    /// Decisions, newest backup first.
    pub backups: Vec<PruneDecision>,
    /// The lifecycle rule that suits the policy, if the vault is a bucket.
    pub lifecycle: Option<serde_json::Value>,
    /// False if the plan is only shown: for a bucket, unless versions are to be deleted one by one.
    pub acts: bool,
}

/// Decides about the backups of one cluster, newest first.
///
/// A backup whose time the vault's clock does not confirm displaces no other: such backups are kept in addition, by the
/// same rules among themselves.
pub fn plan(held: &[GoodBackup], policy: &Policy, now: Timestamp) -> Vec<PruneDecision> {
    let mut kept: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
    for regular in [true, false] {
        let group: Vec<&GoodBackup> = held.iter().filter(|held| held.is_regular(now) == regular).collect();
        let mut ids: Vec<BackupId> = group.iter().map(|held| held.place.id).collect();
        ids.sort_by(|a, b| b.cmp(a));
        for (id, reasons) in policy.kept(&ids) {
            let reasons = reasons.into_iter().map(|reason| if regular { reason } else { format!("late: {reason}") });
            kept.entry(id).or_default().extend(reasons);
        }
        let mut always = |held: Option<&&GoodBackup>, why: &str| {
            let reasons = held.map(|held| kept.entry(held.place.id).or_default());
            reasons
                .into_iter()
                .filter(|reasons| !reasons.iter().any(|it| it == why))
                .for_each(|it| it.push(why.into()));
        };
        always(group.first(), if regular { "newest" } else { "newest late" });
        always(group.iter().find(|held| held.proven), if regular { "newest proven" } else { "newest late proven" });
    }
    let decide = |held: &GoodBackup| {
        let because = kept.get(&held.place.id).cloned().unwrap_or_default();
        let locked = held.lock.filter(|lock| lock.until > now);
        let (act, because) = match (because.is_empty(), locked) {
            (false, _) => (Act::Keep, because),
            (true, Some(lock)) => (Act::Locked, vec![format!("locked until {}", lock.until)]),
            (true, None) => (Act::Remove, because),
        };
        let late = !held.is_regular(now);
        let (id, stored_at) = (held.place.id, held.place.stored);
        PruneDecision { id, stored_at, late, size: held.size, act, because, at: held.at.clone() }
    };
    held.iter().map(decide).collect()
}

/// Lists the good backups of a vault by cluster, newest first.
pub async fn list(
    connected: &Connected,
    cluster: Option<&ClusterId>,
    keys: &TrustedKeys,
    shutdown: &Shutdown,
    now: Timestamp,
) -> Result<BTreeMap<ClusterId, Vec<GoodBackup>>> {
    let vault = connected.vault.as_ref();
    let filter = Filter { cluster: cluster.cloned(), ..Filter::default() };
    let mut clusters: BTreeMap<ClusterId, Vec<GoodBackup>> = BTreeMap::new();
    for cluster in shutdown.or_interrupted(async { Ok(clusters_of(vault, &filter).await?) }).await?.names {
        let mut walk = Walk::new(vault, &cluster, &filter, keys, now);
        while let Some(entry) = shutdown.or_interrupted(async { Ok(walk.next().await?) }).await? {
            let Verdict::Good(head) = &entry.verdict else {
                tracing::warn!(vault = vault.address(), "left alone: {entry}");
                continue;
            };
            let lock = vault.head(&entry.at).await.context("failed to read a lock, so nothing is planned")?.lock;
            let manifest = &head.manifest;
            let proven = manifest.proof == Proof::Proven;
            let place = Place::of(head, entry.modified);
            let held = GoodBackup { place, at: entry.at.clone(), size: entry.size, proven, lock };
            clusters.entry(manifest.cluster_id.clone()).or_default().push(held);
        }
    }
    for held in clusters.values_mut() {
        let places: Vec<Place> = held.iter().map(|held| held.place.clone()).collect();
        *held = order::ranked(&places).into_iter().map(|index| held[index].clone()).collect();
    }
    Ok(clusters)
}

impl VaultPlan {
    fn of(&self, act: Act) -> impl Iterator<Item = &PruneDecision> {
        self.backups.iter().filter(move |decision| decision.act == act)
    }

    /// Removes what the plan says, oldest first, so that an interrupted run has removed the least valuable.
    pub async fn carry_out(&self, connected: &Connected, shutdown: &Shutdown) -> Result<u64> {
        let mut removed = 0;
        if !self.acts {
            return Ok(removed);
        }
        for decision in self.of(Act::Remove).collect::<Vec<_>>().into_iter().rev() {
            shutdown.check()?;
            let deleted = connected.vault.delete_version(&decision.at).await;
            deleted.map_err(|cause| {
                Failure::failed(format!("failed to remove backup {} from {}", decision.id, self.vault))
                    .advice("credentials that make backups should not be able to delete them: set the lifecycle rule")
                    .because(cause)
            })?;
            tracing::info!(vault = self.vault, "removed backup {}", decision.id);
            removed += 1;
        }
        Ok(removed)
    }
}

/// The stable JSON form of `prune --json`.
#[derive(Debug, Serialize)]
pub struct PruneReport {
    pub result: &'static str,
    pub dry_run: bool,
    pub policy: Policy,
    pub plans: Vec<VaultPlan>,
    /// Old signs of life, by vault.
    pub signs_of_life: Vec<LifePlan>,
    pub removed: u64,
    /// Vaults that could not be listed or cleared.
    pub attention: Vec<String>,
}

impl PruneReport {
    pub fn exit(&self) -> Exit {
        if self.attention.is_empty() { Exit::Done } else { Exit::Attention }
    }
}

impl fmt::Display for PruneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for plan in &self.plans {
            writeln!(f, "{} (swarm {})", shown(&plan.vault), shown(&plan.cluster))?;
            for decision in &plan.backups {
                let act = match decision.act {
                    Act::Keep => "keep",
                    Act::Remove => "REMOVE",
                    Act::Locked => "locked",
                };
                let late = decision.late.then(|| format!("stored {}", decision.stored_at.strftime("%Y-%m-%d %H:%M")));
                let why: Vec<String> = decision.because.iter().cloned().chain(late).collect();
                writeln!(f, "  {act:6}  {}  {:>10}  {}", decision.id, human_bytes(decision.size), joined(why, ", "))?;
            }
            if let Some(rule) = &plan.lifecycle {
                writeln!(f, "  a lifecycle rule for the bucket, set once by its owner:")?;
                writeln!(f, "{rule:#}")?;
                writeln!(f, "  {}", lifecycle::CAVEAT)?;
            }
            if !plan.acts {
                writeln!(f, "  nothing is deleted here without --delete-versions")?;
            }
        }
        for signs in self.signs_of_life.iter().filter(|signs| signs.old > 0) {
            let (number, done) =
                (count(signs.old, "old sign"), if signs.removed > 0 { "removed" } else { "not removed" });
            writeln!(f, "{}: {number} of life, {done}", shown(&signs.vault))?;
        }
        match self.dry_run {
            true => writeln!(f, "A dry run: nothing was removed.")?,
            false => writeln!(f, "{} removed.", count(self.removed, "backup"))?,
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

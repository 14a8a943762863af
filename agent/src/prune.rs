//! Removes old backups from vaults, as a plan first.
//!
//! Of each cluster in each vault the policy keeps some; the newest backup and the newest that was proven are kept
//! whatever it says. Only good backups are removed: what is forged or damaged is for a person to look at. A version
//! that is locked stays until its lock ends, and no credentials of an agent should be able to delete in a bucket at
//! all, so there the plan is only shown unless the owner asks for more.

pub mod lifecycle;
pub mod policy;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, TrustedKeys, manifest::Proof};

use crate::{
    exit::Exit,
    fault::Fault,
    host::space::human_bytes,
    shutdown::Shutdown,
    terminal::{joined, shown},
    vault::{
        Lock, VersionRef,
        catalog::{Filter, Place, Timing, Verdict, Walk, clusters_of, order},
    },
    vaults::Connected,
};

pub use policy::Policy;

/// A good backup in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub place: Place,
    pub at: VersionRef,
    pub size: u64,
    pub proven: bool,
    pub lock: Option<Lock>,
}

impl Held {
    /// The vault's clock bears its time out, and that time has come.
    fn is_regular(&self, now: Timestamp) -> bool {
        self.place.timing() == Timing::Prompt && self.place.is_past(now)
    }
}

/// What becomes of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fate {
    pub id: BackupId,
    /// By the vault's clock.
    pub stored_at: Timestamp,
    /// Not stored when it was made, as its id says.
    pub late: bool,
    pub size: u64,
    pub act: Act,
    /// Why it is kept; empty if it is removed.
    pub because: Vec<String>,
    #[serde(skip)]
    pub at: VersionRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    Keep,
    Remove,
    /// To go, and locked until then.
    Locked,
}

/// The plan for one cluster in one vault; plain data.
#[derive(Debug, Clone, Serialize)]
pub struct VaultPlan {
    pub vault: String,
    pub cluster: String,
    /// Newest first.
    pub backups: Vec<Fate>,
    /// The rule that clears up behind it, where the vault is a bucket.
    pub lifecycle: Option<serde_json::Value>,
    /// False where the plan is only shown: a bucket, unless versions are to be deleted one by one.
    pub acts: bool,
}

/// Decides about the backups of one cluster, newest first.
///
/// One whose time the vault's clock does not bear out displaces none that it does: such ones are kept by the same rules
/// among themselves, besides.
pub fn plan(held: &[Held], policy: &Policy, now: Timestamp) -> Vec<Fate> {
    let mut kept: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
    for regular in [true, false] {
        let group: Vec<&Held> = held.iter().filter(|held| held.is_regular(now) == regular).collect();
        let mut ids: Vec<BackupId> = group.iter().map(|held| held.place.id).collect();
        ids.sort_by(|a, b| b.cmp(a));
        for (id, reasons) in policy.kept(&ids) {
            let told = reasons.into_iter().map(|reason| if regular { reason } else { format!("late: {reason}") });
            kept.entry(id).or_default().extend(told);
        }
        let mut always = |held: Option<&&Held>, why: &str| {
            let reasons = held.map(|held| kept.entry(held.place.id).or_default());
            reasons
                .into_iter()
                .filter(|reasons| !reasons.iter().any(|it| it == why))
                .for_each(|it| it.push(why.into()));
        };
        always(group.first(), if regular { "newest" } else { "newest late" });
        always(group.iter().find(|held| held.proven), if regular { "newest proven" } else { "newest late proven" });
    }
    let fate = |held: &Held| {
        let because = kept.get(&held.place.id).cloned().unwrap_or_default();
        let locked = held.lock.filter(|lock| lock.until > now);
        let (act, because) = match (because.is_empty(), locked) {
            (false, _) => (Act::Keep, because),
            (true, Some(lock)) => (Act::Locked, vec![format!("locked until {}", lock.until)]),
            (true, None) => (Act::Remove, because),
        };
        let late = !held.is_regular(now);
        let (id, stored_at) = (held.place.id, held.place.stored);
        Fate { id, stored_at, late, size: held.size, act, because, at: held.at.clone() }
    };
    held.iter().map(fate).collect()
}

/// Lists the good backups of a vault by cluster, newest first.
pub async fn list(
    connected: &Connected,
    cluster: Option<&str>,
    keys: &TrustedKeys,
    shutdown: &Shutdown,
    now: Timestamp,
) -> Result<BTreeMap<String, Vec<Held>>> {
    let vault = connected.vault.as_ref();
    let filter = Filter { cluster: cluster.map(str::to_owned), ..Filter::default() };
    let mut clusters: BTreeMap<String, Vec<Held>> = BTreeMap::new();
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
            let held = Held { place, at: entry.at.clone(), size: entry.size, proven, lock };
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
    fn of(&self, act: Act) -> impl Iterator<Item = &Fate> {
        self.backups.iter().filter(move |fate| fate.act == act)
    }

    /// Removes what the plan says, oldest first, so that an interrupted run has removed the least valuable.
    pub async fn carry_out(&self, connected: &Connected, shutdown: &Shutdown) -> Result<u64> {
        let mut removed = 0;
        if !self.acts {
            return Ok(removed);
        }
        for fate in self.of(Act::Remove).collect::<Vec<_>>().into_iter().rev() {
            shutdown.check()?;
            let deleted = connected.vault.delete_version(&fate.at).await;
            deleted.map_err(|cause| {
                Fault::failed(format!("failed to remove backup {} from {}", fate.id, self.vault))
                    .advice("credentials that make backups should not be able to delete them: set the lifecycle rule")
                    .because(cause)
            })?;
            tracing::info!(vault = self.vault, "removed backup {}", fate.id);
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
            for fate in &plan.backups {
                let act = match fate.act {
                    Act::Keep => "keep",
                    Act::Remove => "REMOVE",
                    Act::Locked => "locked",
                };
                let late = fate.late.then(|| format!("stored {}", fate.stored_at.strftime("%Y-%m-%d %H:%M")));
                let why: Vec<String> = fate.because.iter().cloned().chain(late).collect();
                writeln!(f, "  {act:6}  {}  {:>10}  {}", fate.id, human_bytes(fate.size), joined(why, ", "))?;
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
        match self.dry_run {
            true => writeln!(f, "A dry run: nothing was removed.")?,
            false => writeln!(f, "{} backups removed.", self.removed)?,
        }
        for attention in &self.attention {
            writeln!(f, "  ATTENTION: {}", shown(attention))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

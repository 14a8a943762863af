//! Which archives of a series stay, and why: a plan without any act.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, Digest};
use swarmdr_vault::VersionRef;

use super::held::Held;
use crate::config::retention::Policy;

/// The decision about one archive.
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
    /// Digest of its manifest.
    #[serde(skip)]
    pub digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    Keep,
    Remove,
    /// To be removed once its lock has ended.
    Locked,
}

/// Decides about the archives of one series, newest first.
///
/// An archive whose time the vault's clock does not confirm displaces no other: such archives are kept in addition, by the
/// same rules among themselves.
pub fn plan(held: &[Held], policy: &Policy, now: Timestamp) -> Vec<PruneDecision> {
    let mut kept: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
    for regular in [true, false] {
        let group: Vec<&Held> = held.iter().filter(|held| held.is_regular(now) == regular).collect();
        let mut ids: Vec<BackupId> = group.iter().map(|held| held.place.id).collect();
        ids.sort_by(|a, b| b.cmp(a));
        for (id, reasons) in policy.kept(&ids) {
            let reasons = reasons.into_iter().map(|reason| if regular { reason } else { format!("late: {reason}") });
            kept.entry(id).or_default().extend(reasons);
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
    for held in held.iter().filter(|held| held.in_point) {
        kept.entry(held.place.id).or_default().push("in the newest complete recovery point".to_owned());
    }
    let decide = |held: &Held| PruneDecision::of(held, kept.get(&held.place.id).cloned().unwrap_or_default(), now);
    held.iter().map(decide).collect()
}

impl PruneDecision {
    /// Keeps an archive for these reasons, or until its lock ends; removes it if there is neither.
    pub(super) fn of(held: &Held, because: Vec<String>, now: Timestamp) -> Self {
        let locked = held.lock.filter(|lock| lock.until > now);
        let (act, because) = match (because.is_empty(), locked) {
            (false, _) => (Act::Keep, because),
            (true, Some(lock)) => (Act::Locked, vec![format!("locked until {}", lock.until)]),
            (true, None) => (Act::Remove, because),
        };
        let late = !held.is_regular(now);
        let (id, stored_at, digest) = (held.place.id, held.place.stored, held.place.digest);
        Self { id, stored_at, late, size: held.size, act, because, at: held.at.clone(), digest }
    }
}

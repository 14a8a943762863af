//! The outcome of pruning, for a person or a script.

use std::fmt;

use serde::Serialize;
use swarmdr_archive::untrusted::{joined, shown};

use super::{Act, LifePlan, PointPlan, PruneDecision, StreamPlan, VaultPlan, lifecycle};
use crate::{
    config::retention::Policy,
    host::files::space::human_bytes,
    outcome::{count::count, exit::Exit},
};

/// The stable JSON form of `prune --json`.
#[derive(Debug, Serialize)]
pub struct PruneReport {
    pub result: &'static str,
    pub dry_run: bool,
    pub policy: Policy,
    pub plans: Vec<VaultPlan>,
    /// Plans for streams, by vault, swarm and name.
    pub streams: Vec<StreamPlan>,
    /// Plans for recovery points, by vault and swarm.
    pub points: Vec<PointPlan>,
    /// Old signs of life, by vault.
    pub signs_of_life: Vec<LifePlan>,
    /// Number of backups that were removed.
    pub removed: u64,
    pub removed_streams: u64,
    pub removed_points: u64,
    /// Vaults that could not be listed or cleared.
    pub attention: Vec<String>,
}

impl PruneReport {
    pub fn exit(&self) -> Exit {
        Exit::with_attention(!self.attention.is_empty())
    }
}

impl fmt::Display for PruneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plans.iter().try_for_each(|plan| plan.fmt(f))?;
        self.streams.iter().try_for_each(|plan| plan.fmt(f))?;
        self.points.iter().try_for_each(|plan| plan.fmt(f))?;
        for signs in self.signs_of_life.iter().filter(|signs| signs.old > 0) {
            let (number, done) =
                (count(signs.old, "old sign"), if signs.removed > 0 { "removed" } else { "not removed" });
            writeln!(f, "{}: {number} of life, {done}", shown(&signs.vault))?;
        }
        match self.dry_run {
            true => writeln!(f, "A dry run: nothing was removed.")?,
            false => writeln!(f, "{} removed.", self.number())?,
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        Ok(())
    }
}

impl PruneReport {
    /// Says how much was removed, of what there is.
    fn number(&self) -> String {
        let mut kinds = vec![count(self.removed, "backup")];
        kinds.extend((!self.streams.is_empty()).then(|| count(self.removed_streams, "stream")));
        kinds.extend((!self.points.is_empty()).then(|| count(self.removed_points, "recovery point")));
        let last = kinds.pop().unwrap_or_default();
        if kinds.is_empty() { last } else { format!("{} and {last}", kinds.join(", ")) }
    }
}

impl fmt::Display for PointPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (recovery points of swarm {})", shown(&self.vault), shown(&self.cluster))?;
        show(&self.points, f)?;
        show_whether(self.acts, f)
    }
}

impl fmt::Display for VaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (swarm {})", shown(&self.vault), shown(&self.cluster))?;
        show(&self.backups, f)?;
        if let Some(rule) = &self.lifecycle {
            writeln!(f, "  a lifecycle rule for the bucket, set once by its owner:")?;
            writeln!(f, "{rule:#}")?;
            writeln!(f, "  {}", lifecycle::CAVEAT)?;
        }
        show_whether(self.acts, f)
    }
}

impl fmt::Display for StreamPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (stream {} of swarm {})", shown(&self.vault), self.name, shown(&self.cluster))?;
        show(&self.streams, f)?;
        show_whether(self.acts, f)
    }
}

fn show(decisions: &[PruneDecision], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for decision in decisions {
        let act = match decision.act {
            Act::Keep => "keep",
            Act::Remove => "REMOVE",
            Act::Locked => "locked",
        };
        let late = decision.late.then(|| format!("stored {}", decision.stored_at.strftime("%Y-%m-%d %H:%M")));
        let why: Vec<String> = decision.because.iter().cloned().chain(late).collect();
        writeln!(f, "  {act:6}  {}  {:>10}  {}", decision.id, human_bytes(decision.size), joined(why, ", "))?;
    }
    Ok(())
}

fn show_whether(acts: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match acts {
        true => Ok(()),
        false => writeln!(f, "  nothing is deleted here without --delete-versions"),
    }
}

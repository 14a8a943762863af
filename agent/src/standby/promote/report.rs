//! The report of a promotion.

use std::{fmt, time::Duration};

use serde::Serialize;
use swarmdr_archive::{BackupId, untrusted::shown};

use super::{Chosen, age::human};
use crate::{
    nodes::grow::GrowReport,
    outcome::{count::count, elapsed::human_ms, exit::Exit, phases::Phase},
    restore::{RestoreReport, images::line::Line},
    standby::replicas::Scaled,
};

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The swarm is on this host now.
    Promoted,
    /// An earlier run was cut short, and this one ended it.
    Finished,
    /// The swarm was on this host already.
    Serves,
}

/// The stable JSON form of `promote --json`.
#[derive(Debug, Serialize)]
pub struct PromoteReport {
    pub result: Outcome,
    pub backup: BackupId,
    /// True if the backup was kept on this host, and not fetched.
    pub from_kept: bool,
    /// True if its state was formed beforehand.
    pub formed: bool,
    /// Seconds between the backup and the promotion.
    pub lag: Option<i64>,
    /// Milliseconds from the start of the run until the swarm had its leader here.
    pub leader_ms: Option<u64>,
    /// The checks, and then the restore.
    pub phases: Vec<Phase>,
    /// The restore; absent if none was needed.
    pub restore: Option<RestoreReport>,
    /// Services that got their replicas back.
    pub scaled: Vec<Scaled>,
    /// More managers; absent unless that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grown: Option<GrowReport>,
    pub notes: Vec<String>,
    /// What does not run, and everything else that has to be looked after. Exit 6.
    pub attention: Vec<String>,
}

impl PromoteReport {
    pub(super) fn promoted(chosen: &Chosen, lag: i64, restore: RestoreReport, before: Duration) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let until: u64 = restore.phases.iter().take_while(|it| it.name != "confirm").map(|it| it.ms).sum();
        Self {
            from_kept: chosen.is_local,
            formed: chosen.formed,
            lag: Some(lag),
            leader_ms: Some(ms(before) + until),
            phases: restore.phases.clone(),
            notes: chosen.notes.clone(),
            attention: chosen.attention.clone(),
            ..Self::of(Outcome::Promoted, restore.plan.id, Some(restore))
        }
    }

    pub(super) fn finished(restore: RestoreReport) -> Self {
        Self { formed: restore.plan.formed, ..Self::of(Outcome::Finished, restore.plan.id, Some(restore)) }
    }

    pub(super) fn served(backup: BackupId) -> Self {
        Self::of(Outcome::Serves, backup, None)
    }

    fn of(result: Outcome, backup: BackupId, restore: Option<RestoreReport>) -> Self {
        Self {
            result,
            backup,
            from_kept: false,
            formed: false,
            lag: None,
            leader_ms: None,
            phases: Vec::new(),
            restore,
            scaled: Vec::new(),
            grown: None,
            notes: Vec::new(),
            attention: Vec::new(),
        }
    }

    /// Adds what was found out about the images.
    pub fn looked_at(&mut self, lines: Option<Vec<Line>>, attention: Vec<String>) {
        if let Some(restore) = &mut self.restore {
            restore.pullable = lines;
        }
        self.attention.extend(attention);
    }

    pub fn exit(&self) -> Exit {
        let is_grown = self.grown.as_ref().is_none_or(|grown| grown.exit() == Exit::Done);
        let is_well =
            is_grown && self.attention.is_empty() && self.restore.as_ref().is_none_or(|it| it.exit() == Exit::Done);
        Exit::with_attention(!is_well)
    }
}

impl fmt::Display for PromoteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            Outcome::Promoted => writeln!(f, "This site serves the swarm now.")?,
            Outcome::Finished => writeln!(f, "This site serves the swarm now; an earlier run had begun that.")?,
            Outcome::Serves => writeln!(f, "This site serves the swarm already.")?,
        }
        if let Some(leader) = self.leader_ms {
            let how = if self.formed { ", from a state that was formed beforehand" } else { "" };
            writeln!(f, "  leader    after {}{how}", human_ms(leader))?;
        }
        if let Some(lag) = self.lag {
            let from = if self.from_kept { "kept on this host" } else { "from a vault" };
            writeln!(f, "  backup    {} ({from}), {} old: what was changed since is lost", self.backup, human(lag))?;
        }
        for scaled in &self.scaled {
            writeln!(
                f,
                "  scaled    {} from {} to {}",
                shown(&scaled.service),
                scaled.from,
                count(scaled.to, "replica")
            )?;
        }
        if let Some(grown) = &self.grown {
            write!(f, "{grown}")?;
        }
        for line in &self.attention {
            writeln!(f, "! {}", shown(line))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        match &self.restore {
            Some(restore) => write!(f, "{restore}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let mut report = PromoteReport::served("20261121T030000Z-00000001".parse().expect("is an id"));
            report.attention = vec![text.to_owned()];
            report.notes = vec![text.to_owned()];
            report
        });
    }

    #[test]
    fn what_does_not_run_needs_attention() {
        let mut report = PromoteReport::served("20261121T030000Z-00000001".parse().expect("is an id"));
        assert_eq!(report.exit(), Exit::Done);
        report.attention.push("the service web runs with 0 of 2 tasks".to_owned());
        assert_eq!(report.exit(), Exit::Attention);
    }
}

//! The report of a standby's run.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, ClusterId, untrusted::shown};

use crate::{
    archive::kept::{Formed, Kept},
    outcome::{elapsed::human_ms, exit::Exit, phases::Phase},
};

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Another backup is kept now.
    Kept,
    /// What was missing of the kept backup was made.
    Completed,
    /// The newest backup was kept before.
    Unchanged,
    /// No vault could be asked.
    NotAsked,
    /// This is a dry run.
    Planned,
}

/// The stable JSON form of `standby --json`.
#[derive(Debug, Serialize)]
pub struct StandbyReport {
    pub result: Outcome,
    pub backup: BackupId,
    pub created_at: Timestamp,
    pub cluster_id: ClusterId,
    pub source: String,
    /// The state that was formed beforehand; absent if there is none.
    pub formed: Option<Formed>,
    /// Why there is none, or why it is not needed.
    pub not_formed: Option<String>,
    /// What a promotion would meet. Exit 6.
    pub attention: Vec<String>,
    pub notes: Vec<String>,
    /// Other findings in the vaults.
    pub findings: Vec<String>,
    pub phases: Vec<Phase>,
}

impl StandbyReport {
    pub fn of(result: Outcome, kept: &Kept, findings: Vec<String>) -> Self {
        Self {
            result,
            backup: kept.backup,
            created_at: kept.created_at,
            cluster_id: kept.cluster_id.clone(),
            source: kept.source.clone(),
            formed: kept.formed.clone(),
            not_formed: kept.not_formed.clone(),
            attention: kept.attention.clone(),
            notes: Vec::new(),
            findings,
            phases: Vec::new(),
        }
    }

    pub fn exit(&self) -> Exit {
        Exit::with_attention(!(self.attention.is_empty() && self.findings.is_empty()))
    }

    /// True if the run had nothing to do.
    pub fn is_idle(&self) -> bool {
        matches!(self.result, Outcome::Unchanged | Outcome::Planned)
    }
}

impl fmt::Display for StandbyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.result {
            Outcome::Kept => "is kept on this host now",
            Outcome::Completed => "was kept before, and what was missing of it was made",
            Outcome::Unchanged => "is kept on this host already, and is the newest",
            Outcome::NotAsked => "stays kept on this host",
            Outcome::Planned => "would be kept on this host",
        };
        writeln!(f, "Backup {} {done}.", self.backup)?;
        writeln!(f, "  made      {}", self.created_at)?;
        writeln!(f, "  swarm     {}", shown(&self.cluster_id))?;
        writeln!(f, "  from      {}", shown(&self.source))?;
        match (&self.formed, &self.not_formed) {
            (Some(formed), _) => {
                writeln!(f, "  formed    beforehand, by engine {} at {:.0}", shown(&formed.engine), formed.at)?
            }
            (None, Some(why)) => writeln!(f, "  formed    no: {}", shown(why))?,
            (None, None) => {}
        }
        if !self.phases.is_empty() {
            let spent: Vec<String> =
                self.phases.iter().map(|phase| format!("{} {}", phase.name, human_ms(phase.ms))).collect();
            writeln!(f, "  spent     {}", spent.join(", "))?;
        }
        for line in self.attention.iter().chain(&self.findings) {
            writeln!(f, "! {}", shown(line))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{archive::kept::tests::kept, outcome::terminal::tests::assert_tame};

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let own = || vec![text.to_owned()];
            let mut report = StandbyReport::of(Outcome::Kept, &kept("20261121T030000Z-00000001"), own());
            (report.source, report.not_formed) = (text.to_owned(), Some(text.to_owned()));
            (report.attention, report.notes) = (own(), own());
            report
        });
    }
}

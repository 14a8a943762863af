//! The report of `node spread`.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::plan::{Planned, Verdict};
use crate::{
    nodes::ending,
    outcome::{count::count, exit::Exit},
};

/// The stable JSON form of `node spread --json`.
#[derive(Debug, Serialize)]
pub struct SpreadReport {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Services that are meant, sorted by name. After a failure those that come later are absent.
    pub services: Vec<ServiceLine>,
    pub attention: Vec<String>,
}

/// A service, and what became of it. Part of a stable JSON form.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceLine {
    pub service: String,
    pub id: String,
    /// Number of its tasks by the names of the nodes that may have them.
    pub placed: BTreeMap<String, u64>,
    /// The same before this run updated it; empty if it did not.
    pub before: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether `docker service rollback` had something to go back to, which it has no more.
    pub rollback_lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Spread,
    /// A run without --dry-run updates it.
    Would,
    /// It gains from an update, and --at-most was reached before.
    Later,
    Even,
    /// It was updated, and the scheduler placed it unevenly again.
    StillUneven,
    /// An earlier run updated it for the same nodes.
    Tried,
    /// It gains from an update, and its tasks use something of their nodes.
    Held {
        why: String,
    },
    Left {
        why: String,
        needs_attention: bool,
    },
    Gone,
    Failed {
        why: String,
    },
}

impl Outcome {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Uneven => Self::Would,
            Verdict::Even => Self::Even,
            Verdict::NotMeant { why } => Self::Left { why: why.clone(), needs_attention: false },
            Verdict::Left { why } => Self::Left { why: why.clone(), needs_attention: true },
            Verdict::Tried => Self::Tried,
            Verdict::Held { why } => Self::Held { why: why.clone() },
        }
    }

    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

impl ServiceLine {
    pub fn of(planned: &Planned, outcome: Outcome) -> Self {
        Self {
            service: planned.name.clone(),
            id: planned.id.clone(),
            placed: planned.placed.clone(),
            before: BTreeMap::new(),
            outcome,
            rollback_lost: false,
        }
    }

    fn attention(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed { why } => Some(format!("{}: {why}; no further service was updated", self.service)),
            Outcome::Left { why, needs_attention: true } => Some(format!("{} was left: {why}", self.service)),
            _ => None,
        }
    }
}

impl SpreadReport {
    pub fn of(dry_run: bool, services: Vec<ServiceLine>) -> Self {
        let attention: Vec<String> = services.iter().filter_map(ServiceLine::attention).collect();
        let exit = match () {
            () if services.iter().any(|line| line.outcome.is_failure()) => Exit::Failed,
            () if !attention.is_empty() => Exit::Attention,
            () => Exit::Done,
        };
        Self { result: exit.word(), exit, dry_run, services, attention }
    }

    /// Exits 1 if an update failed, 6 if a service was left that is not at rest or cannot be judged.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for ServiceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.outcome {
            Outcome::Spread => "spread",
            Outcome::Would => "to spread",
            Outcome::Later => "later",
            Outcome::Even => "even",
            Outcome::StillUneven => "uneven",
            Outcome::Tried => "tried",
            Outcome::Held { .. } => "held",
            Outcome::Left { .. } => "left",
            Outcome::Gone => "gone",
            Outcome::Failed { .. } => "FAILED",
        };
        write!(f, "{what:10} {}", shown(&self.service))?;
        if !self.before.is_empty() {
            write!(f, ", {} before", Placed(&self.before))?;
        }
        if !self.placed.is_empty() {
            write!(f, ", {}", Placed(&self.placed))?;
        }
        match &self.outcome {
            Outcome::Left { why, .. } | Outcome::Held { why } | Outcome::Failed { why } => {
                write!(f, ": {}", shown(why))
            }
            Outcome::StillUneven => write!(f, ": the scheduler placed it so"),
            Outcome::Tried => write!(f, ": an update with the same nodes did not spread it"),
            _ => Ok(()),
        }
    }
}

/// `m1 3, w1 2`.
struct Placed<'a>(&'a BTreeMap<String, u64>);

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|(node, tasks)| format!("{} {tasks}", shown(node))).collect();
        f.write_str(&words.join(", "))
    }
}

impl fmt::Display for SpreadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let updated =
            self.services.iter().filter(|line| matches!(line.outcome, Outcome::Spread | Outcome::StillUneven));
        match self.dry_run {
            true => writeln!(f, "Services and their nodes")?,
            false => writeln!(f, "Services and their nodes: {} placed anew", count(updated.count() as u64, "service"))?,
        }
        for line in &self.services {
            writeln!(f, "  {line}")?;
        }
        for line in self.services.iter().filter(|line| line.rollback_lost) {
            writeln!(f, "  note: `docker service rollback {}` leads to the same service now", shown(&line.service))?;
        }
        ending::write(f, &self.attention, &[], self.dry_run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    fn line(text: &str, outcome: Outcome) -> ServiceLine {
        let placed = BTreeMap::from([(text.to_owned(), 1)]);
        let (service, id) = (text.to_owned(), text.to_owned());
        ServiceLine { service, id, before: placed.clone(), placed, outcome, rollback_lost: true }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let why = text.to_owned();
            let lines = vec![
                line(text, Outcome::Spread),
                line(text, Outcome::Left { why: why.clone(), needs_attention: true }),
                line(text, Outcome::Held { why: why.clone() }),
                line(text, Outcome::Failed { why }),
            ];
            SpreadReport::of(true, lines)
        });
    }

    #[test]
    fn a_failure_decides_and_what_is_not_at_rest_is_told() {
        let held = || Outcome::Held { why: "why".to_owned() };
        let left = |needs_attention| Outcome::Left { why: "why".to_owned(), needs_attention };
        for (outcomes, exit) in [
            (vec![Outcome::Spread, Outcome::Even, Outcome::Tried, left(false), held()], Exit::Done),
            (vec![Outcome::Spread, left(true)], Exit::Attention),
            (vec![left(true), Outcome::Failed { why: "paused".to_owned() }], Exit::Failed),
        ] {
            let lines = outcomes.into_iter().map(|outcome| line("web", outcome)).collect();
            assert_eq!(SpreadReport::of(false, lines).exit(), exit);
        }
    }
}

//! The report of `node tidy`.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::plan::{Plan, Verdict};
use crate::{
    nodes::{ending, roster::Listed},
    outcome::exit::Exit,
};

/// The stable JSON form of `node tidy --json`.
#[derive(Debug, Serialize)]
pub struct TidyReport {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Seconds for which a node must have been down.
    pub dead_for_s: u64,
    /// Nodes that are down, or were.
    pub nodes: Vec<NodeOutcome>,
    /// Services of which tasks still wait for an address.
    pub waiting: Vec<String>,
    pub attention: Vec<String>,
}

/// A node, and what became of it. Part of a stable JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeOutcome {
    pub id: String,
    pub hostname: String,
    pub role: String,
    /// Moment since which it is known to be down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_since: Option<Timestamp>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Removed,
    /// A run without --dry-run removes it.
    Due,
    NotYet,
    /// It accepts connections, though the leader calls it down.
    Answers,
    /// An operator paused or drained it.
    Operators {
        availability: String,
    },
    /// It came back while this ran.
    CameBack,
    /// It came back, and what an earlier run had set on it was taken back.
    GivenBack,
    /// Somebody else removed it.
    Gone,
    /// It could not be removed.
    Kept {
        why: String,
    },
}

impl Outcome {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Due { .. } => Self::Due,
            Verdict::NotYet { .. } => Self::NotYet,
            Verdict::Answers => Self::Answers,
            Verdict::Operators { availability } => Self::Operators { availability: availability.clone() },
            Verdict::Back => Self::CameBack,
        }
    }

    pub fn kept(error: &anyhow::Error) -> Self {
        Self::Kept { why: format!("{error:#}") }
    }
}

impl NodeOutcome {
    /// Returns what a run would do.
    pub fn foretold(plan: Plan) -> Vec<Self> {
        let told = |(listed, verdict): (Listed, Verdict)| Self::of(&listed, verdict.since(), Outcome::of(&verdict));
        plan.nodes.into_iter().map(told).collect()
    }

    pub fn of(listed: &Listed, down_since: Option<Timestamp>, outcome: Outcome) -> Self {
        Self {
            id: listed.id().to_owned(),
            hostname: listed.name().to_owned(),
            role: listed.node.role.clone(),
            down_since,
            outcome,
        }
    }

    fn attention(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Answers => Some(format!(
                "{} ({}) is down for the leader, and its host answers, or cannot be asked from here: see `journalctl -u docker` \
                 there; it was left alone",
                self.hostname, self.id
            )),
            Outcome::Kept { why } => Some(format!("{} ({}) was not removed: {why}", self.hostname, self.id)),
            _ => None,
        }
    }
}

impl TidyReport {
    pub fn of(dead_for: Duration, dry_run: bool, nodes: Vec<NodeOutcome>, waiting: Vec<String>) -> Self {
        let mut attention: Vec<String> = nodes.iter().filter_map(NodeOutcome::attention).collect();
        if !waiting.is_empty() {
            attention.push(format!(
                "tasks of {} still wait for an address: their networks are too small, or addresses are held by nobody \
                 (moby#37338); a restart of this engine, or another leader, counts them anew",
                waiting.join(", ")
            ));
        }
        let exit = Exit::with_attention(!attention.is_empty());
        Self { result: exit.word(), exit, dry_run, dead_for_s: dead_for.as_secs(), nodes, waiting, attention }
    }

    /// Exits 6 if a node could not be removed, answers though it is down, or tasks still wait for an address.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for NodeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.outcome {
            Outcome::Removed => "removed",
            Outcome::Due => "to remove",
            Outcome::NotYet => "not yet",
            Outcome::Answers => "answers",
            Outcome::Operators { .. } => "left",
            Outcome::CameBack | Outcome::GivenBack => "came back",
            Outcome::Gone => "gone",
            Outcome::Kept { .. } => "kept",
        };
        write!(f, "{what:10} {} ({}), {}", shown(&self.hostname), shown(&self.id), shown(&self.role))?;
        if let Some(since) = self.down_since {
            write!(f, ", down since {since:.0}")?;
        }
        match &self.outcome {
            Outcome::Operators { availability } => write!(f, ", its availability is `{}`", shown(availability)),
            Outcome::GivenBack => write!(f, ", and is active again"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for TidyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nodes.is_empty() {
            true => writeln!(f, "No node is down.")?,
            false => writeln!(f, "Nodes that are down, and for {} s", self.dead_for_s)?,
        }
        for node in &self.nodes {
            writeln!(f, "  {node}")?;
        }
        ending::write(f, &self.attention, &[], self.dry_run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let own = || text.to_owned();
            let node = |outcome| NodeOutcome { id: own(), hostname: own(), role: own(), down_since: None, outcome };
            let nodes = vec![
                node(Outcome::Removed),
                node(Outcome::Answers),
                node(Outcome::Operators { availability: own() }),
                node(Outcome::Kept { why: own() }),
            ];
            TidyReport::of(Duration::from_secs(1800), true, nodes, vec![own()])
        });
    }

    #[test]
    fn only_what_somebody_has_to_see_to_needs_attention() {
        let node = |outcome| NodeOutcome {
            id: "n".to_owned(),
            hostname: "h".to_owned(),
            role: "worker".to_owned(),
            down_since: None,
            outcome,
        };
        for (outcome, exit) in [
            (Outcome::Removed, Exit::Done),
            (Outcome::NotYet, Exit::Done),
            (Outcome::GivenBack, Exit::Done),
            (Outcome::Operators { availability: "drain".to_owned() }, Exit::Done),
            (Outcome::Answers, Exit::Attention),
            (Outcome::Kept { why: "no majority".to_owned() }, Exit::Attention),
        ] {
            let report = TidyReport::of(Duration::ZERO, false, vec![node(outcome.clone())], Vec::new());
            assert_eq!(report.exit(), exit, "{outcome:?}");
        }
        assert_eq!(TidyReport::of(Duration::ZERO, false, Vec::new(), vec!["web".to_owned()]).exit(), Exit::Attention);
    }
}

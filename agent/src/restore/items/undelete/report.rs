//! The plan or the outcome, for a person or a script.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{ClusterId, untrusted::shown};

use super::{
    obstacle::{self, Obstacle},
    plan::{Action, Plan, Planned},
};
use crate::outcome::exit::Exit;

/// The stable JSON form of `undelete --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub result: Outcome,
    /// The backup.
    pub source: String,
    pub created_at: Option<Timestamp>,
    /// The swarm that the backup is of.
    pub backup_cluster_id: ClusterId,
    /// The living swarm.
    pub cluster_id: ClusterId,
    /// In the order in which they are made: each after those that it refers to.
    pub objects: Vec<Planned>,
    /// What is in the way. If there is any, nothing was changed.
    pub obstacles: Vec<Obstacle>,
    /// What did not come back as it was, or is still to be done by hand. Exit 6.
    pub attention: Vec<String>,
    pub notes: Vec<String>,
    /// Files with what was replaced.
    pub saved: Vec<PathBuf>,
    /// Problems in the vaults that the operator should look at. Exit 6.
    pub findings: Vec<String>,
}

/// How far a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A rehearsal.
    Planned,
    /// Something is in the way.
    Refused,
    NothingToDo,
    Done,
}

impl Report {
    /// Puts a plan into a report.
    pub fn of(result: Outcome, plan: Plan, about: About) -> Self {
        let Plan { objects, obstacles, attention, notes } = plan;
        let About { source, created_at, backup_cluster_id, cluster_id, findings } = about;
        Self {
            result,
            source,
            created_at,
            backup_cluster_id,
            cluster_id,
            objects,
            obstacles,
            attention,
            notes,
            saved: Vec::new(),
            findings,
        }
    }

    pub fn exit(&self) -> Exit {
        match () {
            () if !self.obstacles.is_empty() => Exit::Refused,
            () if self.attention.is_empty() && self.findings.is_empty() => Exit::Done,
            () => Exit::Attention,
        }
    }

    /// Returns the error of a run that was refused.
    pub fn refusal(&self) -> Option<anyhow::Error> {
        (self.result == Outcome::Refused).then(|| obstacle::refusal(&self.obstacles)).flatten()
    }
}

/// The backup and the swarm that a report is about.
#[derive(Debug, Clone)]
pub struct About {
    pub source: String,
    pub created_at: Option<Timestamp>,
    pub backup_cluster_id: ClusterId,
    pub cluster_id: ClusterId,
    pub findings: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.result {
            Outcome::Planned => "Plan; nothing was changed.",
            Outcome::Refused => "Nothing was changed.",
            Outcome::NothingToDo => "Everything is there already; nothing was changed.",
            Outcome::Done => "Brought back.",
        };
        writeln!(f, "{what}")?;
        write!(f, "  backup    {}", shown(&self.source))?;
        match self.created_at {
            Some(at) => writeln!(f, " ({at:.0})")?,
            None => writeln!(f)?,
        }
        write!(f, "  swarm     {}", self.cluster_id)?;
        match self.cluster_id == self.backup_cluster_id {
            true => writeln!(f)?,
            false => writeln!(f, ", which is not the one of the backup ({})", self.backup_cluster_id)?,
        }
        self.objects.iter().try_for_each(|object| show_object(f, object, self.result))?;
        for obstacle in &self.obstacles {
            writeln!(f, "! {}", shown(&obstacle.what))?;
            obstacle.to_do.iter().try_for_each(|to_do| writeln!(f, "    to do: {}", shown(to_do)))?;
        }
        self.show_remarks(f)
    }
}

impl Report {
    fn show_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attention in self.attention.iter().chain(&self.findings) {
            writeln!(f, "! {}", shown(attention))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        for saved in &self.saved {
            writeln!(f, "  replaced  what was there before is kept in {}", shown(saved.display()))?;
        }
        Ok(())
    }
}

fn show_object(f: &mut fmt::Formatter<'_>, object: &Planned, result: Outcome) -> fmt::Result {
    let (mark, what) = match (object.action, result == Outcome::Done) {
        (Action::Keep, _) => ("=", "lives"),
        (Action::Create, true) => ("+", "created"),
        (Action::Create, false) => ("+", "to be created"),
        (Action::Replace, true) => ("~", "replaced"),
        (Action::Replace, false) => ("~", "to be replaced"),
        (Action::Refuse, _) => ("!", "in the way"),
    };
    write!(f, "{mark} {} {}: {what}", object.kind, shown(&object.name))?;
    if object.name != object.backup_name {
        write!(f, ", `{}` in the backup", shown(&object.backup_name))?;
    }
    writeln!(f, "{}", if object.dependency { ", used by what comes back" } else { "" })?;
    for difference in &object.differences {
        let (backup, living) = (value(&difference.backup), value(&difference.living));
        writeln!(f, "    {}: {backup} in the backup, {living} where it lives", shown(&difference.path))?;
    }
    Ok(())
}

fn value(text: &str) -> String {
    if text.is_empty() { "(none)".to_owned() } else { shown(text).to_string() }
}

#[cfg(test)]
mod tests {
    use swarm_state::inventory::ObjectKind;

    use super::{super::sameness::Difference, *};
    use crate::outcome::terminal::tests::assert_tame;

    fn report(text: &str) -> Report {
        let own = || text.to_owned();
        let object = |action| Planned {
            kind: ObjectKind::Service,
            name: own(),
            backup_name: format!("{text}-before"),
            backup_id: own(),
            id: Some(own()),
            action,
            dependency: true,
            differences: vec![Difference { path: own(), backup: own(), living: own() }],
            living_spec: serde_json::Value::Null,
            spec: serde_json::Value::Null,
            has_registry_auth: false,
        };
        let plan = Plan {
            objects: [Action::Keep, Action::Create, Action::Replace, Action::Refuse].map(object).into(),
            obstacles: vec![Obstacle::new(text).advice(text)],
            attention: vec![own()],
            notes: vec![own()],
        };
        let about = About {
            source: own(),
            created_at: None,
            backup_cluster_id: "c0".parse().expect("is an id"),
            cluster_id: "c1".parse().expect("is an id"),
            findings: vec![own()],
        };
        Report { saved: vec![own().into()], ..Report::of(Outcome::Planned, plan, about) }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(report);
    }

    #[test]
    fn obstacles_and_attention_decide_the_exit() {
        let mut report = report("m1");
        assert_eq!((report.exit(), report.refusal().is_none()), (Exit::Refused, true));
        report.result = Outcome::Refused;
        assert!(report.refusal().is_some());
        report.obstacles.clear();
        assert_eq!(report.exit(), Exit::Attention);
        (report.attention, report.findings) = (Vec::new(), Vec::new());
        assert_eq!(report.exit(), Exit::Done);
    }
}

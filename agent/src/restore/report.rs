//! What a restore did, for a person or a script.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::Serialize;
use swarmdr_archive::manifest::Counts;

use super::{plan::RestorePlan, readdress::bound::Bound};
use crate::{
    exit::Exit,
    report::{Phase, human_counts, human_ms},
    swarm::inventory::Difference,
    terminal::shown,
};

/// The stable JSON form of `restore --json`.
#[derive(Debug, Serialize)]
pub struct RestoreReport {
    pub result: &'static str,
    /// The restore was begun by an earlier run that was cut short.
    pub finished_earlier_run: bool,
    #[serde(flatten)]
    pub plan: RestorePlan,
    /// The swarm asks for its unlock key at the next start of the engine, as it did before.
    pub autolocked: bool,
    pub counts: Counts,
    /// Objects that the restored swarm has beyond the backup's list, or that changed since.
    pub differences: Vec<Difference>,
    /// Where the state that was there before was moved.
    pub aside: Option<PathBuf>,
    /// Nodes that do not answer, with what removes them.
    pub dead_nodes: Vec<DeadNode>,
    /// What did not come back as it was, or is still to be done by hand. Exit 6.
    pub attention: Vec<String>,
    pub findings: Vec<String>,
    pub phases: Vec<Phase>,
    /// Bytes.
    pub peak_memory: u64,
    /// `--readdress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readdressed: Option<Readdressed>,
}

/// What is different from a restore at the old address.
#[derive(Debug, Clone, Serialize)]
pub struct Readdressed {
    pub node_id: String,
    pub addr: SocketAddr,
    #[serde(flatten)]
    pub bound: Bound,
}

/// A node of the backup that will not come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadNode {
    pub id: String,
    pub hostname: String,
    /// `manager` or `worker`.
    pub role: String,
    /// Raft address, of a manager.
    pub addr: Option<String>,
    pub remove_with: String,
    /// `--prune-dead` did it.
    pub removed: bool,
}

impl RestoreReport {
    pub fn exit(&self) -> Exit {
        if self.attention.is_empty() && self.findings.is_empty() { Exit::Done } else { Exit::Attention }
    }
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        writeln!(f, "Swarm {} is back from backup {} ({}).", shown(&plan.cluster_id), plan.id, plan.created_at)?;
        if self.finished_earlier_run {
            writeln!(f, "  begun     by an earlier run that was cut short")?;
        }
        match &self.readdressed {
            None => writeln!(
                f,
                "  manager   {} at {}, engine {}",
                shown(&plan.node_id),
                plan.raft_addr,
                shown(&plan.host_engine)
            )?,
            Some(new) => {
                writeln!(
                    f,
                    "  manager   {} at {}, engine {}",
                    shown(&new.node_id),
                    new.addr,
                    shown(&plan.host_engine)
                )?;
                writeln!(f, "  removed   {}, which was at {}", shown(&plan.node_id), plan.raft_addr)?;
            }
        }
        match self.finished_earlier_run {
            false => writeln!(f, "  confirmed {}: as in the backup", human_counts(&self.counts))?,
            true => writeln!(
                f,
                "  works     and may have been used since; the backup holds {}",
                human_counts(&self.counts)
            )?,
        }
        for difference in &self.differences {
            writeln!(f, "  differs   {}", shown(difference))?;
        }
        if let Some(aside) = &self.aside {
            writeln!(f, "  aside     the state that was there before is kept in {}", shown(aside.display()))?;
        }
        let spent: Vec<String> =
            self.phases.iter().map(|phase| format!("{} {}", phase.name, human_ms(phase.ms))).collect();
        writeln!(f, "  spent     {}", spent.join(", "))?;
        for attention in &self.attention {
            writeln!(f, "  attention {}", shown(attention))?;
        }
        for node in self.dead_nodes.iter().filter(|node| node.removed) {
            writeln!(f, "  removed   {} ({}), a manager that is gone", shown(&node.id), shown(&node.hostname))?;
        }
        for note in plan.notes.iter().chain(&self.findings) {
            writeln!(f, "  note: {}", shown(note))?;
        }
        for left in self.readdressed.iter().flat_map(|new| &new.bound.left_behind) {
            writeln!(f, "  left      {}", shown(left))?;
        }
        writeln!(f, "Next:")?;
        for node in self.dead_nodes.iter().filter(|node| !node.removed) {
            writeln!(
                f,
                "  {:40} # if the {} {} is gone for good",
                shown(&node.remove_with),
                shown(&node.role),
                shown(&node.hostname)
            )?;
        }
        if self.autolocked {
            let why = "# autolocked as before, by the same key; this makes a new one";
            writeln!(f, "  {:40} {why}", "docker swarm unlock-key --rotate")?;
        }
        match &self.readdressed {
            None => writeln!(f, "  {:40} # workers that had this address come back by themselves", "docker node ls")?,
            Some(_) => {
                let why = "# workers know the old address only: `docker swarm leave` there, and join them anew";
                writeln!(f, "  {:40} {why}", "docker swarm join-token worker")?;
            }
        }
        writeln!(f, "  {:40} # add managers until there are three", "docker swarm join-token manager")?;
        writeln!(f, "  {:40} # the restored state is a new history", "swarmdr-agent backup")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        restore::plan::tests::a_plan,
        swarm::inventory::{Change, ObjectKind},
        terminal::tests::{assert_tame, forged},
    };

    fn report(text: &str) -> RestoreReport {
        let own = || text.to_owned();
        let node = |removed| DeadNode {
            id: own(),
            hostname: own(),
            role: own(),
            addr: Some(own()),
            remove_with: format!("docker node rm {text}"),
            removed,
        };
        let change = Change::Changed { field: own(), recorded: own(), actual: own() };
        RestoreReport {
            result: "done",
            finished_earlier_run: false,
            plan: forged(&a_plan(std::path::Path::new("/d")), text),
            autolocked: true,
            counts: Counts::default(),
            differences: vec![Difference { kind: ObjectKind::Node, id: own(), name: own(), change }],
            aside: Some(own().into()),
            dead_nodes: vec![node(true), node(false)],
            attention: vec![own()],
            findings: vec![own()],
            phases: Vec::new(),
            peak_memory: 0,
            readdressed: None,
        }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(report);
        assert_tame(|text| {
            let mut report = report(text);
            let bound = Bound { unplaceable: vec![text.to_owned()], left_behind: vec![text.to_owned()] };
            report.readdressed = Some(Readdressed { node_id: text.to_owned(), addr: report.plan.raft_addr, bound });
            report
        });
    }
}

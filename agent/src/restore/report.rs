//! What a restore did, for a person or a script.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use swarmdr_archive::manifest::Counts;

use super::plan::RestorePlan;
use crate::{
    report::{Phase, human_counts, human_ms},
    swarm::inventory::Difference,
};

/// The stable JSON form of `restore --json`.
#[derive(Debug, Serialize)]
pub struct RestoreReport {
    pub result: &'static str,
    #[serde(flatten)]
    pub plan: RestorePlan,
    pub counts: Counts,
    /// Objects that the restored swarm has beyond the backup's list, or that changed since.
    pub differences: Vec<Difference>,
    /// Where the state that was there before was moved.
    pub aside: Option<PathBuf>,
    /// Nodes that do not answer, with what removes them.
    pub dead_nodes: Vec<DeadNode>,
    pub findings: Vec<String>,
    pub phases: Vec<Phase>,
    /// Bytes.
    pub peak_memory: u64,
}

/// A node of the backup that will not come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadNode {
    pub id: String,
    pub hostname: String,
    pub remove_with: String,
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        writeln!(f, "Swarm {} is back from backup {} ({}).", plan.cluster_id, plan.id, plan.created_at)?;
        writeln!(f, "  manager   {} at {}, engine {}", plan.node_id, plan.raft_addr, plan.host_engine)?;
        writeln!(f, "  confirmed {}: as in the backup", human_counts(&self.counts))?;
        for difference in &self.differences {
            writeln!(f, "  differs   {difference}")?;
        }
        if let Some(aside) = &self.aside {
            writeln!(f, "  aside     the state that was there before is kept in {}", aside.display())?;
        }
        let spent: Vec<String> =
            self.phases.iter().map(|phase| format!("{} {}", phase.name, human_ms(phase.ms))).collect();
        writeln!(f, "  spent     {}", spent.join(", "))?;
        for note in plan.notes.iter().chain(&self.findings) {
            writeln!(f, "  note: {note}")?;
        }
        writeln!(f, "Next:")?;
        for node in &self.dead_nodes {
            writeln!(f, "  {:40} # if {} is gone for good", node.remove_with, node.hostname)?;
        }
        writeln!(f, "  {:40} # workers that had this address come back by themselves", "docker node ls")?;
        writeln!(f, "  {:40} # add managers until there are three", "docker swarm join-token manager")?;
        writeln!(f, "  {:40} # the restored state is a new history", "swarmdr-agent backup")
    }
}

//! The outcome of a restore, for a person or a script.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::Serialize;
use swarm_state::inventory::Difference;
use swarmdr_archive::{NodeId, manifest::Counts, untrusted::shown};

use super::{
    claim::claimed::ClaimReport,
    images::{followed::Followed, line::Line},
    plan::RestorePlan,
    readdress::bound::Bound,
    strictness::Strictness,
};
use crate::outcome::{count::human_counts, elapsed::human_ms, exit::Exit, phases::Phase};

/// The stable JSON form of `restore --json`.
#[derive(Debug, Serialize)]
pub struct RestoreReport {
    pub result: &'static str,
    /// True if an earlier run, which was interrupted, began the restore.
    pub finished_earlier_run: bool,
    #[serde(flatten)]
    pub plan: RestorePlan,
    /// True if the swarm asks for its unlock key at the next start of the engine, as it did before.
    pub autolocked: bool,
    pub counts: Counts,
    /// Objects that the restored swarm has in addition to the backup's, or that changed since.
    pub differences: Vec<Difference>,
    /// Directory that the old state was moved to.
    pub aside: Option<PathBuf>,
    /// Nodes that do not answer, with the commands that remove them.
    pub dead_nodes: Vec<DeadNode>,
    /// Warnings: what did not come back as it was, or is still to be done by hand. Exit 6.
    pub attention: Vec<String>,
    pub findings: Vec<String>,
    pub phases: Vec<Phase>,
    /// Peak memory of this process, in bytes.
    pub peak_memory: u64,
    /// Set by `--readdress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readdressed: Option<Readdressed>,
    /// Services that followed their images to other places, or got another login; absent if nothing was to be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Followed>,
    /// Each image, and whether nodes can pull it now; absent unless images are checked or followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pullable: Option<Vec<Line>>,
    /// The claim of this host on the swarm; absent if none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimReport>,
}

/// A swarm that was proven to be back: the essential part of a restore is done.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub strictness: Strictness,
    pub differences: Vec<Difference>,
    pub attention: Vec<String>,
    /// Set after a restore at another address.
    pub readdressed: Option<Readdressed>,
}

/// The part of a report that only a restore at another address has.
#[derive(Debug, Clone, Serialize)]
pub struct Readdressed {
    pub node_id: NodeId,
    pub addr: SocketAddr,
    #[serde(flatten)]
    pub bound: Bound,
}

/// A node of the backup that will not come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadNode {
    pub id: String,
    pub hostname: String,
    /// Role: `manager` or `worker`.
    pub role: String,
    /// Raft address of a manager.
    pub addr: Option<String>,
    pub remove_with: String,
    /// True if `--prune-dead` removed it.
    pub removed: bool,
}

impl RestoreReport {
    pub fn exit(&self) -> Exit {
        Exit::with_attention(!(self.attention.is_empty() && self.findings.is_empty()))
    }
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        writeln!(f, "Swarm {} is back from backup {} ({}).", shown(&plan.cluster_id), plan.id, plan.created_at)?;
        if self.finished_earlier_run {
            writeln!(f, "  begun     by an earlier run that was cut short")?;
        }
        self.show_manager(f)?;
        self.show_comparison(f)?;
        self.show_remarks(f)?;
        writeln!(f, "Next:")?;
        self.show_next(f)
    }
}

impl RestoreReport {
    fn show_manager(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        let (node, addr) = match &self.readdressed {
            None => (&plan.node_id, plan.raft_addr),
            Some(new) => (&new.node_id, new.addr),
        };
        writeln!(f, "  manager   {} at {addr}, engine {}", shown(node), shown(&plan.host_engine))?;
        if self.readdressed.is_some() {
            writeln!(f, "  removed   {}, which was at {}", shown(&plan.node_id), plan.raft_addr)?;
        }
        Ok(())
    }

    fn show_comparison(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = human_counts(&self.counts);
        match self.finished_earlier_run {
            false => writeln!(f, "  confirmed {counts}: as in the backup")?,
            true => writeln!(f, "  works     and may have been used since; the backup holds {counts}")?,
        }
        for difference in &self.differences {
            writeln!(f, "  differs   {}", shown(difference))?;
        }
        Ok(())
    }

    /// Shows what was done besides, and everything that needs attention.
    fn show_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(aside) = &self.aside {
            writeln!(f, "  aside     the state that was there before is kept in {}", shown(aside.display()))?;
        }
        let spent: Vec<String> =
            self.phases.iter().map(|phase| format!("{} {}", phase.name, human_ms(phase.ms))).collect();
        writeln!(f, "  spent     {}", spent.join(", "))?;
        if let Some(images) = &self.images {
            write!(f, "{images}")?;
        }
        self.show_claim(f)?;
        if let Some(lines) = &self.pullable {
            let there = lines.iter().filter(|line| line.is_there()).count();
            writeln!(f, "  images    {there} of {} can be pulled", lines.len())?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        for node in self.dead_nodes.iter().filter(|node| node.removed) {
            writeln!(f, "  removed   {} ({}), a manager that is gone", shown(&node.id), shown(&node.hostname))?;
        }
        for note in self.plan.notes.iter().chain(&self.findings) {
            writeln!(f, "  note: {}", shown(note))?;
        }
        for left in self.readdressed.iter().flat_map(|new| &new.bound.left_behind) {
            writeln!(f, "  left      {}", shown(left))?;
        }
        Ok(())
    }

    fn show_claim(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(claim) = &self.claim else { return Ok(()) };
        write!(f, "  claimed   with epoch {}", claim.epoch)?;
        match &claim.superseded {
            Some(before) => writeln!(f, ", after {}, which claimed it at {}", shown(&before.site), before.at),
            None => writeln!(f),
        }
    }

    /// Shows the commands that come next, with the reason for each.
    fn show_next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in self.dead_nodes.iter().filter(|node| !node.removed) {
            let (role, hostname) = (shown(&node.role), shown(&node.hostname));
            writeln!(f, "  {:40} # if the {role} {hostname} is gone for good", shown(&node.remove_with))?;
        }
        if self.autolocked {
            let why = "# autolocked as before, by the same key; this makes a new one";
            writeln!(f, "  {:40} {why}", "docker swarm unlock-key --rotate")?;
        }
        match &self.readdressed {
            None => writeln!(f, "  {:40} # workers that know this address reconnect by themselves", "docker node ls")?,
            Some(_) => {
                let why = "# workers know the old address only: `docker swarm leave` there, and join them again";
                writeln!(f, "  {:40} {why}", "docker swarm join-token worker")?;
            }
        }
        writeln!(f, "  {:40} # add managers until there are three", "docker swarm join-token manager")?;
        writeln!(f, "  {:40} # the restored swarm has new data: back it up", "swarmdr-agent backup")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::terminal::tests::{assert_tame, forged},
        restore::plan::tests::a_plan,
    };
    use swarm_state::inventory::{Change, ObjectKind};

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
            images: None,
            pullable: None,
            claim: None,
        }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(report);
        assert_tame(|text| {
            let mut report = report(text);
            let bound = Bound { unplaceable: vec![text.to_owned()], left_behind: vec![text.to_owned()] };
            let node_id = report.plan.node_id.clone();
            report.readdressed = Some(Readdressed { node_id, addr: report.plan.raft_addr, bound });
            report
        });
    }
}

//! The plan of a recovery, for `--dry-run`.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::Serialize;
use swarmdr_archive::{
    ClusterId, NodeId,
    untrusted::{joined, shown},
};

use crate::downtime::running_before::RunningBefore;

/// The plan as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoveryPlan {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    pub raft_addr: SocketAddr,
    pub engine: String,
    /// Managers that the new cluster starts without.
    pub without: Vec<String>,
    pub units: Vec<String>,
    /// Units and containers that stop with the engine, and run again after it.
    pub found: RunningBefore,
    pub state_dir: PathBuf,
    /// Where the backup is sealed before anything changes.
    pub spool_file: PathBuf,
}

impl fmt::Display for RecoveryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Recovery of swarm {} on its manager {}", shown(&self.cluster_id), shown(&self.node_id))?;
        writeln!(f, "  at         {}, engine {}", self.raft_addr, shown(&self.engine))?;
        writeln!(f, "  without    {}", joined(&self.without, ", "))?;
        writeln!(f, "  1. stop    {}", joined(&self.units, ", "))?;
        writeln!(f, "  2. backup  sealed in {}, stored when the swarm is back", shown(self.spool_file.display()))?;
        writeln!(f, "  3. aside   {}", shown(self.state_dir.display()))?;
        writeln!(f, "  4. place   a copy of it, and start the engine")?;
        writeln!(f, "  5. init    force a new cluster of this manager alone")?;
        writeln!(f, "  6. confirm cluster, node and every object")?;
        self.found.lines().iter().try_for_each(|line| writeln!(f, "  note: {}", shown(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        crate::outcome::terminal::tests::assert_tame(|text| RecoveryPlan {
            cluster_id: "c".parse().expect("is an id"),
            node_id: "n".parse().expect("is an id"),
            raft_addr: "10.0.0.4:2377".parse().expect("is an address"),
            engine: text.into(),
            without: vec![text.into()],
            units: vec![text.into()],
            found: RunningBefore::default(),
            state_dir: text.into(),
            spool_file: text.into(),
        });
    }
}

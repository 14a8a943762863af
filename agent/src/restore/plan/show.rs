//! A restore plan for a person.

use std::{fmt, path::PathBuf};

use swarmdr_archive::untrusted::{joined, shown};

use super::{RestorePlan, Target};

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Restore of backup {} from {}", self.id, shown(&self.source))?;
        writeln!(
            f,
            "  made       {} on {} with engine {}",
            self.created_at,
            shown(&self.from_host),
            shown(&self.backup_engine)
        )?;
        match &self.readdress {
            None => self.show_steps(f)?,
            Some(target) => self.show_steps_elsewhere(target, f)?,
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        Ok(())
    }
}

impl RestorePlan {
    fn aside(&self) -> PathBuf {
        self.state_dir.with_file_name(format!("swarm.before-{}", self.id))
    }

    fn show_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = self.interface.as_deref().unwrap_or("translated to this host");
        writeln!(f, "  swarm      {} at {} ({})", shown(&self.cluster_id), self.raft_addr, shown(here))?;
        writeln!(f, "  engine     {}", shown(&self.host_engine))?;
        writeln!(f, "  1. stop    {}", joined(&self.units, ", "))?;
        writeln!(f, "  2. aside   {} to {}", shown(self.state_dir.display()), shown(self.aside().display()))?;
        writeln!(f, "  3. place   {} to {}", shown(self.staging.display()), shown(self.state_dir.display()))?;
        writeln!(f, "  4. start   {}", joined(&self.units, ", "))?;
        if self.formed {
            return writeln!(f, "  5. confirm cluster, node and every object; the swarm was formed beforehand");
        }
        writeln!(
            f,
            "  5. init    force a new cluster that listens on {} and advertises {}",
            shown(&self.init.listen_addr),
            shown(&self.init.advertise_addr)
        )?;
        writeln!(f, "  6. confirm cluster, node and every object against the backup")
    }

    fn show_steps_elsewhere(&self, target: &Target, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = (self.raft_addr, target.addr);
        writeln!(f, "  swarm      {} from {old} to {new} ({})", shown(&self.cluster_id), shown(&target.interface))?;
        writeln!(f, "  engine     {}", shown(&self.host_engine))?;
        writeln!(f, "  1. second  a second engine with {old} in a network of its own forms the old swarm; compare it")?;
        writeln!(
            f,
            "  2. aside   stop {}, {} to {}",
            joined(&self.units, ", "),
            shown(self.state_dir.display()),
            shown(self.aside().display())
        )?;
        writeln!(f, "  3. join    start the engine, and join that swarm as a manager at {new}")?;
        writeln!(f, "  4. compare what the new manager wrote to its disk with the backup")?;
        writeln!(f, "  5. demote  the old node {}, end the second engine, remove the node", shown(&self.node_id))?;
        writeln!(f, "  6. confirm cluster, certificate authority, tokens and every object against the backup")
    }
}

//! The outcome of `node join`.

use std::{fmt, net::SocketAddr};

use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::{
    leaving::Leaving,
    look::Look,
    pacing::Pacing,
    refusal::{Heard, Refusal},
};
use crate::{
    nodes::standing::{self, Standing, Swarm},
    outcome::{count::count, elapsed::human_ms, exit::Exit},
};

/// What a run has done.
#[derive(Debug, Default)]
pub struct Deeds {
    /// Whether this host was in the swarm when the run began.
    pub was_member: Option<bool>,
    pub attempts: u32,
    /// Id of the swarm that it left.
    pub left: Option<String>,
    /// Why the managers refused the node that it was, so that it joined anew.
    pub refused: Option<Refusal>,
    /// Managers of the wanted swarm as it was at other addresses, which it left.
    pub moved_from: Vec<SocketAddr>,
}

impl Deeds {
    /// Notes that this host left the swarm that was seen, with these managers.
    pub fn leave(&mut self, leaving: Leaving, look: &Look, known: Vec<SocketAddr>) {
        match leaving {
            Leaving::Other => {
                let cluster = look.on_disk.node.as_ref().map(|node| node.cluster.clone());
                self.left = Some(cluster.unwrap_or_else(|| "unknown".to_owned()));
            }
            Leaving::Old => self.moved_from = known,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Joined,
    Already,
    WouldJoin,
    WouldLeave,
}

impl Outcome {
    pub fn of(deeds: &Deeds) -> Self {
        let stayed = deeds.refused.is_none() && deeds.moved_from.is_empty();
        if deeds.was_member == Some(true) && stayed { Self::Already } else { Self::Joined }
    }
}

/// The stable JSON form of `node join --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    pub outcome: Outcome,
    pub cluster_id: Option<String>,
    pub node_id: Option<String>,
    /// `worker` or `manager`; absent before a join.
    pub role: Option<&'static str>,
    /// Managers that this host knows; before a join, those that it would try.
    pub managers: Vec<String>,
    /// Id of the swarm that this host left, since its managers were gone.
    pub left: Option<String>,
    /// Whether the managers had removed this host's node before.
    pub was_removed: bool,
    /// Whether the managers did not know this host's node before.
    pub was_unknown: bool,
    /// Managers that this host left, since they were gone and the swarm is at other addresses.
    pub moved_from: Vec<String>,
    /// Number of calls to the engine to join.
    pub attempts: u32,
    pub took_ms: u64,
    /// What has to be looked after. Exit 6.
    pub attention: Vec<String>,
}

impl Report {
    /// Reports on a host that is in the swarm.
    pub fn of(outcome: Outcome, look: &Look, deeds: Deeds, pacing: &Pacing) -> Self {
        let node = look.on_disk.node.as_ref();
        let is_manager = look.facts.swarm.is_manager || node.is_some_and(|node| node.is_manager);
        let mut attention = Vec::new();
        if outcome == Outcome::Joined && is_manager {
            attention.push(became_manager(node.map_or("NODE", |node| node.id.as_str())));
        }
        if let Standing::Member { swarm: Swarm::WantedByAddress, .. } = look.standing {
            attention.push(
                "the token names another root CA than that of this swarm: publish the present one (`swarmdr-agent node \
                 publish-token` on the leader), else no new node can join"
                    .to_owned(),
            );
        }
        let exit = Exit::with_attention(!attention.is_empty());
        let managers = standing::managers_of(&look.facts.swarm, &look.on_disk);
        Self {
            result: exit.word(),
            exit,
            outcome,
            cluster_id: node.map(|node| node.cluster.clone()),
            node_id: look.facts.swarm.node_id.as_ref().map(ToString::to_string),
            role: Some(if is_manager { "manager" } else { "worker" }),
            managers: managers.iter().map(ToString::to_string).collect(),
            left: deeds.left,
            was_removed: deeds.refused == Some(Refusal::Removed),
            was_unknown: deeds.refused == Some(Refusal::Unknown),
            moved_from: deeds.moved_from.iter().map(ToString::to_string).collect(),
            attempts: deeds.attempts,
            took_ms: millis(pacing),
            attention,
        }
    }

    /// Reports on what would be done.
    pub fn planned(outcome: Outcome, look: &Look, pacing: &Pacing) -> Self {
        Self {
            result: Exit::Done.word(),
            exit: Exit::Done,
            outcome,
            cluster_id: None,
            node_id: None,
            role: None,
            managers: look.found.addresses.iter().map(ToString::to_string).collect(),
            left: None,
            was_removed: look.heard == Heard::Refused(Refusal::Removed),
            was_unknown: look.heard == Heard::Refused(Refusal::Unknown),
            moved_from: Vec::new(),
            attempts: 0,
            took_ms: millis(pacing),
            attention: Vec::new(),
        }
    }

    /// Exits 6 if something has to be looked after.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

fn millis(pacing: &Pacing) -> u64 {
    pacing.took().as_millis().try_into().unwrap_or(u64::MAX)
}

fn became_manager(node: &str) -> String {
    format!(
        "this host became a manager, so the token is one of managers: unless somebody promoted it just now, `docker node \
         demote {node}` on another manager, put the worker token where that one lies, and `swarmdr-agent node \
         rotate-tokens`"
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(left) = &self.left {
            writeln!(f, "This host left swarm {}, whose managers are gone.", shown(left))?;
        }
        if self.was_removed {
            writeln!(f, "The managers have removed the node that this host was before.")?;
        }
        if self.was_unknown {
            writeln!(f, "The managers do not know the node that this host was before.")?;
        }
        if !self.moved_from.is_empty() {
            writeln!(f, "This host left the managers at {}, which are gone.", shown(self.moved_from.join(", ")))?;
        }
        let swarm =
            self.cluster_id.as_ref().map_or_else(|| "the swarm".to_owned(), |id| format!("swarm {}", shown(id)));
        let role = self.role.unwrap_or("node");
        match self.outcome {
            Outcome::Joined => {
                let took = human_ms(self.took_ms);
                writeln!(
                    f,
                    "This host joined {swarm} as a {role} after {took} ({}).",
                    count(self.attempts.into(), "attempt")
                )?;
            }
            Outcome::Already => writeln!(f, "This host is in {swarm} already, as a {role}; nothing was changed.")?,
            Outcome::WouldJoin => writeln!(f, "This host would join the swarm. Nothing was changed.")?,
            Outcome::WouldLeave => {
                writeln!(f, "This host would leave its swarm, if its managers stay silent, and join the wanted one.")?;
                writeln!(f, "Nothing was changed.")?;
            }
        }
        if let Some(node) = &self.node_id {
            writeln!(f, "  node      {}", shown(node))?;
        }
        if !self.managers.is_empty() {
            writeln!(f, "  managers  {}", shown(self.managers.join(", ")))?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        Ok(())
    }
}

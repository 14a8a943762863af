//! Everything that ran because the engine ran, before a stop: units and containers. Also the access to its socket.
//!
//! systemd passes a stop of the engine on to the units that require it, but not a start. The engine ends every
//! container when it stops, and starts those again whose restart policy says so. So a run that stops an engine must
//! bring back the rest.

use std::{collections::BTreeSet, fmt, fs, os::unix::fs::MetadataExt, path::Path};

use serde::{Deserialize, Serialize};

use crate::host::engine::containers::{Container, UNKNOWN_POLICY};

/// The units and containers that were seen to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningBefore {
    /// The engine's own units that were active, sockets first.
    pub engine: Vec<String>,
    /// Active units that a stop of the engine stops too, nearest to it first.
    pub dependents: Vec<String>,
    /// Containers that run and are not tasks of a swarm.
    pub containers: Vec<Container>,
    /// Units that a stop of the engine does not stop. systemd may start them meanwhile, and the engine with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starters: Vec<String>,
    /// Units that are off, and that a start of the engine or its dependents starts too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub off: Vec<String>,
    /// Owner and mode of the engine's socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<SocketAccess>,
    /// Whole sentences about everything that could not be examined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// Owner and mode of the engine's socket, which each start of its unit creates again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketAccess {
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

impl SocketAccess {
    pub fn of(socket: &Path) -> Option<Self> {
        let seen = fs::metadata(socket).ok()?;
        Some(Self { mode: seen.mode() & 0o7777, user: seen.uid(), group: seen.gid() })
    }
}

impl fmt::Display for SocketAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode {:o}, user {}, group {}", self.mode, self.user, self.group)
    }
}

impl RunningBefore {
    /// True if only the engine itself ran.
    pub fn is_empty(&self) -> bool {
        self.dependents.is_empty() && self.containers.is_empty()
    }

    /// Keeps only what is still to be brought back. If the engine runs, its units are not: those that systemd names now
    /// count, not those from the time when it was stopped.
    pub fn owed(mut self, engine_is_on: bool) -> Self {
        if engine_is_on {
            self.engine.clear();
        }
        self
    }

    /// Adds the units and containers that an earlier run found and did not bring back.
    pub fn join(&mut self, earlier: &RunningBefore) {
        join(&mut self.engine, &earlier.engine, |unit| unit.clone());
        // systemd refuses to start a socket while its service runs.
        self.engine.sort_by_key(|unit| !unit.ends_with(".socket"));
        join(&mut self.dependents, &earlier.dependents, |unit| unit.clone());
        join(&mut self.containers, &earlier.containers, |container| container.id.clone());
        join(&mut self.unseen, &earlier.unseen, |sentence| sentence.clone());
    }

    /// True if this one contains everything in `other`.
    pub(super) fn covers(&self, other: &RunningBefore) -> bool {
        let mut all = self.clone();
        all.join(other);
        let counts = |it: &RunningBefore| [it.engine.len(), it.dependents.len(), it.containers.len(), it.unseen.len()];
        counts(&all) == counts(self)
    }

    /// Returns the lines of a plan, one for each unit and container.
    pub fn lines(&self) -> Vec<String> {
        let units = self
            .dependents
            .iter()
            .map(|unit| format!("{unit} hangs on the engine: stopped with it, and started again"));
        let containers = self.containers.iter().map(|container| {
            let name = &container.name;
            match (container.removed_at_end, container.restart.as_str()) {
                (true, _) => format!("the container {name} was run with --rm: it ends with the engine, and is gone"),
                (_, "no") => {
                    format!("the container {name} has no restart policy: it ends with the engine, and is started again")
                }
                (_, UNKNOWN_POLICY) => {
                    format!("the container {name} ends with the engine, and is started again if need be")
                }
                (_, policy) => format!("the container {name} ends with the engine, which starts it again ({policy})"),
            }
        });
        let starters = self.starters.iter().map(|unit| {
            format!("{unit} may start the engine while it is to be down: it depends on it (Wants=), and systemd starts it automatically")
        });
        let off =
            self.off.iter().map(|unit| format!("{unit} is off, and is started with the engine, or what hangs on it"));
        units.chain(containers).chain(starters).chain(off).chain(self.unseen.iter().cloned()).collect()
    }
}

fn join<T: Clone>(to: &mut Vec<T>, from: &[T], id: impl Fn(&T) -> String) {
    let known: BTreeSet<String> = to.iter().map(&id).collect();
    to.extend(from.iter().filter(|it| !known.contains(&id(it))).cloned());
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::host::engine::containers::tests::named;

    pub fn found() -> RunningBefore {
        RunningBefore {
            engine: vec!["docker.socket".to_owned(), "docker.service".to_owned()],
            dependents: vec!["app.service".to_owned()],
            containers: vec![named("plain"), Container { removed_at_end: true, ..named("shell") }],
            ..RunningBefore::default()
        }
    }

    #[test]
    fn what_an_earlier_run_owes_is_added_once() {
        let mut now = RunningBefore { dependents: vec!["app.service".to_owned()], ..RunningBefore::default() };
        now.engine.push("docker.service".to_owned());
        now.join(&found());
        now.join(&found());
        assert_eq!(now, found(), "and sockets come first");
    }

    #[test]
    fn an_engine_that_runs_is_not_owed() {
        assert_eq!(found().owed(false), found());
        let owed = found().owed(true);
        assert!(owed.engine.is_empty() && !owed.is_empty(), "a socket that was stopped since stays off");
    }

    #[test]
    fn a_plan_says_what_becomes_of_each() {
        let lines = RunningBefore { starters: vec!["agent.service".to_owned()], ..found() }.lines();
        assert_eq!(lines.len(), 4);
        for (line, part) in lines.iter().zip([
            "app.service hangs on",
            "plain has no restart",
            "shell was run with --rm",
            "agent.service may start the engine",
        ]) {
            assert!(line.contains(part), "{line}");
        }
    }
}

//! Workers that their managers do not take.
//!
//! Managers refuse a node that was removed (`docker node rm`, `node tidy`), and one that they do not know: a swarm that was
//! restored knows no node that joined after its backup. An engine asks again for ever, and its API tells nothing: it stays
//! `pending` after a start, and `active` if it was in the swarm before, with an empty error (engine 26.1.5). Only its log
//! has the managers' answer, every eight seconds at the latest (swarmkit `agent/agent.go`, `maxSessionFailureBackoff`). What
//! the node had in the swarm is gone already, so it joins anew.

use std::{fmt, process::Stdio, time::Duration};

use tokio::process::Command;

use super::{Join, look::Look};
use crate::host::engine::SwarmState;

/// Time to read a part of the journal.
const LIMIT: Duration = Duration::from_secs(20);

/// How far back the journal is read. An older answer may be that of a manager that was restored since, to a state that
/// has the node.
const RECENT: &str = "--since=-20s";

/// Why the managers refuse a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    Removed,
    /// The managers do not know it.
    Unknown,
}

impl Join<'_> {
    /// Returns why the managers refuse this node, a worker, if they did so in the last seconds. They are believed because
    /// the engine is: it has checked their certificates.
    pub(super) async fn refusal(&self, look: &Look) -> Option<Refusal> {
        let node = look.on_disk.node.as_ref()?;
        if !matches!(look.facts.swarm.state, SwarmState::Pending | SwarmState::Active) {
            return None;
        }
        match self.engine_log().await {
            Ok(log) => said(&log, &node.id),
            Err(error) => {
                tracing::debug!(%error, "the engine's journal was not read");
                None
            }
        }
    }

    /// Returns the newest lines that the engine itself wrote. What containers say may be in the same unit's journal, by
    /// another way (`_TRANSPORT=journal`).
    async fn engine_log(&self) -> anyhow::Result<String> {
        let mut command = Command::new("journalctl");
        command.args(["--quiet", "--no-pager", "--output=cat", RECENT, "_TRANSPORT=stdout"]);
        command.arg(format!("_SYSTEMD_UNIT={}", self.run.config.engine.service));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await??;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Returns what the last session of this node ended with, if that is a refusal (swarmkit `ca/auth.go`,
/// `manager/dispatcher/nodes.go`).
fn said(log: &str, node: &str) -> Option<Refusal> {
    let removed = format!("node {node} was removed from swarm");
    let is_own = format!("node.id={node}");
    let is_of_session = |line: &&str| line.contains("agent: session failed") && line.contains(&is_own);
    let last = log.lines().rfind(is_of_session)?;
    match () {
        () if last.contains("code = PermissionDenied") && last.contains(&removed) => Some(Refusal::Removed),
        () if last.contains("desc = node not found\"") => Some(Refusal::Unknown),
        () => None,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "its managers have removed this node",
            Self::Unknown => "its managers do not know this node, as after a restore of a backup that is older than it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0o2nj3txcu2ftpjgua01fhz6d";

    fn session(error: &str) -> String {
        format!(
            "time=\"2026-11-28T05:02:48Z\" level=error msg=\"agent: session failed\" backoff=8s error=\"{error}\" \
             module=node/agent node.id={NODE}\n"
        )
    }

    #[test]
    fn the_managers_answer_is_found_in_the_engines_log() {
        let removed = session(&format!(
            "rpc error: code = PermissionDenied desc = Permission denied: unauthorized peer role: rpc error: code = \
             PermissionDenied desc = Permission denied: node {NODE} was removed from swarm"
        ));
        let unknown = session("rpc error: code = Unknown desc = node not found");
        let no_leader = session("rpc error: code = Unavailable desc = connection error: desc = \\\"refused\\\"");
        for (log, expected) in [
            (removed.clone(), Some(Refusal::Removed)),
            (unknown.clone(), Some(Refusal::Unknown)),
            (no_leader.clone(), None),
            // The last word counts.
            (format!("{removed}{unknown}level=info msg=\"waiting 0s\"\n"), Some(Refusal::Unknown)),
            (format!("{unknown}{no_leader}"), None),
            (unknown.replace(NODE, "another"), None),
            // Nobody refused a session.
            (format!("msg=\"rpc error: code = Unknown desc = node not found\" node.id={NODE}\n"), None),
            (String::new(), None),
        ] {
            assert_eq!(said(&log, NODE), expected, "{log}");
        }
    }
}

//! Workers that their managers do not take.
//!
//! Managers refuse a node that was removed (`docker node rm`, `node tidy`), and one that they do not know: a swarm that was
//! restored knows no node that joined after its backup. An engine asks again for ever, and its API tells nothing: it stays
//! `pending` after a start, and `active` if it was in the swarm before, with an empty error (engine 26.1.5). Only its log
//! has the managers' answer, every eight seconds at the latest (swarmkit `agent/agent.go`, `maxSessionFailureBackoff`). What
//! the node had in the swarm is gone already, so it joins anew.

use std::{
    fmt,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::process::Command;

use super::{Join, look::Look};
use crate::host::engine::SwarmState;

/// Time to read a part of the journal.
const LIMIT: Duration = Duration::from_secs(20);

/// How far back the journal is read. An older answer may be that of a manager that was restored since, to a state that
/// has the node.
const RECENT: Duration = Duration::from_secs(20);

/// Time in which managers that refuse a node do so again: the longest pause of the engine, and the time that it takes to
/// find out that others are dead.
const AGAIN_LIMIT: Duration = Duration::from_secs(60);

/// Pause between two readings of the journal.
const AGAIN: Duration = Duration::from_secs(2);

/// What the sessions of a node ended with that failed in the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Heard {
    /// None failed, or a manager answered something else.
    #[default]
    NoRefusal,
    Refused(Refusal),
    /// The engine did not get an answer from any manager: a dead one says nothing about this node.
    Unanswered,
}

impl Heard {
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::NoRefusal | Self::Unanswered => None,
        }
    }
}

/// Why the managers refuse a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    Removed,
    /// The managers do not know it.
    Unknown,
}

impl Join<'_> {
    /// Returns whether the managers refused this node, a worker, in the last seconds. They are believed because the engine
    /// is: it has checked their certificates.
    pub(super) async fn heard(&self, look: &Look) -> Heard {
        self.heard_since(look, SystemTime::now() - RECENT).await
    }

    /// Returns true once the managers refuse this node anew; false if they do not within a minute, or answer otherwise. A
    /// refusal that was seen may be older than a restore that has the node.
    pub(super) async fn is_refused_again(&self, look: &Look) -> bool {
        let (begun, since) = (std::time::Instant::now(), SystemTime::now());
        while begun.elapsed() < AGAIN_LIMIT {
            if let Heard::Refused(_) = self.heard_since(look, since).await {
                return true;
            }
            tokio::time::sleep(AGAIN).await;
        }
        false
    }

    async fn heard_since(&self, look: &Look, since: SystemTime) -> Heard {
        let Some(node) = &look.on_disk.node else { return Heard::NoRefusal };
        if !matches!(look.facts.swarm.state, SwarmState::Pending | SwarmState::Active) {
            return Heard::NoRefusal;
        }
        match self.engine_log(since).await {
            Ok(log) => said(&log, &node.id),
            Err(error) => {
                tracing::debug!(%error, "the engine's journal was not read");
                Heard::NoRefusal
            }
        }
    }

    /// Returns the lines that the engine itself wrote since then. What containers say may be in the same unit's journal, by
    /// another way (`_TRANSPORT=journal`).
    async fn engine_log(&self, since: SystemTime) -> anyhow::Result<String> {
        let mut command = Command::new("journalctl");
        command.args(["--quiet", "--no-pager", "--output=cat", &newer_than(since), "_TRANSPORT=stdout"]);
        command.arg(format!("_SYSTEMD_UNIT={}", self.run.config.engine.service));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await??;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The journal's option for lines of the seconds after a moment; that of the moment itself may be older in part.
fn newer_than(since: SystemTime) -> String {
    let seconds = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("--since=@{}", seconds + 1)
}

/// Returns what the last session of this node ended with that a manager answered (swarmkit `ca/auth.go`,
/// `manager/dispatcher/nodes.go`). The engine chooses among the managers that it knows by chance, and may know dead ones.
fn said(log: &str, node: &str) -> Heard {
    let removed = format!("node {node} was removed from swarm");
    let is_own = format!("node.id={node}");
    let failed = || log.lines().filter(|line| line.contains("agent: session failed") && line.contains(&is_own));
    match failed().rfind(|line| !is_unanswered(line)) {
        Some(last) if last.contains("code = PermissionDenied") && last.contains(&removed) => {
            Heard::Refused(Refusal::Removed)
        }
        Some(last) if last.contains("desc = node not found\"") => Heard::Refused(Refusal::Unknown),
        Some(_) => Heard::NoRefusal,
        None if failed().next().is_some() => Heard::Unanswered,
        None => Heard::NoRefusal,
    }
}

/// True if a session failed without an answer of the managers about the node: no manager was reached in time (gRPC's codes
/// and Go's words for that), or the one that was has no leader to ask.
fn is_unanswered(line: &str) -> bool {
    const SIGNS: [&str; 11] = [
        "code = Unavailable",
        "code = DeadlineExceeded",
        "code = Canceled",
        "deadline exceeded",
        "timed out",
        "timeout",
        "error while dialing",
        "connection refused",
        "connection reset",
        "no route to host",
        "does not have a leader",
    ];
    // A manager that passes a refusal on names it last.
    let is_refusal = line.contains("was removed from swarm") || line.contains("desc = node not found\"");
    !is_refusal && SIGNS.iter().any(|sign| line.contains(sign))
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
        let dead = session("rpc error: code = Unavailable desc = connection error: desc = \\\"refused\\\"");
        let slow = session("session initiation timed out");
        let hung = session("rpc error: code = DeadlineExceeded desc = context deadline exceeded");
        let leaderless = session("rpc error: code = Unknown desc = The swarm does not have a leader");
        let ended = session("rpc error: code = Unknown desc = dispatcher is stopped");
        let refused = Heard::Refused;
        for (log, expected) in [
            (removed.clone(), refused(Refusal::Removed)),
            (unknown.clone(), refused(Refusal::Unknown)),
            // The last word counts.
            (format!("{removed}{unknown}level=info msg=\"waiting 0s\"\n"), refused(Refusal::Unknown)),
            (format!("{unknown}{ended}"), Heard::NoRefusal),
            // A dead manager has no word.
            (dead.clone(), Heard::Unanswered),
            (slow.clone(), Heard::Unanswered),
            (format!("{leaderless}{hung}"), Heard::Unanswered),
            (format!("{unknown}{dead}"), refused(Refusal::Unknown)),
            (format!("{removed}{dead}{slow}{hung}{leaderless}"), refused(Refusal::Removed)),
            (format!("{unknown}{ended}{dead}"), Heard::NoRefusal),
            (unknown.replace(NODE, "another"), Heard::NoRefusal),
            // Nobody refused a session.
            (format!("msg=\"rpc error: code = Unknown desc = node not found\" node.id={NODE}\n"), Heard::NoRefusal),
            (String::new(), Heard::NoRefusal),
        ] {
            assert_eq!(said(&log, NODE), expected, "{log}");
        }
    }
    #[test]
    fn a_refusal_of_an_earlier_second_is_not_a_new_one() {
        assert_eq!(newer_than(UNIX_EPOCH + Duration::from_millis(1500)), "--since=@2");
    }
}

//! Workers that their managers have removed while they were off (`docker node rm`, `node tidy`).
//!
//! The certificate of such a node is refused for ever, and the engine stays `pending` without an error in its API: only
//! its log has the managers' answer (engine 26.1.5). What the node had in the swarm is gone already, so it joins anew.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use super::{Join, look::Look};
use crate::host::engine::SwarmState;

/// Time to read a part of the journal.
const LIMIT: Duration = Duration::from_secs(20);

/// Newest lines of the engine that are read. It repeats the answer every few seconds.
const LINES: &str = "200";

impl Join<'_> {
    /// True if the managers say that this node, a worker, was removed. They are believed because the engine is: it has
    /// checked their certificates.
    pub(super) async fn was_removed(&self, look: &Look) -> bool {
        let Some(node) = look.on_disk.node.as_ref().filter(|_| !look.on_disk.may_be_manager()) else { return false };
        if look.facts.swarm.state != SwarmState::Pending {
            return false;
        }
        match self.engine_log().await {
            Ok(log) => says_removed(&log, &node.id),
            Err(error) => {
                tracing::debug!(%error, "the engine's journal was not read");
                false
            }
        }
    }

    /// Returns the newest lines that the engine itself wrote. What containers say may be in the same unit's journal, by
    /// another way (`_TRANSPORT=journal`). Not limited to this boot, whose id a hardened unit does not see: a node that
    /// was removed once is removed for ever.
    async fn engine_log(&self) -> anyhow::Result<String> {
        let mut command = Command::new("journalctl");
        command.args(["--quiet", "--no-pager", "--output=cat", "--lines", LINES, "_TRANSPORT=stdout"]);
        command.arg(format!("_SYSTEMD_UNIT={}", self.run.config.engine.service));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await??;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// True if a line has the managers' words for this node (swarmkit `ca/auth.go`).
fn says_removed(log: &str, node: &str) -> bool {
    let words = format!("node {node} was removed from swarm");
    log.lines().any(|line| line.contains("code = PermissionDenied") && line.contains(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_answer_is_found_in_the_engines_log() {
        let line = "level=error msg=\"agent: session failed\" backoff=8s error=\"rpc error: code = PermissionDenied desc = \
                    Permission denied: node n78a9a4iad7e2mft9saz9it6x was removed from swarm\" module=node/agent";
        let log = format!("level=info msg=\"started\"\n{line}\n");
        assert!(says_removed(&log, "n78a9a4iad7e2mft9saz9it6x"));
        assert!(!says_removed(&log, "n78a9a4iad7e2mft9saz9it6y"), "it is another node");
        assert!(!says_removed("node n1 was removed from swarm", "n1"), "nobody refused anything");
    }
}

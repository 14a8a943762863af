//! Whether the copied log is as new as the cluster was.
//!
//! A manager forwards API requests to the leader, so its API shows the leader's state even if its own log lags
//! behind. An object carries the raft index that the leader had applied when it last changed (swarmkit
//! `manager/state/store/memory.go`, `touchMeta`); the log entry of the change itself has a higher one. So a log that
//! ends at or below the highest version that the API showed lacks an acknowledged change.

use swarm_state::inventory::Raft;

use crate::host::engine::view::ManagerView;

/// Returns a warning if the copy lacks changes that the cluster had acknowledged before the engine was stopped.
///
/// Such a backup is consistent, and as good as one that was made when its last entry was new. So it is stored, and the
/// lag is reported.
pub fn behind(view: &ManagerView, raft: &Raft) -> Option<String> {
    let needed = view.newest_version()? + 1;
    let missing = needed.checked_sub(raft.last_index).filter(|missing| *missing > 0)?;
    Some(format!(
        "this manager lags behind its leader: its log ends at index {}, and the cluster was at {needed} or later before \
         the copy; at least {missing} changes are not in the backup. See `docker node ls` and this host's disk and network",
        raft.last_index
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::engine::view::{Node, testing::view_of};
    use swarm_state::inventory::{Cluster, Secret};

    fn view(cluster: u64, node: u64, secret: u64) -> ManagerView {
        let nodes = vec![Node { version: Some(node), ..Node::default() }, Node::default()];
        let mut view = view_of(Cluster { version_index: Some(cluster), ..Cluster::default() }, nodes);
        view.inventory.secrets = vec![Secret { version_index: Some(secret), ..Secret::default() }];
        view
    }

    #[test]
    fn a_log_must_go_beyond_every_version_that_was_seen() {
        let raft = |last_index| Raft { last_index, ..Raft::default() };
        for (view, last_index, missing) in [
            (view(10, 12, 11), 13, None),
            (view(10, 12, 11), 20, None),
            (view(10, 12, 11), 12, Some("at least 1 change")),
            (view(10, 12, 40), 13, Some("at least 28 change")),
            (view(40, 12, 11), 13, Some("at least 28 change")),
        ] {
            let said = behind(&view, &raft(last_index));
            assert_eq!(said.is_some(), missing.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(missing.unwrap_or_default()), "{last_index}");
        }
    }
}

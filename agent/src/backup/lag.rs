//! Whether the copied log is as new as the cluster was.
//!
//! A manager forwards API requests to the leader, so its API shows the leader's state even if its own log lags
//! behind. An object carries the raft index that the leader had applied when it last changed (swarmkit
//! `manager/state/store/memory.go`, `touchMeta`); the log entry of the change itself has a higher one. So a log that
//! ends at or below the highest version that the API showed lacks an acknowledged change.

use std::collections::BTreeSet;

use swarm_state::{Examined, Inventory, inventory::Raft};

use crate::host::engine::view::ManagerView;

/// True if the copy is proven and holds what the API showed before it was made. Networks and removals leave no version that
/// [`behind`] could compare, so which objects there are must be the same. If something was made or removed since, the answer
/// is no as well, which costs one more backup and loses nothing.
pub fn holds(view: &ManagerView, examined: &Examined) -> bool {
    let (Some(raft), Some(copied)) = (&examined.raft, &examined.inventory) else { return false };
    behind(view, raft).is_none() && ids(&view.inventory) == ids(copied)
}

/// The ids of all objects; no two share one.
fn ids(inventory: &Inventory) -> BTreeSet<&str> {
    let nodes = inventory.nodes.iter().map(|it| &it.id);
    let networks = inventory.networks.iter().filter(|it| !it.ingress).map(|it| &it.id);
    let services = inventory.services.iter().map(|it| &it.id);
    let secrets = inventory.secrets.iter().map(|it| &it.id);
    let configs = inventory.configs.iter().map(|it| &it.id);
    nodes.chain(networks).chain(services).chain(secrets).chain(configs).map(String::as_str).collect()
}

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
    use crate::{
        host::engine::view::{Node, testing::view_of},
        restore::plan::tests::examined,
    };
    use swarm_state::inventory::{Cluster, Network, Secret};

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

    #[test]
    fn a_copy_that_lacks_a_change_or_cannot_be_relied_on_does_not_hold_it() {
        let seen = || {
            let mut seen = view(10, 12, 11);
            seen.inventory.secrets[0].id = "s1".to_owned();
            seen.inventory.networks = vec![Network { id: "n1".to_owned(), ..Network::default() }];
            seen
        };
        let copy = |last_index, inventory| Examined {
            raft: Some(Raft { last_index, ..Raft::default() }),
            inventory: Some(inventory),
            ..examined()
        };
        let now = || seen().inventory;
        assert!(holds(&seen(), &copy(13, now())));
        // Its log ends before the newest change, or the object of a removal is still there, or a network is not yet.
        assert!(!holds(&seen(), &copy(12, now())));
        let removed = Secret { id: "s2".to_owned(), ..Secret::default() };
        let before = Inventory { secrets: [now().secrets, vec![removed]].concat(), ..now() };
        assert!(!holds(&seen(), &copy(13, before)));
        assert!(!holds(&seen(), &copy(13, Inventory { networks: Vec::new(), ..now() })));
        // A log that breaks somewhere has no inventory.
        assert!(!holds(&seen(), &Examined { inventory: None, ..copy(13, now()) }));
        // The ingress network is no one's change.
        let ingress = Network { id: "n2".to_owned(), ingress: true, ..Network::default() };
        let with = Inventory { networks: [now().networks, vec![ingress]].concat(), ..now() };
        assert!(holds(&seen(), &copy(13, with)));
    }
}

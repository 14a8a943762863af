//! The state on this host's disk: whose it is, as far as its directory tells.

use std::path::Path;

use swarm_state::{
    Identity, StateDir,
    identity::Role,
    state_dir::{ENGINE_STATE, NODE_CERT},
};
use swarmdr_archive::SwarmNode;

use crate::archive::owner;

/// Content of the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnDisk {
    /// No swarm.
    Nothing,
    /// Parts of a swarm, without a readable identity.
    Unknown,
    State(Held),
}

/// A state with an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub own: SwarmNode,
    pub is_manager: bool,
    /// True if an engine has adopted the state: it starts with it.
    pub is_taken_up: bool,
}

impl OnDisk {
    pub fn read(state_dir: &Path) -> Self {
        let is_there = |name: &str| state_dir.join(name).exists();
        let identity = StateDir::open(state_dir).ok().and_then(|dir| Identity::read(&dir).ok());
        if let Some(identity) = identity
            && let Ok(own) = owner::of(&identity)
        {
            return OnDisk::State(Held {
                own,
                is_manager: identity.role == Role::Manager,
                is_taken_up: is_there(ENGINE_STATE),
            });
        }
        if [ENGINE_STATE, NODE_CERT, "raft"].into_iter().any(is_there) { OnDisk::Unknown } else { OnDisk::Nothing }
    }

    pub fn held(&self) -> Option<&Held> {
        match self {
            OnDisk::State(held) => Some(held),
            OnDisk::Nothing | OnDisk::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_the_disk_is_told_apart() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let state_dir = dir.path().join("swarm");
        assert_eq!(OnDisk::read(&state_dir), OnDisk::Nothing);
        std::fs::create_dir_all(state_dir.join("worker")).expect("makes");
        assert_eq!(OnDisk::read(&state_dir), OnDisk::Nothing);
        std::fs::create_dir(state_dir.join("raft")).expect("makes");
        assert_eq!(OnDisk::read(&state_dir), OnDisk::Unknown);
    }
}

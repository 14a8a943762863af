//! The other managers that the state on this host's disk names.

use std::{net::SocketAddr, path::Path};

use swarm_state::{self, Examined, Identity, Proof, StateDir};

use super::Restore;
use crate::keys::unlock_key::GivenKey;

/// Number of readings of a log. An engine without a leader writes its votes now and then, so one reading may fail.
const READINGS: u32 = 3;

impl Restore<'_> {
    /// Reads the state on this host's disk with the given key; `None` if it cannot be read to its end.
    pub(super) async fn examine_present(&self, state_dir: &Path) -> Option<Examined> {
        let (state_dir, key) = (state_dir.to_owned(), self.keyring.unlock_key.clone());
        let read = move || {
            let key = key.as_ref().map(GivenKey::for_state);
            let readings = (0..READINGS).filter_map(|_| swarm_state::examine(&state_dir, key).ok());
            readings.reduce(|best, next| if best.proof == Proof::Proven { best } else { next })
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Returns the addresses of the other managers of the state on this host's disk, as far as they can be read.
    pub(super) async fn present_peers(&self, state_dir: &Path) -> Vec<SocketAddr> {
        match self.examine_present(state_dir).await {
            Some(examined) => peers(&examined),
            None => {
                let identity = StateDir::open(state_dir).ok().and_then(|dir| Identity::read(&dir).ok());
                let others = identity.iter().flat_map(|identity| {
                    identity.known_managers.iter().filter(|manager| manager.node_id != identity.node_id)
                });
                others.filter_map(|manager| swarm_state::identity::usable(&manager.addr)).collect()
            }
        }
    }
}

/// Returns the addresses of the other managers in the raft log and in `state.json`.
pub(crate) fn peers(examined: &Examined) -> Vec<SocketAddr> {
    let members = examined.raft.iter().flat_map(|raft| &raft.members).filter_map(|member| member.addr.as_deref());
    let known = examined.identity.known_managers.iter().map(|manager| manager.addr.as_str());
    let mut peers: Vec<SocketAddr> = members.chain(known).filter_map(swarm_state::identity::usable).collect();
    peers.retain(|addr| Some(*addr) != examined.raft_address);
    peers.sort();
    peers.dedup();
    peers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::plan::tests::examined;
    use swarm_state::{
        identity::KnownManager,
        inventory::{Member, Raft},
    };

    #[test]
    fn every_other_manager_that_is_known_is_looked_for_once() {
        let mut state = examined();
        state.raft_address = Some("10.0.0.4:2377".parse().expect("is an address"));
        let member = |addr: &str| Member { addr: Some(addr.to_owned()), ..Member::default() };
        state.raft = Some(Raft {
            members: vec![member("10.0.0.4:2377"), member("10.0.0.5:2377"), member("0.0.0.0:2377")],
            ..Raft::default()
        });
        let known = |addr: &str| KnownManager { node_id: "other".to_owned(), addr: addr.to_owned() };
        state.identity.known_managers = vec![known("10.0.0.6:4000"), known("10.0.0.5:2377")];
        let found: Vec<String> = peers(&state).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.5:2377", "10.0.0.6:4000"]);
    }
}

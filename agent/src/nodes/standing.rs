//! Where a host stands towards a swarm: in none, in the wanted one, in another one, or on its way.
//!
//! The disk says whose node a host is, and the engine's answer only what it does with that now: an engine is `pending`
//! while it dials, and in `error` while an address is missing or a clock is wrong, and each of these passes.

use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use swarm_state::{
    Identity, StateDir,
    identity::{self, Role},
    state_dir::{ENGINE_STATE, KNOWN_MANAGERS, NODE_CERT, ROOT_CA},
};

use super::token::{CaDigest, ca_digests};
use crate::host::engine::{LocalSwarm, SwarmState};

/// The state directory of this host's engine, as far as it tells about its swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// True if there is a node certificate: the host was let into a swarm.
    pub has_certificate: bool,
    /// True if there is a raft log, which only managers have.
    pub has_log: bool,
    /// Node, cluster and role of a certificate that can be read.
    pub node: Option<Node>,
    /// Digests that a token of this swarm may name; empty without a root CA.
    pub ca: Vec<CaDigest>,
    /// Addresses of the managers that this node knows, and of the one that it joined through.
    pub managers: BTreeSet<SocketAddr>,
    /// Node ids of the managers that this node knows.
    pub manager_ids: BTreeSet<String>,
    /// Address of the manager through which it joins or joined, as the engine noted it.
    pub joined_through: Option<SocketAddr>,
    /// True if the engine has noted a swarm, with which it starts.
    pub is_taken_up: bool,
    /// True if the engine has not been in that swarm yet.
    pub is_joining: bool,
}

/// The node that the certificate on the disk names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    pub cluster: String,
    pub is_manager: bool,
}

impl OnDisk {
    /// Reads the directory; what cannot be read is absent.
    pub fn read(state_dir: &Path) -> Self {
        let Ok(dir) = StateDir::open(state_dir) else { return Self::default() };
        let file = |name| dir.read_small(name).ok().flatten();
        let engine = file(ENGINE_STATE).and_then(|bytes| identity::parse_engine_state(&bytes).ok());
        let joined_through = engine.as_ref().and_then(|engine| identity::usable(&engine.remote_addr));
        let known = file(KNOWN_MANAGERS).and_then(|bytes| identity::parse_managers(&bytes).ok()).unwrap_or_default();
        let manager_ids = known.iter().map(|manager| manager.node_id.clone()).collect();
        let known = known.iter().filter_map(|manager| identity::usable(&manager.addr));
        Self {
            has_certificate: state_dir.join(NODE_CERT).exists(),
            has_log: state_dir.join("raft").exists(),
            node: Identity::read(&dir).ok().map(|identity| Node {
                is_manager: identity.role == Role::Manager,
                id: identity.node_id,
                cluster: identity.cluster_id,
            }),
            ca: file(ROOT_CA).map(|pem| ca_digests(&pem)).unwrap_or_default(),
            managers: known.chain(joined_through).collect(),
            manager_ids,
            joined_through,
            is_taken_up: state_dir.join(ENGINE_STATE).exists(),
            is_joining: engine.is_some_and(|engine| engine.join_in_progress),
        }
    }

    /// True if this is, or may be, a manager's state, which must never be lost.
    pub fn may_be_manager(&self) -> bool {
        self.has_log || (self.has_certificate && self.node.as_ref().is_none_or(|node| node.is_manager))
    }
}

/// The swarm that a host is to be in, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub managers: Vec<SocketAddr>,
    /// Digest of the root CA, from the token.
    pub ca: Option<CaDigest>,
}

/// Whose node a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swarm {
    Wanted,
    /// The managers are the wanted ones, and the token names another root CA.
    WantedByAddress,
    Other,
    /// No token says which root CA the wanted swarm has, and the addresses are others.
    Unknown,
}

/// Where this host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In no swarm, and nothing on the disk that an engine would take up.
    Free,
    /// In no swarm, and the disk has something of one: the reason why a join would do harm.
    Blocked(&'static str),
    /// The engine tries to join, and is not in yet.
    Joining,
    /// An attempt to join has failed, and the engine keeps it until it is told to leave.
    Failed,
    /// A node of a swarm. `is_settled`: the engine is in it now.
    Member { swarm: Swarm, is_settled: bool },
    /// The engine's answer and the disk do not fit together: one of them is about to change.
    Unclear,
}

impl Standing {
    pub fn of(swarm: &LocalSwarm, on_disk: &OnDisk, wanted: &Wanted) -> Self {
        if on_disk.has_certificate {
            return match swarm.state {
                SwarmState::Inactive if on_disk.may_be_manager() => {
                    Self::Blocked("the state of a manager, which this engine has not taken up")
                }
                // An engine that leaves is in no swarm at once, removes one container after the other, and then its note and
                // everything else (moby `daemon/cluster/swarm.go`, `Leave`).
                SwarmState::Inactive if on_disk.is_taken_up => Self::Unclear,
                SwarmState::Inactive => Self::Blocked("the certificate of a node, which this engine has not taken up"),
                state => {
                    let is_settled = state == SwarmState::Active && swarm.error.is_empty();
                    Self::Member { swarm: whose(swarm, on_disk, wanted), is_settled }
                }
            };
        }
        match swarm.state {
            SwarmState::Inactive if on_disk.has_log => Self::Blocked("the raft log of a manager"),
            SwarmState::Inactive if !on_disk.ca.is_empty() && !wanted.fits(&on_disk.ca) => {
                // An engine trusts the root CA that it finds, without comparing it with the token.
                Self::Blocked("the root CA of a swarm, which is not that of the token")
            }
            SwarmState::Inactive => Self::Free,
            SwarmState::Pending => Self::Joining,
            SwarmState::Error if on_disk.is_taken_up && !on_disk.has_log => Self::Failed,
            // An engine whose directory cannot be read from here.
            SwarmState::Active if !on_disk.is_taken_up => {
                Self::Member { swarm: whose(swarm, on_disk, wanted), is_settled: swarm.error.is_empty() }
            }
            SwarmState::Active | SwarmState::Error | SwarmState::Locked => Self::Unclear,
        }
    }
}

impl Wanted {
    /// True if a swarm with these digests may be the wanted one.
    fn fits(&self, ca: &[CaDigest]) -> bool {
        self.ca.is_none_or(|wanted| ca.contains(&wanted))
    }

    /// True if one of these addresses is that of a wanted manager.
    pub fn names<'a>(&self, addresses: impl IntoIterator<Item = &'a SocketAddr>) -> bool {
        addresses.into_iter().any(|address| self.managers.contains(address))
    }
}

fn whose(swarm: &LocalSwarm, on_disk: &OnDisk, wanted: &Wanted) -> Swarm {
    let known = managers_of(swarm, on_disk);
    let by_address = wanted.names(&known);
    match wanted.ca {
        Some(ca) if on_disk.ca.contains(&ca) => Swarm::Wanted,
        // The root CA was replaced since the token was published; or another swarm has one of these addresses now: whoever
        // shows a certificate there decides.
        Some(_) if by_address => Swarm::WantedByAddress,
        Some(_) => Swarm::Other,
        None if by_address => Swarm::Wanted,
        None => Swarm::Unknown,
    }
}

/// All managers that this host may know of its swarm, by the engine and by the disk.
pub fn managers_of(swarm: &LocalSwarm, on_disk: &OnDisk) -> BTreeSet<SocketAddr> {
    let answered = swarm.managers.iter().filter_map(|address| identity::usable(address));
    answered.chain(on_disk.managers.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: CaDigest = [1; 32];
    const OTHER: CaDigest = [2; 32];

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("is an address")
    }

    fn wanted(ca: Option<CaDigest>) -> Wanted {
        Wanted { managers: vec![addr("10.0.0.1:2377")], ca }
    }

    fn member(manager: &str, is_manager: bool) -> OnDisk {
        OnDisk {
            has_certificate: true,
            has_log: is_manager,
            node: Some(Node { id: "n".to_owned(), cluster: "c".to_owned(), is_manager }),
            ca: vec![OWN],
            managers: [addr(manager)].into(),
            manager_ids: BTreeSet::new(),
            joined_through: None,
            is_taken_up: true,
            is_joining: false,
        }
    }

    fn engine(state: SwarmState) -> LocalSwarm {
        LocalSwarm { state, ..LocalSwarm::default() }
    }

    #[test]
    fn the_root_ca_says_whose_node_a_host_is_and_the_addresses_where_no_token_is_at_hand() {
        let (near, far) = ("10.0.0.1:2377", "10.0.0.9:2377");
        for (state, manager, ca, expected) in [
            (SwarmState::Active, far, Some(OWN), Swarm::Wanted),
            (SwarmState::Active, near, Some(OWN), Swarm::Wanted),
            (SwarmState::Active, near, None, Swarm::Wanted),
            (SwarmState::Active, far, None, Swarm::Unknown),
            (SwarmState::Active, far, Some(OTHER), Swarm::Other),
            (SwarmState::Active, near, Some(OTHER), Swarm::WantedByAddress),
            // A new swarm at the address of the old one, or a worker that boots after its root CA was replaced.
            (SwarmState::Pending, near, Some(OTHER), Swarm::WantedByAddress),
            (SwarmState::Error, far, Some(OTHER), Swarm::Other),
            (SwarmState::Pending, near, None, Swarm::Wanted),
            (SwarmState::Locked, far, Some(OWN), Swarm::Wanted),
        ] {
            let standing = Standing::of(&engine(state), &member(manager, false), &wanted(ca));
            let is_settled = state == SwarmState::Active;
            assert_eq!(standing, Standing::Member { swarm: expected, is_settled }, "{state:?} {manager} {ca:?}");
        }
        // The engine may know managers that are not on the disk yet.
        let swarm = LocalSwarm { managers: vec![near.to_owned()], ..engine(SwarmState::Active) };
        let expected = Standing::Member { swarm: Swarm::Wanted, is_settled: true };
        assert_eq!(Standing::of(&swarm, &member(far, false), &wanted(None)), expected);
    }

    #[test]
    fn what_lies_on_the_disk_of_a_host_in_no_swarm_is_not_overwritten() {
        let of = |state, on_disk: &OnDisk, ca| Standing::of(&engine(state), on_disk, &wanted(ca));
        let nothing = OnDisk::default();
        assert_eq!(of(SwarmState::Inactive, &nothing, None), Standing::Free);
        for on_disk in [
            member("10.0.0.1:2377", true),
            OnDisk { is_taken_up: false, ..member("10.0.0.1:2377", false) },
            OnDisk { has_log: true, ..OnDisk::default() },
            OnDisk { ca: vec![OTHER], ..OnDisk::default() },
        ] {
            assert!(matches!(of(SwarmState::Inactive, &on_disk, Some(OWN)), Standing::Blocked(_)), "{on_disk:?}");
        }
        let root_ca = OnDisk { ca: vec![OWN], ..OnDisk::default() };
        assert_eq!(of(SwarmState::Inactive, &root_ca, Some(OWN)), Standing::Free);
    }

    /// A run that is killed while the engine leaves is followed by one that finds it at that.
    #[test]
    fn an_engine_that_is_leaving_is_waited_for() {
        let leaving = member("10.0.0.1:2377", false);
        for ca in [None, Some(OWN), Some(OTHER)] {
            assert_eq!(Standing::of(&engine(SwarmState::Inactive), &leaving, &wanted(ca)), Standing::Unclear);
        }
    }

    #[test]
    fn an_attempt_is_told_from_a_membership_by_the_certificate() {
        let attempt = OnDisk { is_taken_up: true, ca: vec![OWN], ..OnDisk::default() };
        for (state, expected) in [
            (SwarmState::Pending, Standing::Joining),
            (SwarmState::Error, Standing::Failed),
            (SwarmState::Active, Standing::Unclear),
            (SwarmState::Locked, Standing::Unclear),
        ] {
            assert_eq!(Standing::of(&engine(state), &attempt, &wanted(None)), expected, "{state:?}");
        }
        let log = OnDisk { has_log: true, ..attempt };
        assert_eq!(Standing::of(&engine(SwarmState::Error), &log, &wanted(None)), Standing::Unclear);
    }

    #[test]
    fn whatever_could_be_a_manager_counts_as_one() {
        assert!(member("10.0.0.1:2377", true).may_be_manager());
        assert!(!member("10.0.0.1:2377", false).may_be_manager());
        assert!(OnDisk { node: None, ..member("10.0.0.1:2377", false) }.may_be_manager());
        assert!(!OnDisk::default().may_be_manager());
    }

    #[test]
    fn a_directory_is_read_as_far_as_it_goes() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        assert_eq!(OnDisk::read(&dir.path().join("none")), OnDisk::default());
        let note = r#"{"RemoteAddr":"10.0.0.5:2377","JoinInProgress":true}"#;
        std::fs::write(dir.path().join(ENGINE_STATE), note).expect("writes");
        std::fs::write(dir.path().join(KNOWN_MANAGERS), r#"[{"node_id":"a","addr":"10.0.0.6:2377"}]"#).expect("writes");
        let on_disk = OnDisk::read(dir.path());
        assert!(on_disk.is_taken_up && on_disk.is_joining && !on_disk.has_certificate && on_disk.node.is_none());
        assert_eq!(on_disk.joined_through, Some(addr("10.0.0.5:2377")));
        assert_eq!(on_disk.managers, [addr("10.0.0.5:2377"), addr("10.0.0.6:2377")].into());
        assert_eq!(on_disk.manager_ids, ["a".to_owned()].into());
    }
}

//! The managers of the cluster, as its leader lists them and as they answer this host.
//!
//! A follower passes `GET /nodes` on to the leader (swarmkit `manager/controlapi`, raft proxy), so every manager that
//! gets an answer sees the same list at the same time. The list is slow, though: a manager that has just stopped
//! stays "reachable" for seconds. So [`Managers::probe`] asks the managers themselves.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use swarm_state::identity::usable;

use crate::host::{engine::view::Node, network};

/// Time limit of a probe whose packets are dropped; a refused connection returns at once.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The facts about the managers that decide whether and where a backup is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managers {
    /// Members of the raft group, by node id.
    pub members: Vec<Member>,
    /// Promoted and alive, but not yet a member: the group is about to change its size.
    pub joining: Vec<String>,
    /// Managers by role that are neither members nor alive. A restored swarm lists its old managers so.
    pub remains: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// Hostname, or the id where there is none.
    pub name: String,
    /// Address at which the others reach it; `None` if the listed one cannot be used.
    pub addr: Option<SocketAddr>,
    pub leader: bool,
    pub reachable: bool,
}

/// The members of a group that have to agree when one of them leaves: a majority of all, the one that leaves included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    pub all: usize,
    /// The others that answer.
    pub answering: usize,
    pub majority: usize,
}

impl Agreement {
    pub fn is_possible(&self) -> bool {
        self.answering >= self.majority
    }
}

impl Managers {
    /// Reads the cluster's node list.
    pub fn of(nodes: &[Node]) -> Self {
        let mut managers = Self::default();
        for node in nodes {
            let id = node.id.clone();
            let name = if node.hostname.is_empty() { id.clone() } else { node.hostname.clone() };
            match &node.manager {
                Some(status) => managers.members.push(Member {
                    addr: status.addr.as_deref().and_then(usable),
                    leader: status.leader,
                    reachable: status.reachable,
                    id,
                    name,
                }),
                None if !node.is_manager_by_role() => {}
                None if node.is_ready() => managers.joining.push(name),
                None => managers.remains.push(name),
            }
        }
        managers.members.sort_by(|a, b| a.id.cmp(&b.id));
        managers
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Counts who would agree if this member left.
    pub fn without(&self, id: &str) -> Agreement {
        let all = self.members.len();
        let answering = self.members.iter().filter(|member| member.reachable && member.id != id).count();
        Agreement { all, answering, majority: all / 2 + 1 }
    }

    /// Connects to the managers that the list calls reachable, except `own`. One that does not accept the connection
    /// counts as unreachable. Swarm needs its port to be open between managers, so the agent on this host reaches it.
    pub async fn probe(&mut self, own: &str) {
        let others = self.members.iter_mut().filter(|member| member.reachable && member.id != own);
        let probes = others.map(|member| async move {
            if let Some(addr) = member.addr {
                member.reachable = network::answers(addr, PROBE_LIMIT).await;
            }
        });
        join_all(probes).await;
    }

    pub fn unreachable(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.reachable)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::host::engine::view::ManagerStatus;

    /// Managers `m0`, `m1`…, with this leader and these reachable ones.
    pub fn cluster(leader: usize, reachable: &[bool]) -> Managers {
        let member = |(n, reachable): (usize, &bool)| Member {
            id: format!("m{n}"),
            name: format!("host{n}"),
            addr: None,
            leader: n == leader,
            reachable: *reachable,
        };
        Managers { members: reachable.iter().enumerate().map(member).collect(), ..Managers::default() }
    }

    fn node(id: &str, role: &str, state: &str, status: Option<(bool, &str)>) -> Node {
        Node {
            id: id.to_owned(),
            role: role.to_owned(),
            state: state.to_owned(),
            manager: status.map(|(reachable, addr)| ManagerStatus {
                leader: false,
                reachable,
                addr: Some(addr.to_owned()),
            }),
            ..Node::default()
        }
    }

    #[test]
    fn members_joiners_and_remains_are_told_apart() {
        let nodes = [
            node("d", "manager", "ready", Some((true, "10.0.0.4:2377"))),
            node("c", "manager", "down", Some((false, "0.0.0.0:2377"))),
            // Being demoted: still a member.
            node("b", "worker", "ready", Some((true, "10.0.0.2:2377"))),
            node("a", "worker", "ready", None),
            node("e", "manager", "ready", None),
            node("f", "manager", "down", None),
            node("g", "manager", "unknown", None),
        ];
        let managers = Managers::of(&nodes);
        let members: Vec<_> = managers.members.iter().map(|it| (it.id.as_str(), it.reachable, it.addr)).collect();
        let at = |text: &str| Some(text.parse().expect("is an address"));
        assert_eq!(members, [("b", true, at("10.0.0.2:2377")), ("c", false, None), ("d", true, at("10.0.0.4:2377"))]);
        assert_eq!(managers.joining, ["e"]);
        assert_eq!(managers.remains, ["f", "g"]);
    }

    #[tokio::test]
    async fn who_does_not_accept_is_not_reachable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let mut managers = cluster(0, &[true, true, true, true]);
        // Its own port is never tried: it would not answer here.
        managers.members[0].addr = Some(closed.local_addr().expect("has an address"));
        managers.members[1].addr = Some(listener.local_addr().expect("has an address"));
        managers.members[2].addr = managers.members[0].addr;
        drop(closed);
        managers.probe("m0").await;
        let reachable: Vec<bool> = managers.members.iter().map(|member| member.reachable).collect();
        assert_eq!(reachable, [true, true, false, true]);
    }
}

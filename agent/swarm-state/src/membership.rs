//! Members of the raft cluster, from a snapshot and the changes after it.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::inventory::Member;

/// Current and former members by raft id.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
}

/// swarmkit's `RaftMember`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RaftMember {
    #[prost(uint64, tag = "1")]
    pub(crate) raft_id: u64,
    #[prost(string, tag = "2")]
    pub(crate) node_id: String,
    #[prost(string, tag = "3")]
    pub(crate) addr: String,
}

/// swarmkit's `ClusterSnapshot`.
#[derive(Clone, PartialEq, Message)]
struct ClusterSnapshot {
    #[prost(message, repeated, tag = "1")]
    members: Vec<RaftMember>,
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    removed: Vec<u64>,
}

/// etcd's `raftpb.ConfChange`.
#[derive(Clone, PartialEq, Message)]
struct ConfChange {
    #[prost(enumeration = "ConfChangeType", tag = "2")]
    change: i32,
    #[prost(uint64, tag = "3")]
    raft_id: u64,
    /// A [`RaftMember`]; empty in removals.
    #[prost(bytes = "vec", tag = "4")]
    context: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum ConfChangeType {
    Add = 0,
    Remove = 1,
    Update = 2,
    /// Raft has learners, but swarm does not use them.
    AddLearner = 3,
}

impl Membership {
    /// Returns the membership of a sealed state: ids without names.
    pub(crate) fn of_voters(voters: &[u64]) -> Self {
        let nameless = |raft_id| (raft_id, Member { raft_id, ..Member::default() });
        Self { members: voters.iter().copied().map(nameless).collect(), removed: BTreeSet::new() }
    }

    /// Replaces the membership by that of a snapshot.
    pub(crate) fn restore(&mut self, bytes: &[u8]) -> Result<(), prost::DecodeError> {
        let snapshot = ClusterSnapshot::decode(bytes)?;
        self.members = snapshot.members.into_iter().map(|member| (member.raft_id, member.into())).collect();
        self.removed = snapshot.removed.into_iter().collect();
        Ok(())
    }

    /// Applies the change in a log entry.
    pub(crate) fn apply(&mut self, bytes: &[u8]) -> Result<(), prost::DecodeError> {
        let change = ConfChange::decode(bytes)?;
        match change.change() {
            ConfChangeType::Remove => {
                self.members.remove(&change.raft_id);
                self.removed.insert(change.raft_id);
            }
            ConfChangeType::Add | ConfChangeType::Update | ConfChangeType::AddLearner => {
                let member = RaftMember::decode(change.context.as_slice())?;
                self.members.insert(change.raft_id, member.into());
            }
        }
        Ok(())
    }

    /// Returns whether the change in a log entry removes another member than `own`.
    pub(crate) fn removes_other(bytes: &[u8], own: u64) -> bool {
        let is_removal = |change: ConfChange| change.change() == ConfChangeType::Remove && change.raft_id != own;
        ConfChange::decode(bytes).is_ok_and(is_removal)
    }

    /// Returns members and removed members, both sorted by raft id.
    pub(crate) fn into_lists(self) -> (Vec<Member>, Vec<u64>) {
        (self.members.into_values().collect(), self.removed.into_iter().collect())
    }
}

impl From<RaftMember> for Member {
    fn from(member: RaftMember) -> Self {
        Self { raft_id: member.raft_id, node_id: Some(member.node_id), addr: Some(member.addr) }
    }
}

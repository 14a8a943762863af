//! The quorum guard: may this manager's engine go away for a moment?
//!
//! A cluster of N managers needs floor(N/2)+1 of them to have a leader (raft). moby's own test
//! before a manager leaves is looser (`reachable-2 <= unreachable`, `daemon/cluster/utils.go`).

use bollard::models::{Node, Reachability};

use anyhow::Result;

use crate::fault::Fault;

/// How many managers there are and how many answer, this one included in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    pub managers: usize,
    pub reachable: usize,
    /// Hostnames or ids of those that do not answer.
    pub unreachable: Vec<String>,
}

impl Quorum {
    /// Reads it from the cluster's node list.
    pub fn of(nodes: &[Node]) -> Self {
        let mut quorum = Self { managers: 0, reachable: 0, unreachable: Vec::new() };
        for node in nodes {
            let Some(status) = &node.manager_status else {
                continue;
            };
            quorum.managers += 1;
            if status.reachability == Some(Reachability::REACHABLE) {
                quorum.reachable += 1;
            } else {
                let hostname = node.description.as_ref().and_then(|it| it.hostname.clone());
                quorum.unreachable.push(hostname.or(node.id.clone()).unwrap_or_default());
            }
        }
        quorum
    }

    /// Refuses if the others have no majority without this manager; answers with what to say where
    /// it is allowed but not free.
    pub fn may_stop_one(&self, allow_loss: bool) -> Result<Option<String>> {
        let majority = self.managers / 2 + 1;
        let left = self.reachable.saturating_sub(1);
        if left >= majority {
            return Ok(None);
        }
        if self.managers == 1 {
            return Ok(Some(
                "this is the only manager: the swarm has no control plane while its engine is stopped".to_owned(),
            ));
        }
        let situation = format!(
            "{} of {} managers answer and {majority} are needed: without this one {left} are left{}",
            self.reachable,
            self.managers,
            if self.unreachable.is_empty() {
                String::new()
            } else {
                format!(" (not answering: {})", self.unreachable.join(", "))
            }
        );
        if allow_loss {
            return Ok(Some(format!("the cluster loses its majority for a moment: {situation}")));
        }
        let mut fault =
            Fault::refused(format!("stopping this manager would cost the cluster its majority: {situation}"));
        if !self.unreachable.is_empty() {
            fault = fault.advice("bring the missing managers back first (`docker node ls`)");
        }
        if self.managers == 2 {
            fault = fault.advice("add a third manager: two survive no failure at all");
        }
        Err(fault
            .advice("or accept the loss for the time of the copy: `allow_quorum_loss = true` or --allow-quorum-loss")
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit::Exit, fault::Rendered};

    fn quorum(managers: usize, reachable: usize) -> Quorum {
        Quorum { managers, reachable, unreachable: (reachable..managers).map(|n| format!("m{n}")).collect() }
    }

    #[test]
    fn stops_only_where_the_others_keep_a_majority() {
        // managers, reachable, allowed without loss
        for (managers, reachable, allowed) in [
            (1, 1, true),
            (2, 2, false),
            (3, 3, true),
            (3, 2, false),
            (4, 4, true),
            (4, 3, false),
            (5, 4, true),
            (5, 3, false),
            (7, 5, true),
        ] {
            let guard = quorum(managers, reachable);
            assert_eq!(guard.may_stop_one(false).is_ok(), allowed, "{managers}/{reachable}");
            guard.may_stop_one(true).expect("loss is allowed");
        }
    }

    #[test]
    fn refusal_names_who_is_missing() {
        let error = quorum(3, 2).may_stop_one(false).expect_err("is refused");
        let rendered = Rendered::of(&error);
        assert_eq!(rendered.exit, Exit::Refused);
        assert!(rendered.what.contains("not answering: m2"), "{rendered}");
    }
}

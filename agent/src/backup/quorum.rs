//! The quorum guard: whether this manager's engine may be stopped or frozen for a moment.
//!
//! A cluster of N managers needs floor(N/2)+1 of them to have a leader (raft). moby's own test
//! before a manager leaves is looser (`reachable-2 <= unreachable`, `daemon/cluster/utils.go`).
//!
//! A frozen manager differs from a stopped one. It neither votes nor answers, but it is back before the others start a
//! leader election: that takes ten ticks of a second (swarmkit `manager/state/raft/raft.go`, `DefaultRaftConfig`), and
//! a freeze takes two seconds at most (`backup.max_freeze_ms`). So where the others have no majority without it, a
//! freeze makes writes wait for that moment and costs no leader: it is allowed and reported. A situation in which the
//! copy itself is doubtful (a manager that the leader does not reach, a group that is changing) is refused in both
//! modes.

use anyhow::Result;

use super::managers::{Managers, Member};
use crate::outcome::failure::Failure;

/// Kind of pause of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// Stopped for seconds: the others need a majority without it.
    Stopped,
    /// Frozen for no longer than the shortest timeout of the cluster.
    Frozen,
}

impl Managers {
    /// Refuses if the cluster would lose its majority with `own` down for a moment, or if `own` may not be up to date.
    /// Returns notes for the operator where the pause is allowed but has a cost.
    pub fn may_go(&self, own: &str, away: Away, allow_loss: bool) -> Result<Vec<String>> {
        self.check_settled()?;
        let own = self.check_followed(own)?;
        let mut notes: Vec<String> = self.keep_majority(away, allow_loss)?.into_iter().collect();
        let others = self.members.iter().any(|member| member.reachable && !member.leader);
        if own.leader && others && away == Away::Stopped {
            notes.push(
                "this manager is the leader: the others need 10 to 20 s to elect another when its engine stops; \
                 a backup on another manager costs nothing"
                    .to_owned(),
            );
        }
        if !self.remains.is_empty() {
            let names = self.remains.join(", ");
            notes.push(format!(
                "listed as managers, but neither members nor reachable: {names}; remove them with `docker node rm`"
            ));
        }
        Ok(notes)
    }

    fn check_settled(&self) -> Result<()> {
        if self.joining.is_empty() {
            return Ok(());
        }
        let names = self.joining.join(", ");
        Err(Failure::refused(format!("the group of managers is changing: {names} is joining it"))
            .advice("run again when `docker node ls` shows a manager status for it")
            // The engine demotes no node that is not in the group ("can't find manager in raft memberlist").
            .advice(
                "if that never comes: `docker swarm leave --force` on that node, then `docker node rm --force NODE` on a \
                 manager",
            )
            .into())
    }

    /// Refuses a manager that its leader does not reach: its state may be old.
    fn check_followed(&self, own: &str) -> Result<&Member> {
        let listed = self.member(own);
        listed.filter(|member| member.reachable).ok_or_else(|| {
            let what = match listed {
                Some(_) => "the leader of the swarm does not reach this manager, so its state may be old",
                None => "this node is not (or no longer) one of the swarm's managers",
            };
            Failure::refused(what).advice("see `docker node ls` on another manager").into()
        })
    }

    fn keep_majority(&self, away: Away, allow_loss: bool) -> Result<Option<String>> {
        let managers = self.members.len();
        let reachable = managers - self.unreachable().count();
        let majority = managers / 2 + 1;
        let left = reachable.saturating_sub(1);
        if left >= majority {
            return Ok(None);
        }
        if managers == 1 {
            let say = "this is the only manager: the swarm has no control plane while its engine is stopped";
            return Ok((away == Away::Stopped).then(|| say.to_owned()));
        }
        let missing: Vec<&str> = self.unreachable().map(|member| member.name.as_str()).collect();
        let situation = format!(
            "{reachable} of {managers} managers answer, {majority} are needed, and {left} would be left without this one{}",
            if missing.is_empty() { String::new() } else { format!(" (not answering: {})", missing.join(", ")) }
        );
        if away == Away::Frozen {
            return Ok(Some(format!("changes to the swarm wait while this manager is frozen: {situation}")));
        }
        if allow_loss {
            return Ok(Some(format!("the cluster loses its majority for a moment: {situation}")));
        }
        let mut failure =
            Failure::refused(format!("stopping this manager would cost the cluster its majority: {situation}"));
        if !missing.is_empty() {
            failure = failure.advice("bring the missing managers back first (see `docker node ls`)");
        }
        if managers == 2 {
            failure = failure.advice("add a third manager: two survive no failure at all");
        }
        Err(failure
            .advice("or accept the loss for the time of the copy: `allow_quorum_loss = true` or --allow-quorum-loss")
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backup::managers::tests::cluster,
        outcome::{exit::Exit, failure::Rendered},
    };

    /// This manager is `m0`; the first `reachable` managers answer.
    fn managers(managers: usize, reachable: usize) -> Managers {
        cluster(managers - 1, &(0..managers).map(|n| n < reachable).collect::<Vec<_>>())
    }

    fn refusal(result: Result<Vec<String>>) -> Rendered {
        let rendered = Rendered::of(&result.expect_err("is refused"));
        assert_eq!(rendered.exit, Exit::Refused, "{rendered}");
        rendered
    }

    #[test]
    fn stops_only_where_the_others_keep_a_majority() {
        // managers, reachable, allowed without loss
        for (all, reachable, allowed) in [
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
            let managers = managers(all, reachable);
            assert_eq!(managers.may_go("m0", Away::Stopped, false).is_ok(), allowed, "{all}/{reachable}");
            managers.may_go("m0", Away::Stopped, true).expect("loss is allowed");
        }
    }

    #[test]
    fn a_freeze_costs_no_majority_and_says_what_it_costs() {
        assert!(managers(3, 3).may_go("m0", Away::Frozen, false).expect("is allowed").is_empty());
        assert!(managers(1, 1).may_go("m0", Away::Frozen, false).expect("is allowed").is_empty());
        for (all, reachable) in [(2, 2), (3, 2), (4, 3)] {
            let notes = managers(all, reachable).may_go("m0", Away::Frozen, false).expect("is allowed");
            assert!(notes[0].contains("wait while this manager is frozen"), "{notes:?}");
        }
    }

    #[test]
    fn refusal_names_who_is_missing() {
        let rendered = refusal(managers(3, 2).may_go("m0", Away::Stopped, false));
        assert!(rendered.what.contains("not answering: host2"), "{rendered}");
    }

    #[test]
    fn a_changing_group_and_a_lost_follower_are_refused_in_both_modes() {
        let mut joining = managers(3, 3);
        joining.joining.push("host3".to_owned());
        let lost = cluster(1, &[false, true, true, true, true]);
        for away in [Away::Stopped, Away::Frozen] {
            let rendered = refusal(joining.may_go("m0", away, true));
            assert!(rendered.what.contains("host3 is joining"), "{rendered}");
            // One outside of the group cannot be demoted.
            assert!(rendered.advice.iter().all(|advice| !advice.contains("demote")), "{rendered}");
            assert!(rendered.advice[1].contains("`docker swarm leave --force` on that node"), "{rendered}");
            assert!(refusal(lost.may_go("m0", away, true)).what.contains("does not reach this manager"));
            assert!(refusal(lost.may_go("other", away, true)).what.contains("one of the swarm's managers"));
        }
    }

    #[test]
    fn the_leader_and_the_remains_of_a_restore_are_said() {
        let leader = cluster(0, &[true, true, true]);
        let notes = leader.may_go("m0", Away::Stopped, false).expect("is allowed");
        assert!(notes[0].contains("is the leader"), "{notes:?}");
        assert!(leader.may_go("m0", Away::Frozen, false).expect("is allowed").is_empty());
        let mut restored = managers(1, 1);
        restored.remains = vec!["old1".to_owned(), "old2".to_owned()];
        let notes = restored.may_go("m0", Away::Stopped, false).expect("is allowed");
        assert!(notes.iter().any(|note| note.contains("old1, old2")), "{notes:?}");
    }
}

//! Decides which manager makes a backup that is due, when the timers of all managers fire at once.
//!
//! There is no election service. Every manager polls the same two facts, the leader's list of managers and the newest
//! backup in the vaults, and comes to the same result. The designated runner is the reachable manager with the lowest
//! node id, the leader last, since its stop costs a leader election. The others may take over at a later poll:
//!
//! - **The designated runner does not answer.** It may be in the middle of the backup, since its engine is stopped
//!   then. So the next manager in line waits until its next poll, and takes over if the first still does not answer.
//! - **It answers, but its agent does not work.** Then no backup appears. The next in line takes over when it has been
//!   waiting for `schedule.takeover_after`, the one after that when it has been waiting twice as long, and so on.
//!
//! Each manager records for itself how long it has been waiting; the time since the backup was due does not count. When
//! vaults come back after a day, the backup is a day late for every manager, and all of them would start at once. For
//! the same reason the waiting starts again after a reboot and after a run that could not read the vaults, and the n-th
//! manager behind the designated runner must have polled n times. Only differences of one host's clock count, so clocks
//! may differ between hosts.

use std::{fmt, fs, io, path::PathBuf};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId};

use super::managers::{Managers, Member};
use crate::host::files::whole_file;

/// Longest time that a manager that does not answer is given to come back. The pause of a cold backup of a large swarm
/// is shorter, and the next run of the installed timer is later.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(2);

/// Time without a poll after which the waiting is forgotten: a little more than the interval of a daily timer.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(25);

/// Reason why this manager makes no backup now. An expected outcome, not a failure; the run exits with 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOurTurn(pub String);

impl fmt::Display for NotOurTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The designated runner of the next backup, and a manager's rank in the line behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Designation {
    /// Number of reachable managers before this one.
    rank: u32,
    /// Name of the designated runner.
    designated: String,
    /// Names of managers that would be before this one, but do not answer.
    silent: Vec<String>,
}

/// Record of a due backup that this manager leaves to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    cluster: ClusterId,
    /// The newest backup when the waiting began; another one ends it.
    newest: Option<String>,
    since: Timestamp,
    last: Timestamp,
    /// Named as in files of earlier versions, which an update must still read.
    #[serde(rename = "looks")]
    polls: u32,
}

/// One poll: the swarm, its newest backup, and the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    pub cluster: ClusterId,
    pub newest: Option<BackupId>,
    pub now: Timestamp,
}

impl Designation {
    /// Ranks the manager `own`, which must be one of `managers`.
    pub fn of(managers: &Managers, own: &str) -> Result<Self> {
        let own = managers.member(own).context("the cluster's node list lacks this manager")?;
        let before = |member: &&Member| (member.leader, &member.id) < (own.leader, &own.id);
        let ahead: Vec<&Member> = managers.members.iter().filter(before).collect();
        let line = ahead.iter().filter(|member| member.reachable);
        let designated = line.clone().min_by_key(|member| (member.leader, &member.id)).map_or(own, |first| first);
        Ok(Self {
            rank: line.count() as u32,
            designated: designated.name.clone(),
            silent: ahead.iter().filter(|member| !member.reachable).map(|member| member.name.clone()).collect(),
        })
    }

    /// Decides whether this manager makes the backup now. Returns a note if it takes over from another one. `takeover`
    /// is [`crate::config::schedule::Schedule::takeover_after`].
    pub fn may_go(
        &self,
        waiting: Option<&Waiting>,
        poll: &Poll,
        takeover: SignedDuration,
    ) -> Result<Option<String>, NotOurTurn> {
        if self.rank == 0 && self.silent.is_empty() {
            return Ok(None);
        }
        let waiting = waiting.filter(|waiting| waiting.is_about(poll));
        let waited = waiting.map_or(SignedDuration::ZERO, |waiting| poll.now.duration_since(waiting.since));
        let polls = waiting.map_or(0, |waiting| waiting.polls);
        let for_silent = if self.silent.is_empty() { SignedDuration::ZERO } else { takeover.min(LONGEST_PAUSE) };
        let needed = (takeover * self.rank as i32).max(for_silent);
        let needed_polls = self.rank + u32::from(!self.silent.is_empty());
        let reason = match self.rank {
            0 => format!("{} does not answer", self.silent.join(", ")),
            _ => format!("it is {}'s turn", self.designated),
        };
        if waited >= needed && polls >= needed_polls {
            let minutes = waited.as_mins();
            return Ok(Some(format!("took over: {reason}, and no backup came in the {minutes} min since it was due")));
        }
        let hint = match self.rank {
            0 => " and may be making the backup; this manager tries again at a later run".to_owned(),
            _ => format!("; this manager takes over when no backup has come for {} s", needed.as_secs()),
        };
        Err(NotOurTurn(format!("not this manager's turn: {reason}{hint}")))
    }
}

impl Waiting {
    fn is_about(&self, poll: &Poll) -> bool {
        let gap = poll.now.duration_since(self.last);
        self.cluster == poll.cluster
            && self.newest == poll.newest.map(|id| id.to_string())
            && gap < FORGOTTEN_AFTER
            && !gap.is_negative()
    }

    /// Counts one more poll that found the same backup missing, or the first one for another backup.
    fn renewed(before: Option<Self>, poll: &Poll) -> Self {
        match before.filter(|waiting| waiting.is_about(poll)) {
            Some(waiting) => Self { last: poll.now, polls: waiting.polls.saturating_add(1), ..waiting },
            None => Self {
                cluster: poll.cluster.clone(),
                newest: poll.newest.map(|id| id.to_string()),
                since: poll.now,
                last: poll.now,
                polls: 1,
            },
        }
    }
}

/// The file with the [`Waiting`] of this manager. It is on the runtime filesystem, so that a reboot removes it.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    /// That of backups that the schedule asks for.
    pub fn installed() -> Self {
        Self { path: "/run/swarmdr/waiting.json".into() }
    }

    /// That of backups that changes ask for: one kind may be late while the other is not.
    pub fn of_changes() -> Self {
        Self { path: "/run/swarmdr/waiting-changes.json".into() }
    }

    /// Reads the file. If it cannot be read, the waiting starts again.
    pub fn read(&self) -> Option<Waiting> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Records one more poll without a backup. A host that cannot write does not take over, and logs that.
    pub fn wait(&self, poll: &Poll) {
        let waiting = Waiting::renewed(self.read(), poll);
        let made = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(error) = made.and_then(|()| whole_file::replace_json(&self.path, &waiting)) {
            let path = self.path.display();
            tracing::warn!("this manager cannot take over for another: failed to write {path}: {error}");
        }
    }

    pub fn forget(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("failed to remove {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::managers::tests::cluster;

    const TAKEOVER: SignedDuration = SignedDuration::from_mins(30);

    fn poll(minutes: i64) -> Poll {
        Poll {
            cluster: "c".parse().expect("is an id"),
            newest: None,
            now: Timestamp::from_second(1_800_000_000 + 60 * minutes).expect("is a time"),
        }
    }

    /// Simulates one manager's timer, which polls every `step` minutes. Returns the polls before it makes the backup.
    fn polls_until_it_runs(managers: &Managers, own: &str, step: i64) -> usize {
        let designation = Designation::of(managers, own).expect("is a manager");
        let mut waiting = None;
        for n in 0.. {
            let poll = poll(step * n);
            if designation.may_go(waiting.as_ref(), &poll, TAKEOVER).is_ok() {
                return n as usize;
            }
            waiting = Some(Waiting::renewed(waiting, &poll));
            assert!(n < 100, "{own} never goes");
        }
        unreachable!()
    }

    #[test]
    fn exactly_one_goes_at_once_and_it_is_the_first_that_does_not_lead() {
        for managers in 1..=7 {
            for leader in 0..managers {
                let cluster = cluster(leader, &vec![true; managers]);
                let go = |own: &&Member| {
                    let designation = Designation::of(&cluster, &own.id).expect("is a manager");
                    designation.may_go(None, &poll(0), TAKEOVER).is_ok()
                };
                let going: Vec<&str> = cluster.members.iter().filter(go).map(|member| member.id.as_str()).collect();
                let expected = if leader == 0 && managers > 1 { "m1" } else { "m0" };
                assert_eq!(going, [expected], "{managers} managers, m{leader} leads");
            }
        }
    }

    #[test]
    fn one_after_the_other_takes_over_while_no_backup_comes() {
        let managers = cluster(0, &[true, true, true, true]);
        let turns = |step| ["m1", "m2", "m3", "m0"].map(|own| polls_until_it_runs(&managers, own, step));
        assert_eq!(turns(15), [0, 2, 4, 6]);
        // With daily timers there are still never two managers at one poll.
        assert_eq!(turns(24 * 60), [0, 1, 2, 3]);
    }

    #[test]
    fn a_silent_one_may_be_at_work_and_is_passed_over_at_the_next_poll() {
        let managers = cluster(2, &[false, true, true]);
        assert_eq!(["m1", "m2"].map(|own| polls_until_it_runs(&managers, own, 15)), [1, 2]);
        let designation = Designation::of(&managers, "m1").expect("is a manager");
        let first = designation.may_go(None, &poll(0), TAKEOVER).expect_err("waits");
        assert!(first.to_string().contains("host0 does not answer and may be making the backup"), "{first}");
        // A run by the operator in between does not count as the next poll.
        let waiting = Waiting::renewed(None, &poll(0));
        let soon = Poll { now: poll(0).now + SignedDuration::from_secs(5), ..poll(0) };
        designation.may_go(Some(&waiting), &soon, TAKEOVER).expect_err("still waits");
    }

    #[test]
    fn every_view_of_a_changing_cluster_elects_at_most_one_at_once() {
        // Managers may see different leaders and different silent managers. Then only the one that all of them put
        // first makes the backup, or none does. Here m0 is stopped for its backup, and the others poll.
        for leader in 1..5 {
            for seen in [[true; 5], [false, true, true, true, true]] {
                let managers = cluster(leader, &seen);
                for own in 1..5 {
                    let designation = Designation::of(&managers, &format!("m{own}")).expect("is a manager");
                    designation.may_go(None, &poll(0), TAKEOVER).expect_err("leaves it to m0");
                }
            }
        }
    }

    #[test]
    fn waiting_starts_anew_after_a_backup_and_a_long_silence() {
        let old = Waiting::renewed(None, &poll(0));
        let id = "20261121T031500Z-00000002".parse().ok();
        for (changed, anew) in [
            (poll(15), false),
            (Poll { newest: id, ..poll(15) }, true),
            (Poll { cluster: "other".parse().expect("is an id"), ..poll(15) }, true),
            (poll(26 * 60), true),
            (poll(-1), true),
        ] {
            let renewed = Waiting::renewed(Some(old.clone()), &changed);
            assert_eq!(renewed.polls, if anew { 1 } else { 2 }, "{changed:?}");
            assert_eq!(renewed.since, if anew { changed.now } else { old.since }, "{changed:?}");
        }
    }

    #[test]
    fn memory_survives_the_process_and_not_its_damage() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let memory = Memory { path: dir.path().join("new/waiting.json") };
        assert_eq!(memory.read(), None);
        memory.wait(&poll(0));
        memory.wait(&poll(15));
        assert_eq!(memory.read().expect("was written").polls, 2);
        assert!(fs::read_to_string(&memory.path).expect("reads").contains("\"looks\""));
        fs::write(&memory.path, "{").expect("writes");
        assert_eq!(memory.read(), None);
        memory.forget();
        memory.forget();
        assert!(!memory.path.exists());
    }
}

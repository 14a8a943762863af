//! Whose turn it is, when the timers of all managers fire at once.
//!
//! No service elects anybody. Every manager looks at the same two things, the leader's list of managers and the newest
//! backup in the vaults, and comes to the same answer: the reachable manager with the lowest node id goes on, the
//! leader last, since its stop costs an election. The others find out next time:
//!
//! - **It is down.** It may just as well be in the middle of the backup, for its engine is stopped then. So the next
//!   one waits until its next look, and goes on if the first is still away.
//! - **It is up, but its agent does not work.** Then no backup appears. The next in line takes over when it has been
//!   waiting for `schedule.takeover_after`, the one after that twice as long, and so on.
//!
//! How long a manager has been waiting is its own memory, not the time since the backup was due: when vaults come back
//! after a day, the backup is a day late for everybody, and all of them would go at once. For the same reason a
//! reboot and an unanswered question to the vaults start the waiting anew, and the n-th in line wants to have looked
//! n times. Only differences of one host's clock count, so clocks may differ between hosts.

use std::{fs, io, path::PathBuf};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use swarmdr_archive::BackupId;

use super::managers::{Managers, Member};
use crate::{exit::Exit, fault::Fault, whole_file};

/// A manager that does not answer is given at most this long to come back: a cold backup of a large swarm's longest
/// pause is shorter, and the next tick of the installed timer is later.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(2);

/// Waiting that was not renewed for so long is forgotten; a little more than a timer that fires once a day.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(25);

/// A manager's place in the line for the next backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Reachable managers before this one.
    rank: u32,
    /// The manager whose turn it is.
    elected: String,
    /// Managers that would be before this one, and do not answer.
    silent: Vec<String>,
}

/// What a manager remembers of a backup that is due and that it leaves to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    cluster: String,
    /// The newest backup at that time; another one ends the waiting.
    newest: Option<String>,
    since: Timestamp,
    last: Timestamp,
    looks: u32,
}

/// What is due, and the look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub cluster: String,
    pub newest: Option<BackupId>,
    pub now: Timestamp,
}

impl Place {
    /// Of the manager `own`, which must be one of them.
    pub fn of(managers: &Managers, own: &str) -> Result<Self> {
        let own = managers.member(own).context("the cluster's node list lacks this manager")?;
        let before = |member: &&Member| (member.leader, &member.id) < (own.leader, &own.id);
        let ahead: Vec<&Member> = managers.members.iter().filter(before).collect();
        let line = ahead.iter().filter(|member| member.reachable);
        let elected = line.clone().min_by_key(|member| (member.leader, &member.id)).map_or(own, |first| first);
        Ok(Self {
            rank: line.count() as u32,
            elected: elected.name.clone(),
            silent: ahead.iter().filter(|member| !member.reachable).map(|member| member.name.clone()).collect(),
        })
    }

    /// Whether this manager goes on now. `takeover` is [`crate::schedule::Schedule::takeover_after`].
    /// Answers with what to say about it.
    pub fn may_go(&self, waiting: Option<&Waiting>, look: &Look, takeover: SignedDuration) -> Result<Option<String>> {
        if self.rank == 0 && self.silent.is_empty() {
            return Ok(None);
        }
        let waiting = waiting.filter(|waiting| waiting.is_about(look));
        let waited = waiting.map_or(SignedDuration::ZERO, |waiting| look.now.duration_since(waiting.since));
        let looks = waiting.map_or(0, |waiting| waiting.looks);
        let for_silent = if self.silent.is_empty() { SignedDuration::ZERO } else { takeover.min(LONGEST_PAUSE) };
        let needed = (takeover * self.rank as i32).max(for_silent);
        let needed_looks = self.rank + u32::from(!self.silent.is_empty());
        let reason = match self.rank {
            0 => format!("{} does not answer", self.silent.join(", ")),
            _ => format!("it is {}'s turn", self.elected),
        };
        if waited >= needed && looks >= needed_looks {
            let minutes = waited.as_mins();
            return Ok(Some(format!("took over: {reason}, and no backup came in the {minutes} min since it was due")));
        }
        let hint = match self.rank {
            0 => " and may be making the backup; this manager goes on at a later look".to_owned(),
            _ => format!("; this manager takes over when no backup has come for {} s", needed.as_secs()),
        };
        Err(Fault::new(Exit::NotOurTurn, format!("not this manager's turn: {reason}{hint}")).into())
    }
}

impl Waiting {
    fn is_about(&self, look: &Look) -> bool {
        let gap = look.now.duration_since(self.last);
        self.cluster == look.cluster
            && self.newest == look.newest.map(|id| id.to_string())
            && gap < FORGOTTEN_AFTER
            && !gap.is_negative()
    }

    /// After one more look at the same backup that did not come, or the first at another.
    fn renewed(before: Option<Self>, look: &Look) -> Self {
        match before.filter(|waiting| waiting.is_about(look)) {
            Some(waiting) => Self { last: look.now, looks: waiting.looks.saturating_add(1), ..waiting },
            None => Self {
                cluster: look.cluster.clone(),
                newest: look.newest.map(|id| id.to_string()),
                since: look.now,
                last: look.now,
                looks: 1,
            },
        }
    }
}

/// The file in which a manager keeps what it waits for; on the runtime filesystem, so that a reboot forgets it.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    pub fn installed() -> Self {
        Self { path: "/run/swarmdr/waiting.json".into() }
    }

    /// What cannot be read is forgotten: then the waiting starts anew.
    pub fn read(&self) -> Option<Waiting> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Notes one more look in vain. A host that cannot write does not take over, and says so.
    pub fn wait(&self, look: &Look) {
        let waiting = Waiting::renewed(self.read(), look);
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
    use crate::{backup::managers::tests::cluster, fault::Rendered};

    const TAKEOVER: SignedDuration = SignedDuration::from_mins(30);

    fn look(minutes: i64) -> Look {
        Look {
            cluster: "c".to_owned(),
            newest: None,
            now: Timestamp::from_second(1_800_000_000 + 60 * minutes).expect("is a time"),
        }
    }

    /// One manager's timer: looks every `step` minutes, and says after how many it goes.
    fn looks_until_turn(managers: &Managers, own: &str, step: i64) -> usize {
        let place = Place::of(managers, own).expect("is a manager");
        let mut waiting = None;
        for n in 0.. {
            let look = look(step * n);
            match place.may_go(waiting.as_ref(), &look, TAKEOVER) {
                Ok(_) => return n as usize,
                Err(error) => assert_eq!(Rendered::of(&error).exit, Exit::NotOurTurn),
            }
            waiting = Some(Waiting::renewed(waiting, &look));
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
                    let place = Place::of(&cluster, &own.id).expect("is a manager");
                    place.may_go(None, &look(0), TAKEOVER).is_ok()
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
        let turns = |step| ["m1", "m2", "m3", "m0"].map(|own| looks_until_turn(&managers, own, step));
        assert_eq!(turns(15), [0, 2, 4, 6]);
        // Timers that fire once a day: still never two at one look.
        assert_eq!(turns(24 * 60), [0, 1, 2, 3]);
    }

    #[test]
    fn a_silent_one_may_be_at_work_and_is_passed_over_at_the_next_look() {
        let managers = cluster(2, &[false, true, true]);
        assert_eq!(["m1", "m2"].map(|own| looks_until_turn(&managers, own, 15)), [1, 2]);
        let place = Place::of(&managers, "m1").expect("is a manager");
        let first = place.may_go(None, &look(0), TAKEOVER).expect_err("waits");
        assert!(first.to_string().contains("host0 does not answer and may be making the backup"), "{first}");
        // A look of a person in between does not count as the next one.
        let waiting = Waiting::renewed(None, &look(0));
        let soon = Look { now: look(0).now + SignedDuration::from_secs(5), ..look(0) };
        place.may_go(Some(&waiting), &soon, TAKEOVER).expect_err("still waits");
    }

    #[test]
    fn every_view_of_a_changing_cluster_elects_at_most_one_at_once() {
        // Each manager may see another leader and another set of silent ones: then at most the one that everybody
        // puts first goes, or nobody. m0 is stopped for its backup, and the others look.
        for leader in 1..5 {
            for seen in [[true; 5], [false, true, true, true, true]] {
                let managers = cluster(leader, &seen);
                for own in 1..5 {
                    let place = Place::of(&managers, &format!("m{own}")).expect("is a manager");
                    place.may_go(None, &look(0), TAKEOVER).expect_err("leaves it to m0");
                }
            }
        }
    }

    #[test]
    fn waiting_starts_anew_after_a_backup_and_a_long_silence() {
        let old = Waiting::renewed(None, &look(0));
        let id = "20261121T031500Z-00000002".parse().ok();
        for (changed, anew) in [
            (look(15), false),
            (Look { newest: id, ..look(15) }, true),
            (Look { cluster: "other".to_owned(), ..look(15) }, true),
            (look(26 * 60), true),
            (look(-1), true),
        ] {
            let renewed = Waiting::renewed(Some(old.clone()), &changed);
            assert_eq!(renewed.looks, if anew { 1 } else { 2 }, "{changed:?}");
            assert_eq!(renewed.since, if anew { changed.now } else { old.since }, "{changed:?}");
        }
    }

    #[test]
    fn memory_survives_the_process_and_not_its_damage() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let memory = Memory { path: dir.path().join("new/waiting.json") };
        assert_eq!(memory.read(), None);
        memory.wait(&look(0));
        memory.wait(&look(15));
        assert_eq!(memory.read().expect("was written").looks, 2);
        fs::write(&memory.path, "{").expect("writes");
        assert_eq!(memory.read(), None);
        memory.forget();
        memory.forget();
        assert!(!memory.path.exists());
    }
}

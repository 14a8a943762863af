//! How things stand: what is stored where, what is due, what waits, what was proven, and whether somebody should look.
//!
//! Never asks the engine: a call on its socket would start it under the copy of a cold backup that runs meanwhile.

mod drilled;
mod gather;
mod show;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::{BackupId, manifest::Proof};

use crate::{
    exit::Exit,
    history::{History, Made, Proved, Run},
    host::absences::Absences,
    vault::{
        Lock,
        catalog::{Place, order},
    },
};

pub use drilled::{Drill, Drilled};
pub use gather::gather;
pub use show::plain;

/// The stable JSON form of `status --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub at: Timestamp,
    pub level: Level,
    /// What made it so, the worst first.
    pub reasons: Vec<Reason>,
    /// Absent where the schedule is off.
    pub schedule: Option<Due>,
    /// In the order of the configuration.
    pub vaults: Vec<VaultStatus>,
    pub spool: SpoolStatus,
    /// What stopping the engine has cost this host.
    pub absences: Absences,
    pub last_run: Option<Run>,
    pub last_backup: Option<Made>,
    pub last_proof: Option<Proved>,
    pub drills: Drilled,
    /// What is known of a restore on this host that was cut short.
    pub unfinished_restore: Option<String>,
    #[serde(skip)]
    pub history: History,
}

/// As Nagios orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warning,
    Critical,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub level: Level,
    pub text: String,
}

/// When the next backup is to come, counted from the newest one that is stored.
#[derive(Debug, Clone, Serialize)]
pub struct Due {
    /// Absent if there is no backup at all, or if the expression has no further time.
    pub next: Option<Timestamp>,
    /// Seconds that a backup may be late.
    pub grace: i64,
    /// Later than that.
    pub stale: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct VaultStatus {
    pub url: String,
    pub required: bool,
    /// Why it could not be looked into.
    pub error: Option<String>,
    pub newest: Option<Newest>,
    /// The one whose age counts: no backup from the future.
    #[serde(skip)]
    pub freshest: Option<BackupId>,
    /// Objects with the name of a newer backup that are none: forged, damaged, misplaced.
    pub findings: Vec<String>,
}

/// The newest backup of one vault.
#[derive(Debug, Clone, Serialize)]
pub struct Newest {
    pub id: String,
    pub created_at: Timestamp,
    /// By the vault's clock.
    pub stored_at: Timestamp,
    pub cluster_id: String,
    pub hostname: String,
    pub size: u64,
    pub proof: Proof,
    /// Absent where the vault cannot lock.
    pub lock: Option<Lock>,
    /// It could not be read, so that it is absent says nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lock_unread: bool,
    #[serde(skip)]
    pub place: Place,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SpoolStatus {
    pub archives: u64,
    pub bytes: u64,
    pub oldest: Option<Timestamp>,
    pub damaged: u64,
    pub full: bool,
}

impl Status {
    /// The newest backup over all vaults.
    pub fn newest(&self) -> Option<&Newest> {
        let all: Vec<&Newest> = self.vaults.iter().filter_map(|vault| vault.newest.as_ref()).collect();
        let places: Vec<Place> = all.iter().map(|newest| newest.place.clone()).collect();
        order::newest(&places, |_| true, self.at).map(|index| all[index])
    }

    /// The one whose age counts, over all vaults.
    pub fn freshest(&self) -> Option<BackupId> {
        self.vaults.iter().filter_map(|vault| vault.freshest).max()
    }

    /// For `status` itself; see [`Status::nagios`] for the other convention.
    pub fn exit(&self) -> Exit {
        match self.level {
            Level::Ok => Exit::Done,
            Level::Warning => Exit::Attention,
            Level::Critical if self.newest().is_none() => Exit::NothingUsable,
            Level::Critical => Exit::Failed,
        }
    }

    /// Finds what is wrong, and sets the level by it.
    pub fn judge(&mut self) {
        let mut reasons = Vec::new();
        let mut say = |level, text: String| reasons.push(Reason { level, text });
        self.judge_backups(&mut say);
        self.judge_vaults(&mut say);
        self.judge_host(&mut say);
        self.drills.judge(self.at, &mut say);
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.level));
        self.level = reasons.first().map_or(Level::Ok, |worst| worst.level);
        self.reasons = reasons;
    }

    fn judge_backups(&self, say: &mut impl FnMut(Level, String)) {
        let Some(newest) = self.newest() else {
            say(Level::Critical, "no backup that verifies is in any vault".to_owned());
            return;
        };
        if let Some(due) = self.schedule.as_ref().filter(|due| due.stale) {
            let next = due.next.map_or_else(String::new, |next| format!(": one was due at {next}"));
            say(Level::Critical, format!("the newest backup is too old ({}){next}", newest.created_at));
        }
        if !newest.place.is_past(self.at) {
            let why = "the clock of its manager or of this host is wrong; its age counts for nothing";
            say(Level::Warning, format!("the newest backup {} is from the future: {why}", newest.id));
        }
        if newest.proof == Proof::Unproven {
            say(Level::Critical, format!("the newest backup {} cannot be relied on: its raft log breaks", newest.id));
        }
        if newest.lock.is_some_and(|lock| lock.until <= self.at) {
            say(Level::Warning, format!("the lock of the newest backup {} has ended: it can be deleted", newest.id));
        }
        if let Some(proof) = self.last_proof.as_ref().filter(|proof| !proof.good) {
            say(Level::Critical, format!("a stored backup did not verify at {}", proof.at));
        }
    }

    fn judge_vaults(&self, say: &mut impl FnMut(Level, String)) {
        let newest = self.newest().map(|newest| newest.place.digest);
        for vault in &self.vaults {
            let level = if vault.required { Level::Critical } else { Level::Warning };
            match (&vault.error, &vault.newest) {
                (Some(error), _) => say(level, error.clone()),
                (None, held) if held.as_ref().map(|held| held.place.digest) != newest => {
                    say(Level::Warning, format!("{} lacks the newest backup", vault.url));
                }
                _ => {}
            }
            for finding in &vault.findings {
                say(Level::Warning, format!("{}: {finding}", vault.url));
            }
        }
    }

    fn judge_host(&self, say: &mut impl FnMut(Level, String)) {
        if let Some(until) = self.absences.not_before(self.at) {
            say(Level::Critical, self.absences.told(until));
        }
        let spool = &self.spool;
        if spool.full {
            say(Level::Critical, format!("the spool is full ({} archives): no backup is made", spool.archives));
        } else if spool.archives > 0 {
            say(Level::Warning, format!("{} archives wait in the spool for a vault", spool.archives));
        }
        if spool.damaged > 0 {
            say(Level::Warning, format!("{} damaged archives were set aside in the spool", spool.damaged));
        }
        if let Some(told) = &self.unfinished_restore {
            say(Level::Critical, told.clone());
        }
        match &self.last_run {
            Some(run) if matches!(run.exit, 0 | 3) => {}
            Some(run) => {
                let why = run.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
                say(
                    Level::Warning,
                    format!("the last backup run on this host, at {}, ended `{}`{why}", run.at, run.result),
                );
            }
            None => {}
        }
    }
}

impl Due {
    /// From the newest backup over all vaults.
    pub fn new(
        schedule: &crate::schedule::Schedule,
        newest: Option<BackupId>,
        grace: SignedDuration,
        now: Timestamp,
    ) -> Self {
        let next = newest.and_then(|newest| schedule.next_after(newest.created_at()));
        let stale = newest.is_none() || next.is_some_and(|next| next + grace < now);
        Self { next, grace: grace.as_secs(), stale }
    }
}

#[cfg(test)]
pub(crate) mod tests;

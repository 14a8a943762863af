//! Status of the backups: what is stored where, what is due, what waits in the spool, what was proven, and whether the
//! operator should look.
//!
//! The engine is asked for nodes that were left drained, for the claim that it carries, for the place of its state where
//! streams are configured, and with `watch.removals` for its objects, and only while its unit is active: a call on its socket would start it during the copy of a cold backup.

mod claimed;
mod drilled;
mod gather;
mod living;
mod look;
mod own_node;
mod points;
mod show;
mod sign_of_life;
mod standby;
mod streams;
mod tidied;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::{BackupId, ClusterId, manifest::Proof};
use swarmdr_vault::{
    Lock,
    catalog::{Place, order},
};

use crate::{
    archive::removals::removed::Removed,
    downtime::stop_history::StopHistory,
    nodes::tidy,
    observe::{
        history::{History, Made, Proved},
        runs::{Run, StoredExit},
    },
    outcome::{count::count, exit::Exit},
    restore::images::memory::ImagesChecked,
};

pub use claimed::Claimed;
pub use drilled::{Drill, Drilled};
pub use gather::gather;
pub use points::PointStatus;
pub use show::plain;
pub use sign_of_life::OwnSign;
pub use standby::Standby;
pub use streams::{StreamInVault, StreamStatus};

/// The stable JSON form of `status --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub at: Timestamp,
    pub level: Level,
    /// Reasons for the level, the worst first.
    pub reasons: Vec<Reason>,
    /// When the next backup is due; absent if the schedule is off.
    pub schedule: Option<Due>,
    /// Whether this host is a worker that stores streams: backups are not its business.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub streams_only: bool,
    /// The vaults, in the order of the configuration.
    pub vaults: Vec<VaultStatus>,
    /// The streams that this host stores or the vaults hold, by name.
    pub streams: Vec<StreamStatus>,
    /// The recovery points; absent where this host has no data that belongs to the state, and there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<PointStatus>,
    pub spool: SpoolStatus,
    /// Earlier stops of the engine on this host, and those without a backup.
    pub absences: StopHistory,
    pub last_run: Option<Run>,
    pub last_backup: Option<Made>,
    pub last_proof: Option<Proved>,
    pub drills: Drilled,
    /// Description of an interrupted restore on this host.
    pub unfinished_restore: Option<String>,
    /// Description of a claim that a restore of this host left, and that supersedes a site which works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_claim: Option<String>,
    /// What was removed from the swarm since the last backup; absent without `watch.removals`, and if it is not known.
    pub removed: Option<Removed>,
    /// What this host found out last about the images of the swarm; absent if that is long ago.
    pub images: Option<ImagesChecked>,
    /// The last sign of life of this host; absent unless `standby.sign_of_life` is set.
    pub sign_of_life: Option<OwnSign>,
    /// What this host keeps as a standby; absent if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,
    /// The claims on the swarm that this host manages; absent if it manages none, or knows no promoter.
    pub claims: Option<Claimed>,
    /// Nodes that an interrupted `node tidy` left drained although they are ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_drained: Vec<String>,
    #[serde(skip)]
    pub history: History,
}

/// Severity, in the order of Nagios.
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

/// When the next backup is due, counted from the newest one that is stored.
#[derive(Debug, Clone, Serialize)]
pub struct Due {
    /// Absent if there is no backup at all, or if the expression has no further time.
    pub next: Option<Timestamp>,
    /// Seconds that a backup may be late.
    pub grace: i64,
    /// Whether the next backup is later than `grace` allows, or there is no backup at all.
    pub stale: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct VaultStatus {
    pub url: String,
    pub required: bool,
    /// Why the vault could not be read.
    pub error: Option<String>,
    pub newest: Option<Newest>,
    /// The newest backup that is not from the future: its age counts.
    #[serde(skip)]
    pub freshest: Option<BackupId>,
    /// Objects that have the name of a newer backup but are forged, damaged or misplaced; also invalid receipts, and a
    /// lock that cannot be read.
    pub findings: Vec<String>,
}

/// The newest backup of one vault.
#[derive(Debug, Clone, Serialize)]
pub struct Newest {
    pub id: String,
    pub created_at: Timestamp,
    /// When it was stored, by the vault's clock.
    pub stored_at: Timestamp,
    pub cluster_id: ClusterId,
    pub hostname: String,
    pub size: u64,
    pub proof: Proof,
    /// Absent where the backup is not locked, and where `lock_unread`.
    pub lock: Option<Lock>,
    /// Whether the lock could not be read; an absent `lock` then means nothing.
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

    /// The newest backup over all vaults that is not from the future: its age counts.
    pub fn freshest(&self) -> Option<BackupId> {
        self.vaults.iter().filter_map(|vault| vault.freshest).max()
    }

    /// Exit code of `status` itself; see [`Level::nagios`] for that of a Nagios plugin.
    pub fn exit(&self) -> Exit {
        match self.level {
            Level::Ok => Exit::Done,
            Level::Warning => Exit::Attention,
            Level::Critical if self.newest().is_none() && !self.streams_only => Exit::NothingUsable,
            Level::Critical => Exit::Failed,
        }
    }

    /// Finds everything that is wrong, and sets the level to the worst of it.
    pub fn judge(&mut self) {
        let mut reasons = Vec::new();
        let mut say = |level, text: String| reasons.push(Reason { level, text });
        if !self.streams_only {
            self.judge_backups(&mut say);
        }
        self.streams.iter().for_each(|stream| stream.judge(self.at, &mut say));
        if let Some(points) = self.points.as_ref().filter(|_| !self.streams_only) {
            points.judge(&self.streams, self.at, &mut say);
        }
        self.judge_vaults(&mut say);
        self.judge_host(&mut say);
        self.sign_of_life.iter().for_each(|sign| sign.judge(&mut say));
        if let Some(claims) = &self.claims {
            claims.judge(&mut say);
        }
        self.drills.judge(self.at, &mut say);
        if let Some(standby) = &self.standby {
            standby.judge(self.newest(), &mut say);
        }
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
                (None, held) if !self.streams_only && held.as_ref().map(|held| held.place.digest) != newest => {
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
            say(Level::Critical, self.absences.describe(until));
        }
        let spool = &self.spool;
        if spool.full {
            say(
                Level::Critical,
                format!("the spool is full ({}): no backup is made", count(spool.archives, "archive")),
            );
        } else if spool.archives > 0 {
            say(Level::Warning, format!("waiting in the spool for a vault: {}", count(spool.archives, "archive")));
        }
        if spool.damaged > 0 {
            say(Level::Warning, format!("set aside in the spool as damaged: {}", count(spool.damaged, "archive")));
        }
        for told in self.unfinished_restore.iter().chain(&self.left_claim) {
            say(Level::Critical, told.clone());
        }
        if let Some(removed) = self.removed.as_ref().filter(|removed| !removed.is_empty()) {
            let told = format!("removed since the last backup {}: {}", removed.since, removed.words());
            say(Level::Warning, told);
        }
        if !self.left_drained.is_empty() {
            say(Level::Warning, format!("{}; {}", tidy::told(&self.left_drained), tidy::REMEDY));
        }
        if let Some(missing) = self.images.as_ref().and_then(ImagesChecked::words) {
            say(Level::Warning, missing);
        }
        match &self.last_run {
            Some(run) if matches!(run.exit, StoredExit::Known(Exit::Done | Exit::NotOurTurn)) => {}
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
    /// Returns when the next backup is due after `newest`, the newest over all vaults.
    pub fn new(
        schedule: &crate::config::schedule::Schedule,
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

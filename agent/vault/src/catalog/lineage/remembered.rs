//! The last-seen record of a host, and what became of the backup in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId, Digest};

/// Last-seen record of a host: the newest backup that it knows to have been stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub id: BackupId,
    pub cluster: ClusterId,
    pub sequence: u64,
    /// End of its longest lock, if one is known.
    #[serde(default)]
    pub locked_until: Option<Timestamp>,
    /// Digest of its manifest, by which it is recognized when its signing key is no longer trusted. Absent in records
    /// of earlier versions of the agent.
    #[serde(default)]
    pub digest: Option<Digest>,
}

/// Explanation for a stored backup that is in no vault any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Its lock has ended, or it had none, and there are newer backups: it may have been pruned.
    Pruned,
    /// Its lock has ended, and there is no newer backup.
    Unlocked,
    /// Its lock must still hold, or it had none and there is no newer backup: an attacker or a mistake removed it.
    TakenAway,
}

impl Remembered {
    /// Explains the absence of this backup from all vaults; `newest` is the number of the newest backup in them.
    pub fn gone(&self, newest: Option<u64>, now: Timestamp) -> Gone {
        let newer = newest.is_some_and(|newest| newest > self.sequence);
        match self.locked_until {
            Some(until) if until > now => Gone::TakenAway,
            _ if newer => Gone::Pruned,
            Some(_) => Gone::Unlocked,
            None => Gone::TakenAway,
        }
    }
}

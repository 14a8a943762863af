//! One backup of a lineage, and its copies.

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, Digest};

use super::{
    super::{Place, Timing},
    MARGIN,
};

/// One backup of a lineage: its signed place, and its copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: BackupId,
    pub sequence: u64,
    pub previous: Option<Digest>,
    pub digest: Digest,
    /// Time when it was complete: for a backup, the time in its id.
    pub ended: Timestamp,
    /// Whether its signing key was trusted when it was stored. If not, managers need not follow it.
    pub trusted: bool,
    pub copies: Vec<StoredCopy>,
}

/// Copy of a backup in one vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCopy {
    /// Address of the vault.
    pub vault: String,
    /// Time of storing by the vault's clock.
    pub stored: Timestamp,
    /// End of the lock; `None` if there is no lock, or it is not known.
    pub locked_until: Option<Timestamp>,
}

impl Member {
    pub fn new(place: &Place, copies: Vec<StoredCopy>) -> Self {
        let Place { id, sequence, previous, digest, ended, .. } = *place;
        Self { id, sequence, previous, digest, ended, trusted: true, copies }
    }

    /// Whether managers need not follow this backup.
    pub(super) fn is_ignored(&self) -> bool {
        !self.trusted || self.is_impossible()
    }

    /// Whether a vault stored it before the time in its id.
    pub(super) fn is_impossible(&self) -> bool {
        self.copies.iter().any(|copy| Timing::of(self.id.created_at(), copy.stored) == Timing::Impossible)
    }

    /// Whether `copy` was stored first, when the backup was made. A vault that got a later copy may have been down
    /// until then.
    pub(super) fn was_made_with(&self, copy: &StoredCopy) -> bool {
        let is_first = self.copies.iter().all(|other| copy.stored <= other.stored);
        is_first
            && copy.stored.duration_since(self.id.created_at()) >= -MARGIN
            && copy.stored.duration_since(self.ended) <= MARGIN
    }

    /// Returns the length of its shortest lock, counted from the time when it was complete; `None` if a copy has no known lock.
    pub(super) fn lock_length(&self) -> Option<SignedDuration> {
        let until = self.copies.iter().map(|copy| copy.locked_until).min().flatten()?;
        Some(until.duration_since(self.ended))
    }
}

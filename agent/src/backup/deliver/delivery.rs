//! The result of a delivery: where the archive is now, and where it is not.

use anyhow::{Error, Result};
use serde::Serialize;
use swarmdr_archive::{BackupId, ClusterId};

use crate::{backup::spool::Spooled, outcome::failure::Failure, vaults::StoredBackup};

/// Result of a delivery: the vaults that have the archive, and the errors of those that do not.
#[derive(Debug)]
pub struct Delivery {
    pub id: BackupId,
    pub cluster: ClusterId,
    pub kept: Vec<StoredBackup>,
    pub(super) missing: Vec<Missing>,
}

/// A vault that does not have the archive, and why.
#[derive(Debug)]
pub(super) struct Missing {
    /// True if the backup has failed without it.
    pub required: bool,
    pub error: Error,
}

/// A [`Delivery`] as it appears in a report.
#[derive(Debug, Serialize)]
pub struct Sent {
    pub id: BackupId,
    pub kept: Vec<StoredBackup>,
    /// The reasons why other vaults do not have it; empty if all have it.
    pub missing: Vec<String>,
}

impl Delivery {
    /// True if at least one vault and every required one has the archive.
    pub fn is_stored(&self) -> bool {
        !self.kept.is_empty() && !self.missing.iter().any(|missing| missing.required)
    }

    /// True if every vault has the archive.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// True if this run stored the archive in some vault.
    pub fn stored_something(&self) -> bool {
        self.kept.iter().any(|kept| kept.new)
    }

    /// The URLs of the vaults that have the archive.
    pub fn vaults(&self) -> impl Iterator<Item = String> {
        self.kept.iter().map(|kept| kept.vault.clone())
    }

    /// Returns the reasons why some vaults do not have the archive.
    pub fn complaints(&self) -> Vec<String> {
        self.missing.iter().map(|missing| format!("{:#}", missing.error)).collect()
    }

    pub(super) fn places(&self) -> String {
        self.kept.iter().map(|kept| kept.vault.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Fails unless [`Self::is_stored`]; the error says where the archive waits.
    pub fn require_stored(mut self, spooled: &Spooled) -> Result<Self> {
        if self.is_stored() {
            return Ok(self);
        }
        let what = match self.kept.is_empty() {
            true => "the backup was made but could not be stored".to_owned(),
            false => format!("the backup was made and is in {}, but not in every required vault", self.places()),
        };
        let cause = self.missing.iter().position(|missing| missing.required).unwrap_or_default();
        Err(Failure::failed(what)
            .advice(format!(
                "it waits, sealed, in {}; repair the vault, and the next run sends it",
                spooled.path.display()
            ))
            .because(self.missing.swap_remove(cause).error)
            .into())
    }

    pub fn into_sent(self) -> Sent {
        Sent { id: self.id, missing: self.complaints(), kept: self.kept }
    }
}

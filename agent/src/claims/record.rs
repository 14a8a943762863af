//! The claim of this host, in a file below its state directory: a run that was killed goes on with its own claim.

use std::{fs, io, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use swarmdr_archive::ClusterId;

use super::ClaimId;
use crate::{config::Config, host::files::whole_file};

const VERSION: u32 = 1;

/// The last claim that this host made, or was about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    pub cluster_id: ClusterId,
    pub epoch: u32,
    pub claim_id: ClaimId,
    /// True until whoever makes it knows what became of it: no swarm can carry it before.
    #[serde(default)]
    pub is_unfinished: bool,
}

impl Record {
    pub fn new(cluster_id: ClusterId, epoch: u32, claim_id: ClaimId) -> Self {
        Self { version: VERSION, cluster_id, epoch, claim_id, is_unfinished: false }
    }

    /// The record of a claim that is about to be made.
    pub fn unfinished(cluster_id: ClusterId, epoch: u32, claim_id: ClaimId) -> Self {
        Self { is_unfinished: true, ..Self::new(cluster_id, epoch, claim_id) }
    }

    /// Reads the record if it is about this cluster. One that cannot be read counts as none: the vaults know the
    /// claims, and who does not know its own waits or is told to.
    pub fn read(config: &Config, cluster: &ClusterId) -> Option<Self> {
        let record: Self = whole_file::read_json(&path(config))?;
        (record.version == VERSION && record.cluster_id == *cluster).then_some(record)
    }

    /// Writes the record. Durable when this returns, so a claim is never made that its own host does not know.
    pub fn write(&self, config: &Config) -> Result<()> {
        let path = path(config);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&config.state_dir)?;
            whole_file::replace_json(&path, self)
        };
        write().with_context(|| format!("failed to write {}", path.display()))
    }

    /// Removes the record if it names this claim. A failure is only logged: a record of a claim that does not hold
    /// means nothing.
    pub fn forget(config: &Config, claim: ClaimId) {
        let path = path(config);
        let found: Option<Self> = whole_file::read_json(&path);
        if found.is_some_and(|record| record.claim_id == claim)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!("{} could not be removed: {error}", path.display());
        }
    }
}

fn path(config: &Config) -> PathBuf {
    config.state_dir.join("claim.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_belongs_to_its_cluster_and_what_is_damaged_is_none() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        let id = |text: &str| text.parse::<ClusterId>().expect("is an id");
        assert_eq!(Record::read(&config, &id("a")), None);
        let record = Record::new(id("a"), 3, ClaimId::of(1));
        record.write(&config).expect("writes");
        assert_eq!(Record::read(&config, &id("a")), Some(record));
        assert_eq!(Record::read(&config, &id("b")), None);
        Record::forget(&config, ClaimId::of(2));
        assert!(path(&config).exists());
        Record::forget(&config, ClaimId::of(1));
        assert!(!path(&config).exists());
        fs::write(path(&config), "{").expect("writes");
        assert_eq!(Record::read(&config, &id("a")), None);
    }
}

//! The claim of this host, in a file below its state directory: a run that was killed goes on with its own claim.

use std::{fs, io, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use swarmdr_archive::ClusterId;

use super::ClaimId;
use crate::{config::Config, host::files::whole_file};

const VERSION: u32 = 1;

/// How far this host came with its claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is being put into the vaults, and nobody knows yet what became of it.
    Begun,
    /// This host may use it, and has placed nothing by it.
    Won,
    /// A state was placed by it, or is about to be, or a program raises a site by it: a swarm may carry it.
    #[default]
    Used,
    /// What it was used for is undone, and no vault took the release.
    Undone,
}

/// The last claim that this host made, or was about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    pub cluster_id: ClusterId,
    pub epoch: u32,
    pub claim_id: ClaimId,
    /// Of a claim that an older agent made, a swarm may carry it.
    #[serde(default)]
    pub stage: Stage,
}

impl Record {
    pub fn new(cluster_id: ClusterId, epoch: u32, claim_id: ClaimId, stage: Stage) -> Self {
        Self { version: VERSION, cluster_id, epoch, claim_id, stage }
    }

    /// Whether nobody stands behind the claim unless the run that made it is under way: no swarm can carry it.
    pub fn is_bare(&self) -> bool {
        self.stage != Stage::Used
    }

    /// Whether an earlier attempt to end the claim failed.
    pub fn is_owed(&self) -> bool {
        self.stage == Stage::Undone
    }

    /// Reads the record if it is about this cluster. One that cannot be read counts as none: the vaults know the
    /// claims, and who does not know its own waits or is told to.
    pub fn read(config: &Config, cluster: &ClusterId) -> Option<Self> {
        Self::of_host(config).filter(|record| record.cluster_id == *cluster)
    }

    /// Reads the record, whatever cluster it is about.
    pub fn of_host(config: &Config) -> Option<Self> {
        whole_file::read_json(&path(config)).filter(|record: &Self| record.version == VERSION)
    }

    /// Notes how far this host has come, if the record names this claim.
    pub fn advance(config: &Config, claim: ClaimId, stage: Stage) -> Result<()> {
        match Self::of_host(config).filter(|record| record.claim_id == claim && record.stage != stage) {
            Some(record) => Self { stage, ..record }.write(config),
            None => Ok(()),
        }
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
        let record = Record::new(id("a"), 3, ClaimId::of(1), Stage::Begun);
        record.write(&config).expect("writes");
        assert_eq!(Record::read(&config, &id("a")), Some(record.clone()));
        Record::advance(&config, ClaimId::of(2), Stage::Used).expect("is of another claim");
        assert_eq!(Record::of_host(&config), Some(record));
        Record::advance(&config, ClaimId::of(1), Stage::Used).expect("writes");
        assert!(Record::of_host(&config).is_some_and(|record| !record.is_bare()));
        assert_eq!(Record::read(&config, &id("b")), None);
        Record::forget(&config, ClaimId::of(2));
        assert!(path(&config).exists());
        Record::forget(&config, ClaimId::of(1));
        assert!(!path(&config).exists());
        let older = format!(r#"{{"version":1,"cluster_id":"a","epoch":3,"claim_id":"{}"}}"#, ClaimId::of(1));
        fs::write(path(&config), older).expect("writes");
        assert!(Record::read(&config, &id("a")).is_some_and(|record| !record.is_bare()), "an older agent made it");
        fs::write(path(&config), "{").expect("writes");
        assert_eq!(Record::read(&config, &id("a")), None);
    }
}

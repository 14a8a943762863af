//! The newest backup whose settings this host knows: what a look at the swarm is compared with, without a vault.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId, Digest};

use super::BackupPlan;
use crate::{config::Config, host::files::whole_file};

/// A backup and the digest of the settings in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub cluster: ClusterId,
    pub id: BackupId,
    pub specs: Digest,
    pub kept: Kept,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// On this host, until a vault takes it.
    Spool,
    Vault,
}

impl Saved {
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("saved.json")
    }

    /// Reads the record. A damaged one counts as none: then the vaults are asked.
    pub fn read(config: &Config) -> Option<Self> {
        whole_file::read_json(&Self::path(&config.state_dir))
    }

    /// Records what a run made.
    pub(super) fn note(config: &Config, plan: &BackupPlan, kept: Kept) {
        let Some(specs) = plan.specs else { return };
        Self { cluster: plan.cluster_id.clone(), id: plan.id, specs, kept }.write(config);
    }

    /// Writes the record. A host that cannot write asks the vaults again each time, and logs that.
    pub(super) fn write(&self, config: &Config) {
        let path = Self::path(&config.state_dir);
        if let Err(error) = whole_file::replace_json(&path, self) {
            tracing::warn!("failed to write {}: {error}", path.display());
        }
    }

    /// True if these settings are in a vault.
    pub fn holds(&self, specs: Digest) -> bool {
        self.kept == Kept::Vault && self.specs == specs
    }
}

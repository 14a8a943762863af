//! The newest backup whose settings this host knows: what a look at the swarm is compared with, without a vault.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
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
    /// When a run found that out, which tells one record from the next.
    pub noted_at: Timestamp,
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
        Self { cluster: plan.cluster_id.clone(), id: plan.id, specs, kept, noted_at: Timestamp::now() }.write(config);
    }

    /// Writes the record. A host that cannot write asks the vaults again each time, and logs that.
    pub(super) fn write(&self, config: &Config) {
        let path = Self::path(&config.state_dir);
        if let Err(error) = whole_file::replace_json(&path, self) {
            tracing::warn!("failed to write {}: {error}", path.display());
        }
    }
}

/// What one who watches the swarm believes of the record.
///
/// It says what the newest backup held when it was written. Another manager may have made one of other settings since, and
/// people may have set what was set before again: then the newest backup does not hold what is set. So a record counts only
/// as long as nothing else was seen since, and the swarm was looked at all the time.
#[derive(Debug)]
pub struct Belief {
    doubted: Option<Saved>,
}

impl Belief {
    /// Nothing that was written before counts.
    pub fn begin(config: &Config) -> Self {
        Self { doubted: Saved::read(config) }
    }

    /// Takes that the swarm could not be looked at for a while.
    pub fn looked_away(&mut self, saved: Option<Saved>) {
        self.doubted = saved;
    }

    /// Takes what is set, and returns whether the newest backup holds it, in a vault.
    pub fn holds(&mut self, saved: Option<Saved>, specs: Digest) -> bool {
        let Some(saved) = saved.filter(|saved| self.doubted.as_ref() != Some(saved)) else { return false };
        if saved.specs != specs {
            self.doubted = Some(saved);
            return false;
        }
        saved.kept == Kept::Vault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(specs: Digest, kept: Kept, second: i64) -> Option<Saved> {
        let noted_at = Timestamp::from_second(1_800_000_000 + second).expect("is a time");
        let id = "20261121T031500Z-00000001".parse().expect("is an id");
        Some(Saved { cluster: "c".parse().expect("is an id"), id, specs, kept, noted_at })
    }

    #[test]
    fn what_is_set_back_is_not_taken_for_saved_if_another_manager_saved_what_was_between() {
        let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
        let old = || saved(first, Kept::Vault, 0);
        let mut belief = Belief { doubted: None };
        assert!(belief.holds(old(), first));
        // A change, which another manager may back up, and its undoing.
        assert!(!belief.holds(old(), second));
        assert!(!belief.holds(old(), first));
        // The vaults were asked, and say that their newest one holds it.
        assert!(belief.holds(saved(first, Kept::Vault, 1), first));
        assert!(!belief.holds(saved(first, Kept::Spool, 2), first));
        assert!(!belief.holds(None, first));
    }

    #[test]
    fn what_was_written_before_a_gap_does_not_count_after_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let specs = Digest::of(b"x");
        saved(specs, Kept::Vault, 0).expect("is one").write(&config);
        let mut belief = Belief::begin(&config);
        assert!(!belief.holds(Saved::read(&config), specs));
        saved(specs, Kept::Vault, 1).expect("is one").write(&config);
        assert!(belief.holds(Saved::read(&config), specs));
        belief.looked_away(Saved::read(&config));
        assert!(!belief.holds(Saved::read(&config), specs));
    }
}

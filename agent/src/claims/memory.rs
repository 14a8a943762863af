//! What this manager remembers of the claims on its swarm, in a file below its state directory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use swarmdr_archive::{ClusterId, NodeId};

use super::{ClaimId, Judged, Origin, Release, standing::Standing};
use crate::{config::Config, host::files::whole_file};

/// Most releases that are remembered, the newest ones.
const MOST_RELEASES: usize = 64;

/// Most claims of its own that are remembered, the newest ones.
const MOST_CARRIED: usize = 16;

/// Most claims that came after own ones that are remembered, the newest ones.
const MOST_LATER: usize = 16;

/// A claim that is younger than an own one with the same epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    pub than: ClaimId,
    pub claim: ClaimId,
}

/// The memory of a manager. One that is damaged or of another swarm is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub cluster_id: ClusterId,
    /// The node that this host was when it was last asked. As another one it may be in the swarm of another site.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// The claim that the swarm carried when it was last asked, for a time at which its engine cannot be.
    pub label: Option<ClaimId>,
    /// What the last restore of this host said of the swarm, for such a time too.
    #[serde(default)]
    pub origin: Origin,
    /// Every claim that the swarm carried while this host was that node: programs that replace its labels take nothing away.
    #[serde(default)]
    pub carried: Vec<ClaimId>,
    /// The epoch of the own claim, which is read first.
    #[serde(default)]
    pub epoch: Option<u32>,
    /// The claim that has this epoch.
    #[serde(default)]
    pub claim: Option<ClaimId>,
    /// Releases of claims that never counted: the vault that has one may be away one day, and the claim in another one.
    #[serde(default)]
    pub undone: Vec<Release>,
    /// Claims of the same epoch as an own one that came after it. The vault that shows it may be away one day.
    #[serde(default)]
    pub later: Vec<Later>,
    /// The claim of another site of which the hooks were told.
    pub told: Option<ClaimId>,
    /// The claim of another site for which the nodes were drained. Who makes one active again is not overruled.
    pub drained: Option<ClaimId>,
}

impl Memory {
    /// Returns what is remembered of a swarm, or of any if none is named.
    pub fn read(config: &Config, cluster: Option<&ClusterId>) -> Option<Self> {
        let memory: Self = whole_file::read_json(&path(config))?;
        cluster.is_none_or(|cluster| *cluster == memory.cluster_id).then_some(memory)
    }

    /// Notes which node this host is, which claim its swarm carries, and where it comes from.
    pub fn see(&mut self, node: &NodeId, label: Option<ClaimId>, origin: Origin) {
        if self.node.as_ref() != Some(node) {
            self.carried.clear();
            self.node = Some(node.clone());
        }
        (self.label, self.origin) = (label, origin);
        if let Some(label) = label.filter(|label| !self.carried.contains(label)) {
            self.carried.push(label);
            self.carried.drain(..self.carried.len().saturating_sub(MOST_CARRIED));
        }
    }

    /// Notes what the vaults said.
    pub fn learn(&mut self, judged: &Judged) {
        if let Standing::Own { claim } = &judged.standing {
            (self.epoch, self.claim) = (Some(claim.epoch), Some(claim.claim_id));
        }
        self.note_undone(&judged.undone);
        let new: Vec<Later> = judged.later.iter().filter(|new| !self.later.contains(new)).copied().collect();
        self.later.extend(new);
        self.later.drain(..self.later.len().saturating_sub(MOST_LATER));
    }

    fn note_undone(&mut self, releases: &[Release]) {
        let new = releases.iter().filter(|new| !self.undone.iter().any(|known| known.claim_id == new.claim_id));
        let new: Vec<Release> = new.cloned().collect();
        self.undone.extend(new);
        self.undone.sort_by_key(|release| (release.epoch, release.claim_id));
        self.undone.dedup_by_key(|release| (release.epoch, release.claim_id));
        self.undone.drain(..self.undone.len().saturating_sub(MOST_RELEASES));
    }

    /// Changes what is remembered. A failure is only logged: hooks are called again then.
    pub fn update(config: &Config, cluster: &ClusterId, change: impl FnOnce(&mut Self)) {
        let before = Self::read(config, Some(cluster));
        let mut memory = before.clone().unwrap_or_else(|| Self {
            cluster_id: cluster.clone(),
            node: None,
            label: None,
            origin: Origin::Unknown,
            carried: Vec::new(),
            epoch: None,
            claim: None,
            undone: Vec::new(),
            later: Vec::new(),
            told: None,
            drained: None,
        });
        change(&mut memory);
        if before.as_ref() == Some(&memory) {
            return;
        }
        if let Err(error) = whole_file::replace_json(&path(config), &memory) {
            tracing::warn!("what is known of claims could not be written to {}: {error}", path(config).display());
        }
    }
}

fn path(config: &Config) -> PathBuf {
    config.state_dir.join("claims.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_belongs_to_its_swarm() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let id = |text: &str| text.parse::<ClusterId>().expect("is an id");
        Memory::update(&config, &id("a"), |memory| memory.told = Some(ClaimId::of(1)));
        Memory::update(&config, &id("a"), |memory| memory.label = Some(ClaimId::of(2)));
        let memory = Memory::read(&config, None).expect("is there");
        assert_eq!((memory.told, memory.label, memory.drained), (Some(ClaimId::of(1)), Some(ClaimId::of(2)), None));
        assert_eq!(Memory::read(&config, Some(&id("b"))), None);
        Memory::update(&config, &id("b"), |_| {});
        assert_eq!(Memory::read(&config, Some(&id("b"))).map(|memory| memory.told), Some(None));
    }
}

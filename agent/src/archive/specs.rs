//! Whether the specs of objects are wanted of a state.

use std::path::Path;

use swarm_state::{Error, Examined, UnlockKey, specs::Item};

/// Whether an examination also reads the specs of all objects, which takes longer the more of them there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specs {
    Read,
    Skip,
}

impl Specs {
    /// Examines a state directory; the items are none if specs are skipped. Blocking.
    pub fn examine(self, dir: &Path, unlock_key: Option<&UnlockKey>) -> Result<(Examined, Vec<Item>), Error> {
        match self {
            Self::Read => swarm_state::examine_items(dir, unlock_key),
            Self::Skip => swarm_state::examine(dir, unlock_key).map(|examined| (examined, Vec::new())),
        }
    }
}

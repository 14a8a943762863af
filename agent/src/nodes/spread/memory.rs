//! Services that were updated, so that the next run does not restart those for nothing that the update did not spread.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::host::files::whole_file;

const FILE: &str = "spread.json";

/// Updates by the id of the service.
#[derive(Debug, Default)]
pub struct Memory {
    tried: BTreeMap<String, Tried>,
}

/// An update, written down before it begins: a run that is killed right after that has still made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tried {
    /// Ids of the nodes that could have had the tasks.
    nodes: Vec<String>,
    /// The counter of the service with this update; with another one it was not made, or somebody has made one more.
    force_update: u64,
}

impl Memory {
    /// Reads what is remembered. A file that cannot be read counts as none: at worst a service is updated once more.
    pub fn read(state_dir: &Path) -> Self {
        let text = fs::read(state_dir.join(FILE)).unwrap_or_default();
        Self { tried: serde_json::from_slice(&text).unwrap_or_default() }
    }

    /// Whether the last forced update of the service was one for the same nodes.
    pub fn has_tried(&self, id: &str, nodes: &[String], force_update: u64) -> bool {
        let same = |tried: &Tried| tried.nodes == nodes && tried.force_update == force_update;
        self.tried.get(id).is_some_and(same)
    }

    /// Notes that a service is updated now from this counter, and forgets services that are gone. A failure is only
    /// logged.
    pub fn note(
        &mut self,
        id: &str,
        (nodes, force_update): (&[String], u64),
        there: &BTreeSet<&str>,
        state_dir: &Path,
    ) {
        self.tried.retain(|id, _| there.contains(id.as_str()));
        let tried = Tried { nodes: nodes.to_vec(), force_update: force_update + 1 };
        self.tried.insert(id.to_owned(), tried);
        let path = state_dir.join(FILE);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
        if let Err(error) = made.and_then(|()| whole_file::replace_json(&path, &self.tried)) {
            tracing::warn!(
                "the next run may update the service {id} again: failed to write {}: {error}",
                path.display()
            );
        }
    }
}

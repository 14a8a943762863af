//! Services that an update did not spread, so that the next run does not restart them for nothing.

use std::{collections::BTreeMap, path::Path};

use super::plan::Planned;
use crate::host::files::whole_file;

const FILE: &str = "spread.json";

/// Ids of the nodes that could have had the tasks, by the id of the service.
#[derive(Debug, Default)]
pub struct Memory {
    tried: BTreeMap<String, Vec<String>>,
}

impl Memory {
    /// Reads what is remembered. A file that cannot be read counts as none: at worst a service is updated once more.
    pub fn read(state_dir: &Path) -> Self {
        let text = std::fs::read(state_dir.join(FILE)).unwrap_or_default();
        Self { tried: serde_json::from_slice(&text).unwrap_or_default() }
    }

    pub fn has_tried(&self, planned: &Planned) -> bool {
        self.tried.get(&planned.id).is_some_and(|nodes| *nodes == planned.nodes)
    }

    /// Remembers a service with the nodes of now. A failure is only logged.
    pub fn note(&mut self, planned: &Planned, state_dir: &Path) {
        self.tried.insert(planned.id.clone(), planned.nodes.clone());
        let path = state_dir.join(FILE);
        if let Err(error) = whole_file::replace_json(&path, &self.tried) {
            tracing::warn!(
                "the next run may update {} again: failed to write {}: {error}",
                planned.name,
                path.display()
            );
        }
    }
}

//! How a restored swarm is held against its backup.

use anyhow::{Result, bail};

use crate::swarm::inventory::Compared;

/// How much may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Nobody had time to change anything: what is missing was lost.
    Fresh,
    /// The swarm has been running on its own.
    Late,
}

impl Strictness {
    /// What was lost is an error, or something to look at.
    pub fn weigh(self, compared: &Compared) -> Result<Option<String>> {
        let Some(loss) = compared.loss() else { return Ok(None) };
        let what = format!("the restored swarm is not what was backed up: {loss}");
        match self {
            Strictness::Fresh => bail!(what),
            Strictness::Late => Ok(Some(what)),
        }
    }
}

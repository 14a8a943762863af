//! How a restored swarm is held against its backup.

use anyhow::{Result, bail};

use crate::swarm::inventory::{Compared, Difference};

/// How much may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Nobody had time to change anything: what is missing was lost.
    Fresh,
    /// The swarm has been running on its own.
    Late,
}

impl Strictness {
    /// What differs from the backup. A loss is an error, but where somebody may have removed or changed it since: there
    /// it is one of the differences.
    pub fn weigh(self, compared: Compared) -> Result<Vec<Difference>> {
        match (self, compared.loss()) {
            (Strictness::Fresh, Some(loss)) => bail!("the restored swarm is not what was backed up: {loss}"),
            (Strictness::Fresh, None) => Ok(compared.harmless),
            (Strictness::Late, _) => Ok([compared.lost, compared.harmless].concat()),
        }
    }
}

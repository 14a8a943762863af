//! How strictly a restored swarm is compared with its backup.

use anyhow::{Result, bail};
use swarm_state::inventory::{Compared, Difference};

/// Tolerance for missing objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// The swarm has just been formed: an object that is missing was lost.
    Fresh,
    /// The swarm has been running for a while: an object may have been removed.
    Late,
}

impl Strictness {
    /// Returns the differences from the backup. A loss is an error, unless the object may have been removed or changed
    /// since: then it is one of the differences.
    pub fn weigh(self, compared: Compared) -> Result<Vec<Difference>> {
        match (self, compared.loss()) {
            (Strictness::Fresh, Some(loss)) => bail!("the restored swarm is not what was backed up: {loss}"),
            (Strictness::Fresh, None) => Ok(compared.harmless),
            (Strictness::Late, _) => Ok([compared.lost, compared.harmless].concat()),
        }
    }
}

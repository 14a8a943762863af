//! A sign of life, as it is signed and stored.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{ClusterId, NodeId, SecretKey, SwarmNode, TrustedKeys, receipt};
use swarmdr_vault::object_name;

/// Version of the document. Raised when an older agent could misread it.
const VERSION: u32 = 1;

/// The signed document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOfLife {
    pub version: u32,
    /// Random id of the host that left it, by which that host knows its own signs again.
    pub host: String,
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    /// Name of the site.
    pub site: String,
    /// The claim by which the site took the cluster over; absent for a site that never did.
    pub claim_id: Option<String>,
    /// Address of the manager in its swarm; empty if it is not known.
    pub address: String,
    /// By the clock of the manager; for people only.
    pub at: Timestamp,
    /// Seconds until the next one.
    pub every: u32,
}

impl SignOfLife {
    pub const VERSION: u32 = VERSION;

    /// Signs the document as a receipt.
    pub fn seal(&self, key: &SecretKey) -> Result<Vec<u8>> {
        let about = format!("sign of life of {} cluster {}", self.node_id, self.cluster_id);
        let mtime = u64::try_from(self.at.as_second()).unwrap_or(0);
        Ok(receipt::seal(key, &serde_json::to_vec(self)?, &about, mtime)?)
    }

    /// Reads one that was found under the key of `node`, and refuses it unless a trusted key signed it for that place.
    pub fn open(packed: &[u8], keys: &TrustedKeys, node: &SwarmNode, host: &str) -> Result<Self> {
        let sign: Self = serde_json::from_slice(&receipt::open(packed, keys)?.document)?;
        ensure!(sign.version == VERSION, "it is of version {}", sign.version);
        let is_here = sign.cluster_id == node.cluster && sign.node_id == node.node && sign.host == host;
        ensure!(is_here, "it names another place than the one it was found at");
        Ok(sign)
    }
}

/// Start of the keys of a cluster's signs.
pub fn prefix(cluster: &ClusterId) -> String {
    format!("{}{cluster}/", object_name::LIFE)
}

/// Key of the signs of a manager on one host. A restored manager has the node id of the one that it replaces, and must not
/// cover that one's signs where a vault keeps only one version of a key.
pub fn key_of(node: &SwarmNode, host: &str) -> String {
    format!("{}{}-{host}", prefix(&node.cluster), node.node)
}

/// Reads what follows the prefix in a key.
pub fn place_of(name: &str) -> Option<(NodeId, String)> {
    let (node, host) = name.rsplit_once('-')?;
    Some((node.parse().ok()?, host.to_owned()))
}

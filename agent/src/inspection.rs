//! What a backup or a state directory holds, for a person and for scripts; and what changed between two.
//!
//! Shows names, sizes, ids and dates. No value of a secret, no key and no token gets this far: the readers below
//! do not hand them out.

mod comparison;
mod restorable;
mod rotation;
mod show;
mod subject;

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::manifest::{self, CertificateTimes, Counts, SnapshotMode};

use crate::{
    proof,
    swarm::{Inventory, Warning, identity::Validity, inventory::Member, state_dir::WAL_DIR},
    vault::Lock,
};
pub use comparison::Comparison;
use restorable::Facts;
pub use restorable::{Ends, Limit, Restorable, renews};
pub use show::plain;
pub use subject::{Basis, Looker, Seen, Stored, Subject};

/// The stable JSON form of `inspect --json`.
#[derive(Debug, Serialize)]
pub struct Inspection {
    pub source: String,
    /// When this look was taken.
    pub looked_at: Timestamp,
    pub basis: Basis,
    /// Absent for a directory.
    pub backup: Option<Backup>,
    pub cluster_id: String,
    pub node_id: String,
    pub hostname: Option<String>,
    pub raft_addr: Option<String>,
    pub engine_version: Option<String>,
    pub autolock: bool,
    pub proof: manifest::Proof,
    pub proof_reason: Option<String>,
    pub raft: Option<Position>,
    pub certificate: CertificateTimes,
    pub restorable: Restorable,
    /// Everything that the swarm holds; absent where nothing but clear files could be read.
    pub inventory: Option<Inventory>,
    /// What would hinder a restore or deserves a look.
    pub warnings: Vec<Told>,
    /// What else was met in the vaults.
    pub findings: Vec<String>,
}

/// What the signed head of an archive says, and what the vault says about its object.
#[derive(Debug, Serialize)]
pub struct Backup {
    pub id: String,
    pub created_at: Timestamp,
    pub sequence: u64,
    /// The key whose signature was verified.
    pub key_id: String,
    pub agent_version: String,
    /// Of the whole archive, in bytes.
    pub size: u64,
    pub encrypted: bool,
    pub recipients: Vec<String>,
    pub snapshot_mode: SnapshotMode,
    pub engine_down_ms: u64,
    pub counts: Counts,
    pub in_vault: bool,
    /// The retention in effect; absent where there is none.
    pub lock: Option<Lock>,
    /// The vault did not say what lock there is, if any: that `lock` is absent means nothing.
    pub lock_unread: bool,
}

/// A place in the raft log; what only an opened state tells is absent elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    pub term: u64,
    pub commit: u64,
    pub last_index: Option<u64>,
    pub snapshot_index: Option<u64>,
    pub members: Option<Vec<Member>>,
}

/// A warning in both forms.
#[derive(Debug, Serialize)]
pub struct Told {
    #[serde(flatten)]
    pub warning: Warning,
    pub text: String,
}

impl Seen {
    /// From the log that was read, else from the head of the archive.
    pub fn position(&self) -> Option<Position> {
        let read = self.examined.as_ref().and_then(|examined| examined.raft.as_ref());
        let read = read.map(|raft| Position {
            term: raft.term,
            commit: raft.commit,
            last_index: Some(raft.last_index),
            snapshot_index: raft.snapshot_index,
            members: Some(raft.members.clone()),
        });
        read.or_else(|| {
            let said = self.backup.as_ref()?.head.manifest.raft?;
            Some(Position {
                term: said.term,
                commit: said.index,
                last_index: None,
                snapshot_index: None,
                members: None,
            })
        })
    }

    fn ids(&self) -> (String, String) {
        let of_files = self.examined.as_ref().map(|it| (it.identity.cluster_id.clone(), it.identity.node_id.clone()));
        let of_head = self.backup.as_ref().map(|it| {
            let manifest = &it.head.manifest;
            (manifest.cluster_id.clone(), manifest.node_id.clone())
        });
        of_files.or(of_head).unwrap_or_default()
    }

    /// As the swarm knows this node, else as the host called itself.
    fn hostname(&self) -> Option<String> {
        let (_, own) = self.ids();
        let mut nodes = self.inventory.iter().flat_map(|inventory| &inventory.nodes);
        let known = nodes.find(|node| node.id == own && !node.hostname.is_empty()).map(|node| node.hostname.clone());
        known.or_else(|| Some(self.backup.as_ref()?.head.manifest.hostname.clone()))
    }

    fn engine_version(&self) -> Option<String> {
        if let Some(backup) = &self.backup {
            return Some(backup.head.manifest.engine_version.clone());
        }
        let (_, own) = self.ids();
        let node = self.inventory.as_ref()?.nodes.iter().find(|node| node.id == own)?;
        node.engine_version.clone()
    }

    fn certificate(&self) -> CertificateTimes {
        match (&self.examined, &self.backup) {
            (Some(examined), _) => CertificateTimes {
                node_not_before: Some(examined.identity.node_certificate.not_before),
                node_not_after: Some(examined.identity.node_certificate.not_after),
                root_not_after: Some(examined.identity.root_ca.not_after),
            },
            (None, Some(backup)) => backup.head.manifest.certificate,
            (None, None) => CertificateTimes::default(),
        }
    }

    fn renews(&self) -> Option<bool> {
        self.inventory.as_ref().and_then(restorable::renews)
    }

    fn restorable(&self) -> Restorable {
        let certificate = self.certificate();
        let manifest = self.backup.as_ref().map(|backup| &backup.head.manifest);
        let obstacle = match &self.examined {
            Some(examined) => restorable::obstacle(examined),
            None => manifest.filter(|manifest| manifest.proof == manifest::Proof::Unproven).map(|manifest| {
                let why = manifest.proof_reason.as_deref().unwrap_or("no reason is recorded");
                format!("its raft log did not replay when it was made: {why}")
            }),
        };
        Restorable::of(Facts {
            root_not_after: certificate.root_not_after,
            node_not_after: certificate.node_not_after,
            renews: self.renews(),
            lock: self.backup.as_ref().and_then(|backup| backup.lock),
            obstacle,
        })
    }

    /// Of an archive that was not opened only what its dates say.
    fn warnings(&self, now: Timestamp) -> Vec<Told> {
        let of_state = self.examined.iter().flat_map(|examined| &examined.warnings);
        let of_state = of_state.filter(|warning| self.backup.is_some() || !is_prepared(warning));
        let times = self.certificate();
        let node = times.node_not_before.zip(times.node_not_after);
        let node = node.map(|(not_before, not_after)| Validity { not_before, not_after });
        let dates = Warning::of_certificates(node, times.root_not_after, now, self.renews());
        let all = of_state.cloned().chain(dates);
        all.map(|warning| Told { text: warning.to_string(), warning }).collect()
    }
}

/// A running engine always has the next log file ready, under this name (etcd `wal/file_pipeline.go`).
fn is_prepared(warning: &Warning) -> bool {
    let Warning::Leftover { path, .. } = warning else {
        return false;
    };
    path.starts_with(WAL_DIR) && path.file_name().is_some_and(|name| name == "0.tmp" || name == "1.tmp")
}

impl Inspection {
    /// What was found, put together. `now` decides only which certificates have ended.
    pub fn of(seen: Seen, now: Timestamp) -> Self {
        let (cluster_id, node_id) = seen.ids();
        let manifest = seen.backup.as_ref().map(|backup| &backup.head.manifest);
        let read = seen.examined.as_ref();
        let addr = read.and_then(|examined| examined.raft_address).or(manifest.map(|manifest| manifest.raft_addr));
        let autolock = match read.and_then(|examined| examined.identity.key) {
            Some(key) => key.autolocked,
            None => manifest.is_some_and(|manifest| manifest.autolock),
        };
        let (proof, proof_reason) = match (read.map(proof::state), manifest) {
            (Some(stated), _) => (stated.proof, stated.reason),
            (None, Some(manifest)) => (manifest.proof, manifest.proof_reason.clone()),
            (None, None) => (manifest::Proof::Unchecked, None),
        };
        Self {
            looked_at: now,
            basis: seen.basis,
            cluster_id,
            node_id,
            hostname: seen.hostname(),
            raft_addr: addr.map(|addr| addr.to_string()),
            engine_version: seen.engine_version(),
            autolock,
            proof,
            proof_reason,
            raft: seen.position(),
            certificate: seen.certificate(),
            restorable: seen.restorable(),
            warnings: seen.warnings(now),
            backup: seen.backup.as_ref().map(Backup::of),
            source: seen.source,
            inventory: seen.inventory,
            findings: seen.findings,
        }
    }

    /// Whether somebody should do something: the state cannot be restored as it is, or a vault holds what it should not.
    pub fn needs_attention(&self) -> bool {
        self.restorable.is_over(self.looked_at) || !self.findings.is_empty()
    }
}

impl Backup {
    fn of(stored: &Stored) -> Self {
        let (head, manifest) = (&stored.head, &stored.head.manifest);
        Self {
            id: manifest.id.to_string(),
            created_at: manifest.created_at,
            sequence: manifest.sequence,
            key_id: head.key_id.to_string(),
            agent_version: manifest.agent_version.clone(),
            size: head.archive_size,
            encrypted: manifest.is_encrypted(),
            recipients: manifest.payload.recipients.clone(),
            snapshot_mode: manifest.snapshot.mode,
            engine_down_ms: manifest.snapshot.engine_down_ms,
            counts: manifest.counts,
            in_vault: stored.in_vault,
            lock: stored.lock,
            lock_unread: stored.lock_unread,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::swarm::inventory::{Cluster, INVENTORY_VERSION};

    #[test]
    fn only_the_file_that_an_engine_keeps_ready_is_no_leftover() {
        let leftover = |path: &str| is_prepared(&Warning::Leftover { path: path.into(), size: 64_000_000 });
        assert!(leftover("raft/wal-v3-encrypted/0.tmp") && leftover("raft/wal-v3-encrypted/1.tmp"));
        for other in ["raft/snap-v3-encrypted/0.tmp", "raft/wal-v3-encrypted/2.broken", "certificates/0.tmp"] {
            assert!(!leftover(other), "{other}");
        }
        assert!(!is_prepared(&Warning::NoCaKey));
    }

    /// A swarm that holds nothing.
    pub fn inventory_of(cluster: Cluster) -> Inventory {
        Inventory {
            version: INVENTORY_VERSION,
            cluster,
            raft: None,
            nodes: Vec::new(),
            services: Vec::new(),
            networks: Vec::new(),
            secrets: Vec::new(),
            configs: Vec::new(),
            volumes: None,
            tasks: BTreeMap::new(),
        }
    }
}

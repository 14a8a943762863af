//! Contents of a backup or a state directory, for a person and for scripts, and the differences between two of them.
//!
//! Shows names, sizes, ids and dates. No value of a secret, no key and no token is shown: the readers below do
//! not return them.

mod comparison;
mod restorable;
mod show;
mod subject;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use swarm_state::{Inventory, Warning, identity::Validity, inventory::Member, specs::Item, state_dir::WAL_DIR};
use swarmdr_archive::{
    ClusterId, NodeId,
    manifest::{self, CertificateTimes, Counts, SnapshotMode},
};
use swarmdr_vault::Lock;

use crate::{archive::proof, outcome::failure::Failure};
pub use comparison::Comparison;
use restorable::Facts;
#[cfg(test)]
pub use restorable::{Ends, Limit};
pub use restorable::{Restorable, renews};
pub use show::plain;
pub(in crate::archive) use subject::read_live;
pub use subject::{Basis, Inspector, Seen, Stored, Subject};

/// Stable JSON form of `inspect --json`.
#[derive(Debug, Serialize)]
pub struct Inspection {
    pub source: String,
    /// Time of this inspection.
    pub looked_at: Timestamp,
    pub basis: Basis,
    /// Absent for a directory.
    pub backup: Option<Backup>,
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    pub hostname: Option<String>,
    pub raft_addr: Option<String>,
    pub engine_version: Option<String>,
    pub autolock: bool,
    pub proof: manifest::Proof,
    pub proof_reason: Option<String>,
    pub raft: Option<Position>,
    pub certificate: CertificateTimes,
    pub restorable: Restorable,
    /// Everything that the swarm holds; absent if only clear files could be read.
    pub inventory: Option<Inventory>,
    /// The specs of all objects; absent unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specs: Option<Vec<Item>>,
    /// Warnings about the state: obstacles to a restore, and other things to look at.
    pub warnings: Vec<WarningText>,
    /// Other problems that the operator should look at: in the vaults, or with the unlock key.
    pub findings: Vec<String>,
}

/// Data from the signed head of an archive, and from the vault about its object.
#[derive(Debug, Serialize)]
pub struct Backup {
    pub id: String,
    pub created_at: Timestamp,
    pub sequence: u64,
    /// Id of the key whose signature was verified.
    pub key_id: String,
    pub agent_version: String,
    /// Size of the whole archive in bytes.
    pub size: u64,
    pub encrypted: bool,
    pub recipients: Vec<String>,
    pub snapshot_mode: SnapshotMode,
    pub engine_down_ms: u64,
    pub counts: Counts,
    pub in_vault: bool,
    /// Retention in effect; absent if there is none, or if it is not known.
    pub lock: Option<Lock>,
    /// True if the lock could not be read from the vault: an absent `lock` then means nothing.
    pub lock_unread: bool,
}

/// Position in the raft log. Fields that only a decrypted state can tell are absent otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    pub term: u64,
    pub commit: u64,
    pub last_index: Option<u64>,
    pub snapshot_index: Option<u64>,
    pub members: Option<Vec<Member>>,
}

/// A warning, for scripts and as text.
#[derive(Debug, Serialize)]
pub struct WarningText {
    #[serde(flatten)]
    pub warning: Warning,
    pub text: String,
}

impl Seen {
    /// Returns the inventory; an error if only clear files could be read.
    fn require_inventory(&self) -> Result<&Inventory> {
        self.inventory.as_ref().ok_or_else(|| self.not_opened("cannot be compared"))
    }

    /// Returns an error unless the log was replayed, so that the specs are known.
    pub fn require_specs(&self) -> Result<()> {
        match self.basis {
            Basis::Log => Ok(()),
            _ => Err(self.not_opened("has no specs that can be shown")),
        }
    }

    /// Returns the error for something that only a replayed log allows.
    fn not_opened(&self, what: &str) -> anyhow::Error {
        let cannot = |why: &str| Failure::usage(format!("{} {what}: {why}", self.source));
        let unproven = self.examined.as_ref().and_then(restorable::obstacle);
        match (self.basis, unproven) {
            (Basis::Manifest, _) => cannot("it is encrypted, and no identity was given")
                .advice("name the file that opens it with --identity")
                .into(),
            (_, Some(why)) => {
                Failure::failed(format!("{} {what}", self.source)).because(anyhow::Error::msg(why)).into()
            }
            (_, None) => cannot("it is autolocked, and no unlock key was given")
                .advice("name a file that holds the key with --unlock-key")
                .into(),
        }
    }

    /// Returns the position in the log that was read, or else the one in the head of the archive.
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

    /// Returns the hostname by which the swarm knows this node, or else the one in the head of the archive.
    fn hostname(&self) -> Option<String> {
        let mut nodes = self.inventory.iter().flat_map(|inventory| &inventory.nodes);
        let known = nodes
            .find(|node| node.id == self.own.node.as_str() && !node.hostname.is_empty())
            .map(|node| node.hostname.clone());
        known.or_else(|| Some(self.backup.as_ref()?.head.manifest.hostname.clone()))
    }

    fn engine_version(&self) -> Option<String> {
        if let Some(backup) = &self.backup {
            return Some(backup.head.manifest.engine_version.clone());
        }
        let node = self.inventory.as_ref()?.nodes.iter().find(|node| node.id == self.own.node.as_str())?;
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

    /// Returns the warnings. For an archive that was not opened these are only the ones about dates.
    fn warnings(&self, now: Timestamp) -> Vec<WarningText> {
        let of_state = self.examined.iter().flat_map(|examined| &examined.warnings);
        let of_state = of_state.filter(|warning| self.backup.is_some() || !is_prepared(warning));
        let times = self.certificate();
        let node = times.node_not_before.zip(times.node_not_after);
        let node = node.map(|(not_before, not_after)| Validity { not_before, not_after });
        let dates = Warning::of_certificates(node, times.root_not_after, now, self.renews());
        let all = of_state.cloned().chain(dates);
        all.map(|warning| WarningText { text: warning.to_string(), warning }).collect()
    }
}

/// Whether the warning is about a file that a running engine always keeps ready as its next log file, under this
/// name (etcd `wal/file_pipeline.go`).
fn is_prepared(warning: &Warning) -> bool {
    let Warning::Leftover { path, .. } = warning else {
        return false;
    };
    path.starts_with(WAL_DIR) && path.file_name().is_some_and(|name| name == "0.tmp" || name == "1.tmp")
}

impl Inspection {
    /// Puts together what was found. `now` decides only which certificates have ended.
    pub fn of(seen: Seen, now: Timestamp) -> Self {
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
            cluster_id: seen.own.cluster.clone(),
            node_id: seen.own.node.clone(),
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
            specs: None,
            findings: seen.findings,
        }
    }

    /// Adds the specs of all objects.
    #[must_use]
    pub fn with_specs(self, specs: Vec<Item>) -> Self {
        Self { specs: Some(specs), ..self }
    }

    /// Whether the operator should act: the state cannot be restored as it is, or there are findings.
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
            in_vault: stored.file.is_none(),
            lock: stored.lock,
            lock_unread: stored.lock_unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_that_an_engine_keeps_ready_is_no_leftover() {
        let leftover = |path: &str| is_prepared(&Warning::Leftover { path: path.into(), size: 64_000_000 });
        assert!(leftover("raft/wal-v3-encrypted/0.tmp") && leftover("raft/wal-v3-encrypted/1.tmp"));
        for other in ["raft/snap-v3-encrypted/0.tmp", "raft/wal-v3-encrypted/2.broken", "certificates/0.tmp"] {
            assert!(!leftover(other), "{other}");
        }
        assert!(!is_prepared(&Warning::NoCaKey));
    }
}

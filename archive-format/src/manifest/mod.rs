//! The signed document in clear at the head of an archive: the metadata of the backup.
//!
//! A reader ignores keys that it does not know. A key that must be understood bumps [`FORMAT`].

pub(crate) mod document;

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    backup_id::BackupId,
    digest::Digest,
    swarm_node::{ClusterId, NodeId, SwarmNode},
};

/// Format of a backup. Streams have [another one](crate::stream_archive::FORMAT).
pub const FORMAT: u64 = 1;

/// Name of the payload when it is not encrypted.
pub const PLAIN_PAYLOAD: &str = "state.tar.zst";
/// Name of the payload when it is encrypted to age recipients.
pub const ENCRYPTED_PAYLOAD: &str = "state.tar.zst.age";

/// A manifest before its payload is packed; the writer adds [`Payload`].
pub type ManifestDraft = Manifest<()>;

/// Metadata of a backup. Strings come from the backed-up host: treat them as text to display, never as commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest<P = Payload> {
    /// Format of the archive; always 1.
    pub format: u64,
    /// Id of the backup; its time is `created_at` to the second.
    pub id: BackupId,
    /// Number of the backup in its vault, from 1, one more with each backup. Together with `previous` it reveals that a
    /// vault was rolled back.
    pub sequence: u64,
    /// SHA-256 of the manifest bytes of the backup before this one in the same vault.
    pub previous: Option<Digest>,
    /// Time when the copy of the state was taken.
    pub created_at: Timestamp,
    /// Version of the agent that made the archive.
    pub agent_version: String,
    /// Version of the Docker engine that wrote the state. An older engine may be unable to read it.
    pub engine_version: String,
    /// Id of the swarm; part of the name that a vault stores the archive under.
    pub cluster_id: ClusterId,
    /// Node id of the backed-up manager.
    pub node_id: NodeId,
    /// Host name of the backed-up manager.
    pub hostname: String,
    /// Address at which the other managers reach this one. The restoring host must have this address.
    pub raft_addr: SocketAddr,
    /// Whether `raft_addr` was on an interface of the host itself; false behind NAT.
    pub raft_addr_local: bool,
    /// The other managers. If one of them answers, a restore is refused.
    pub managers: Vec<Manager>,
    /// Term and committed index of the raft log; absent if the log could not be read.
    pub raft: Option<RaftPosition>,
    /// Validity of the certificates in the state.
    pub certificate: CertificateTimes,
    /// Whether the state is autolocked: it can then be decrypted only with the unlock key, which is not in the archive.
    pub autolock: bool,
    /// Version of the unlock key that locks the state.
    pub kek_version: Option<u64>,
    /// How far the agent proved that the state can be restored.
    pub proof: Proof,
    /// Reason why `proof` is not `proven`.
    pub proof_reason: Option<String>,
    /// Settings that a restore must pass to the engine again.
    pub restore: RestoreHints,
    /// How the copy was taken.
    pub snapshot: Snapshot,
    /// Number of objects in the swarm.
    pub counts: Counts,
    /// Digest of everything that people set in the swarm, as its maker computes it, taken before the copy. Two backups
    /// with the same one hold the same settings; how it is computed is the agent's own matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specs: Option<Digest>,
    /// The third member of the archive.
    pub payload: P,
}

/// Another manager of the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Node id as the swarm lists it, for display: the format has no rule for it.
    pub node_id: String,
    /// Raft address as the swarm knows it, `ip:port` (IPv6 in brackets).
    pub addr: String,
    /// Host name, if known.
    pub hostname: Option<String>,
}

/// A position in the raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftPosition {
    /// Term of the leader that wrote the entry.
    pub term: u64,
    /// Index of the entry in the log.
    pub index: u64,
}

/// Validity of the certificates in the state. Times are absent if the certificates could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateTimes {
    /// Start of the node certificate.
    pub node_not_before: Option<Timestamp>,
    /// End of the node certificate.
    pub node_not_after: Option<Timestamp>,
    /// End of the root certificate.
    pub root_not_after: Option<Timestamp>,
}

/// How far the agent proved that the state can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The raft log was decrypted and replayed to its committed end.
    Proven,
    /// The proof failed.
    Unproven,
    /// The swarm is autolocked, so the log could not be decrypted; its frames are intact.
    Sealed,
    /// No proof was attempted.
    Unchecked,
}

/// Settings that a restore must pass to `POST /swarm/init` again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreHints {
    /// `EncryptionConfig.AutoLockManagers` of the swarm spec.
    pub auto_lock_managers: bool,
    /// `CAConfig.ForceRotate` of the swarm spec.
    pub force_rotate: u64,
    /// Address that the swarm listens on.
    pub listen_addr: Option<String>,
    /// Address that is advertised to other nodes.
    pub advertise_addr: Option<String>,
    /// Address for overlay traffic.
    pub data_path_addr: Option<String>,
    /// UDP port for overlay traffic.
    pub data_path_port: Option<u32>,
    /// `DockerRootDir` of the running engine.
    pub data_root: Option<String>,
}

/// How the copy of the state was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How the engine was kept from writing while its state was copied.
    pub mode: SnapshotMode,
    /// Milliseconds for which the engine was down or frozen.
    pub engine_down_ms: u64,
    /// Part of that time that the agent's own work took, in milliseconds.
    pub ours_ms: u64,
}

/// How the engine was kept from writing while its state was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMode {
    /// The engine was stopped.
    Cold,
    /// The engine was frozen in its cgroup.
    Freeze,
    /// The engine kept running: its state on disk was damaged, and once stopped it would not have started again.
    Running,
}

/// Number of objects of each kind in the swarm when the copy was made, by its raft log; by the engine's listing where
/// the log could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Nodes of both roles, those that are down included.
    pub nodes: u64,
    /// Nodes whose role is manager, whether or not they take part in raft.
    pub managers: u64,
    /// Services of every mode.
    pub services: u64,
    /// Networks of swarm scope, `ingress` included.
    pub networks: u64,
    /// Secrets that users made; swarm's internal ones do not count.
    pub secrets: u64,
    /// Configs that users made.
    pub configs: u64,
    /// Tasks in any state, those that ended and are kept as history included.
    pub tasks: u64,
    /// Cluster (CSI) volumes.
    pub volumes: u64,
}

/// The third member of the archive: its stored bytes, and the tar inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Name of the member: [`PLAIN_PAYLOAD`] or [`ENCRYPTED_PAYLOAD`].
    pub name: String,
    /// Number of stored bytes.
    pub size: u64,
    /// SHA-256 of the stored bytes.
    pub sha256: Digest,
    /// Size of the tar inside in bytes.
    pub tar_size: u64,
    /// SHA-256 of the tar inside.
    pub tar_sha256: Digest,
    /// Age recipients; none if the payload is not encrypted.
    pub recipients: Vec<String>,
    /// Compression; always `zstd`.
    pub compression: String,
}

impl<P> Manifest<P> {
    /// The backed-up manager and its swarm.
    pub fn swarm_node(&self) -> SwarmNode {
        SwarmNode { cluster: self.cluster_id.clone(), node: self.node_id.clone() }
    }

    pub(crate) fn with_payload<Q>(self, payload: Q) -> Manifest<Q> {
        Manifest {
            format: self.format,
            id: self.id,
            sequence: self.sequence,
            previous: self.previous,
            created_at: self.created_at,
            agent_version: self.agent_version,
            engine_version: self.engine_version,
            cluster_id: self.cluster_id,
            node_id: self.node_id,
            hostname: self.hostname,
            raft_addr: self.raft_addr,
            raft_addr_local: self.raft_addr_local,
            managers: self.managers,
            raft: self.raft,
            certificate: self.certificate,
            autolock: self.autolock,
            kek_version: self.kek_version,
            proof: self.proof,
            proof_reason: self.proof_reason,
            restore: self.restore,
            snapshot: self.snapshot,
            counts: self.counts,
            specs: self.specs,
            payload,
        }
    }
}

impl Manifest {
    /// Returns the manifest without its payload, for an archive of a state that was made from this backup.
    pub fn into_draft(self) -> ManifestDraft {
        self.with_payload(())
    }

    /// Whether unpacking needs an identity.
    pub fn is_encrypted(&self) -> bool {
        !self.payload.recipients.is_empty()
    }
}

//! The signed document at the head of an archive: what the backup is, in clear.
//!
//! A reader ignores keys that it does not know. A key that must be understood bumps [`FORMAT`].

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backup_id::BackupId;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::{MANIFEST_MAX, RECIPIENTS_MAX, SIZE_MAX};

/// The format that this crate writes and the only one that it reads.
pub const FORMAT: u64 = 1;

/// Name of the payload when it is not encrypted.
pub const PLAIN_PAYLOAD: &str = "state.tar.zst";
/// Name of the payload when it is encrypted to age recipients.
pub const ENCRYPTED_PAYLOAD: &str = "state.tar.zst.age";

/// A manifest before its payload is packed; the writer adds [`Payload`].
pub type ManifestDraft = Manifest<()>;

/// What a backup is. Strings come from the backed-up host: treat them as text to show, never as commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest<P = Payload> {
    /// Always 1.
    pub format: u64,
    /// The name of the backup; its time is `created_at` to the second.
    pub id: BackupId,
    /// Counts up by one with each backup of a vault, from 1. With `previous`, shows a vault that was rolled back.
    pub sequence: u64,
    /// SHA-256 of the manifest bytes of the backup before this one in the same vault.
    pub previous: Option<Digest>,
    /// When the copy of the state was taken.
    pub created_at: Timestamp,
    /// Version of the agent that made the archive.
    pub agent_version: String,
    /// Version of the Docker engine that wrote the state. An older one may not read it.
    pub engine_version: String,
    /// The swarm's id.
    pub cluster_id: String,
    /// The id of the backed-up manager in the swarm.
    pub node_id: String,
    /// The host name of the backed-up manager.
    pub hostname: String,
    /// Where the other managers reach this one. The restoring host must hold this address.
    pub raft_addr: SocketAddr,
    /// Whether `raft_addr` was on an interface of the host itself; false behind NAT.
    pub raft_addr_local: bool,
    /// The other managers. One that answers forbids a restore.
    pub managers: Vec<Manager>,
    /// The last raft entry in the state; absent if the state could not be read.
    pub raft: Option<RaftPosition>,
    /// When the certificates in the state start and stop being valid.
    pub certificate: CertificateTimes,
    /// Whether the state is locked: it then opens only with the unlock key, which is not in the archive.
    pub autolock: bool,
    /// Version of the unlock key that locks the state.
    pub kek_version: Option<u64>,
    /// How far the agent showed that the state can be restored.
    pub proof: Proof,
    /// Why `proof` is not `proven`.
    pub proof_reason: Option<String>,
    /// What a restore must hand back to the engine.
    pub restore: RestoreHints,
    /// How the copy was taken.
    pub snapshot: Snapshot,
    /// How much the swarm held, by kind.
    pub counts: Counts,
    /// The third member of the archive.
    pub payload: P,
}

/// Another manager of the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Its id in the swarm.
    pub node_id: String,
    /// Its raft address as the swarm knows it, `ip:port` (IPv6 in brackets).
    pub addr: String,
    /// Its host name, if known.
    pub hostname: Option<String>,
}

/// A place in the raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftPosition {
    /// Raft term.
    pub term: u64,
    /// Raft log index.
    pub index: u64,
}

/// Validity of the certificates in the state; absent where they could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateTimes {
    /// Start of the node certificate.
    pub node_not_before: Option<Timestamp>,
    /// End of the node certificate.
    pub node_not_after: Option<Timestamp>,
    /// End of the root certificate.
    pub root_not_after: Option<Timestamp>,
}

/// How far the agent showed that the state can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The raft log was decrypted and replayed to its committed end.
    Proven,
    /// It was tried and did not succeed.
    Unproven,
    /// The swarm is locked, so the log could not be read; its frames are intact.
    Sealed,
    /// It was not tried.
    Unchecked,
}

/// What a restore must hand back to `POST /swarm/init`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreHints {
    /// `EncryptionConfig.AutoLockManagers` of the swarm spec.
    pub auto_lock_managers: bool,
    /// `CAConfig.ForceRotate` of the swarm spec.
    pub force_rotate: u64,
    /// Address that the swarm listens on.
    pub listen_addr: Option<String>,
    /// Address that is told to other nodes.
    pub advertise_addr: Option<String>,
    /// Address of the overlay traffic.
    pub data_path_addr: Option<String>,
    /// UDP port of the overlay traffic.
    pub data_path_port: Option<u32>,
    /// `DockerRootDir` of the running engine.
    pub data_root: Option<String>,
}

/// How the copy of the state was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How the engine was kept from writing.
    pub mode: SnapshotMode,
    /// Milliseconds for which the engine was down or frozen.
    pub engine_down_ms: u64,
    /// The part of them that the agent spent, in milliseconds.
    pub ours_ms: u64,
}

/// How the engine was kept from writing while its state was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMode {
    /// It was stopped.
    Cold,
    /// It was frozen in its cgroup.
    Freeze,
    /// It was not: its state on disk was damaged, and once stopped it would not have come back.
    Running,
}

/// How much the swarm held, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Nodes, managers included.
    pub nodes: u64,
    /// Managers.
    pub managers: u64,
    /// Services.
    pub services: u64,
    /// Networks.
    pub networks: u64,
    /// Secrets.
    pub secrets: u64,
    /// Configs.
    pub configs: u64,
    /// Tasks.
    pub tasks: u64,
    /// Cluster volumes.
    pub volumes: u64,
}

/// The third member of the archive, as stored and as unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// [`PLAIN_PAYLOAD`] or [`ENCRYPTED_PAYLOAD`].
    pub name: String,
    /// Stored bytes.
    pub size: u64,
    /// SHA-256 of the stored bytes.
    pub sha256: Digest,
    /// Bytes of the tar inside.
    pub tar_size: u64,
    /// SHA-256 of the tar inside.
    pub tar_sha256: Digest,
    /// The age recipients; none if the payload is not encrypted.
    pub recipients: Vec<String>,
    /// Always `zstd`.
    pub compression: String,
}

impl<P> Manifest<P> {
    /// Checks what does not depend on the payload.
    fn check_identity(&self) -> Result<()> {
        if self.format != FORMAT {
            return Err(Error::UnsupportedVersion { found: self.format });
        }
        if BackupId::new(self.created_at, [0; 4]).created_at() != self.id.created_at() {
            return Err(invalid("its id and its creation time disagree"));
        }
        for (name, id) in [("cluster id", &self.cluster_id), ("node id", &self.node_id)] {
            if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(invalid(format!("its {name} is not 1 to 64 letters and digits")));
            }
        }
        Ok(())
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
            payload,
        }
    }
}

impl Manifest {
    /// Reads and checks manifest bytes. What they say is worth as much as the signature over these same bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(Error::limit("the size of the manifest", MANIFEST_MAX));
        }
        // The version first: another one may mean anything by the other keys.
        let version: Version = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if version.format != FORMAT {
            return Err(Error::UnsupportedVersion { found: version.format });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether unpacking needs an identity.
    pub fn is_encrypted(&self) -> bool {
        !self.payload.recipients.is_empty()
    }

    /// Checks every rule of the format that is not a matter of types.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_identity()?;
        let payload = &self.payload;
        let name = if self.is_encrypted() { ENCRYPTED_PAYLOAD } else { PLAIN_PAYLOAD };
        if payload.name != name {
            return Err(invalid(format!("its recipients ask for a payload named {name}")));
        }
        if payload.compression != "zstd" {
            return Err(invalid("its compression is not zstd"));
        }
        if payload.size > SIZE_MAX {
            return Err(Error::limit("the size of the payload", SIZE_MAX));
        }
        if payload.recipients.len() > RECIPIENTS_MAX {
            return Err(Error::limit("the number of recipients", RECIPIENTS_MAX as u64));
        }
        Ok(())
    }

    /// The bytes to sign, filled up to `length` with line feeds; as long as they must be if that is shorter.
    pub(crate) fn to_bytes(&self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest has string keys only");
        bytes.push(b'\n');
        bytes.resize(bytes.len().max(length), b'\n');
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(Error::limit("the size of the manifest", MANIFEST_MAX));
        }
        Ok(bytes)
    }
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidManifest { reason: reason.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../tests/testkit/manifest.json");

    #[test]
    fn unknown_keys_are_ignored_and_null_may_be_left_out() {
        let known = Manifest::parse(GOOD.as_bytes()).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(GOOD).unwrap();
        value["colour"] = "red".into();
        value["payload"]["colour"] = serde_json::json!({ "deep": [1, 2] });
        assert_eq!(Manifest::parse(value.to_string().as_bytes()).unwrap(), known);
        value["previous"].take();
        value.as_object_mut().unwrap().remove("previous");
        assert_eq!(Manifest::parse(value.to_string().as_bytes()).unwrap(), Manifest { previous: None, ..known });
    }

    #[test]
    fn written_bytes_are_filled_up_and_read_back() {
        let manifest = Manifest::parse(GOOD.as_bytes()).unwrap();
        let bytes = manifest.to_bytes(8192).unwrap();
        assert_eq!(bytes.len(), 8192);
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
        assert!(manifest.to_bytes(MANIFEST_MAX as usize + 1).is_err());
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        let text = GOOD.replace("10.0.0.4:2377", "[fd00::4]:2377");
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.raft_addr.to_string(), "[fd00::4]:2377");
        assert!(Manifest::parse(text.replace("[fd00::4]", "fd00::4").as_bytes()).is_err());
    }
}

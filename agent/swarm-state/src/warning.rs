//! Warnings: obstacles to a restore, and deviations from what a clean stop leaves.

use std::{fmt, path::PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Damage,
    identity::{Identity, Validity},
    inventory::Inventory,
    state_dir::Survey,
};

/// A fact to know before relying on a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "warning")]
pub enum Warning {
    /// The engine would continue a join instead of starting from this state.
    JoinInProgress,
    /// The engine was changing to a new data key. The old and the new one are both needed, and both are here.
    PendingDataKey,
    /// Autolock was switched on, and the log does not use its new data key yet.
    DataKeyRotationDue,
    /// The renewal of the certificate was interrupted; the engine uses the new one.
    RenewalUnfinished,
    /// The root CA is being rotated. The rotation cannot finish while nodes of this state are missing.
    RootRotation,
    /// Certificates come from an external CA. After a restore one of these CAs must answer before any node can join.
    ExternalCa {
        /// URLs of the external CAs.
        urls: Vec<String>,
    },
    /// The swarm cannot renew certificates by itself.
    NoCaKey,
    /// The root CA file differs from the root CA in the store.
    RootCaDiffers,
    /// This node is no longer a member of the raft cluster.
    NotAMember,
    /// A crash, a repair or an old engine left this behind.
    Leftover {
        /// Path relative to the state directory.
        path: PathBuf,
        /// Size in bytes.
        size: u64,
    },
    /// The log ends directly after a record, without the space that an engine preallocates: an engine repaired it, or
    /// it was truncated there by hand. Records after it may be lost without a trace.
    ShortTail {
        /// Path of the segment below the state directory.
        file: String,
        /// Length of the segment in bytes.
        offset: u64,
    },
    /// The newest snapshot is damaged. An engine skips it when it starts, and reaches the same state from an older one
    /// or from the whole log.
    SnapshotPassedOver {
        /// Damage of the newest snapshot.
        first: Damage,
    },
    /// There are entries at the end that no majority had confirmed; force-new-cluster drops them.
    UncommittedEntries {
        /// Number of them.
        count: u64,
    },
    /// There are transactions that every engine drops while it replays the log.
    RefusedTransactions {
        /// Number of them.
        count: u64,
        /// Position of the first one, and the reason.
        first: Damage,
    },
    /// The node certificate has ended.
    NodeCertificateExpired {
        /// End of its validity.
        not_after: Timestamp,
        /// Whether force-new-cluster signs a new one; absent if the log was not decrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        renews: Option<bool>,
    },
    /// The node certificate ends soon. A manager that is running would have renewed it already.
    NodeCertificateExpiresSoon {
        /// End of its validity.
        not_after: Timestamp,
        /// Whether force-new-cluster signs a new one; absent if the log was not decrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        renews: Option<bool>,
    },
    /// The node certificate is not valid yet. The clock is wrong, and every start fails.
    NodeCertificateNotYetValid {
        /// Start of its validity.
        not_before: Timestamp,
    },
    /// The root CA has ended. No engine starts with it.
    RootCaExpired {
        /// End of its validity.
        not_after: Timestamp,
    },
    /// The root CA ends soon.
    RootCaExpiresSoon {
        /// End of its validity.
        not_after: Timestamp,
    },
}

/// Time before the end of the root CA at which the warning begins. A root CA lasts 20 years, and a
/// rotation needs planning.
const ROOT_CA_SOON: SignedDuration = SignedDuration::from_hours(180 * 24);

/// Divisor of the lifetime of a node certificate: the warning begins in the last fifth. Managers renew their
/// certificate when half to four fifths of its life are over (swarmkit `ca/renewer.go`). In the last fifth something
/// prevents that, or the state is old.
const NODE_CERTIFICATE_SOON: i32 = 5;

impl Warning {
    /// Returns the warnings about the dates of the certificates at `now`. `renews` is whether the swarm signs
    /// its own certificates.
    pub fn of_certificates(
        node: Option<Validity>,
        root_not_after: Option<Timestamp>,
        now: Timestamp,
        renews: Option<bool>,
    ) -> Vec<Self> {
        let mut warnings = Vec::new();
        if let Some(Validity { not_before, not_after }) = node {
            let soon = not_after.duration_since(not_before) / NODE_CERTIFICATE_SOON;
            if not_before > now {
                warnings.push(Self::NodeCertificateNotYetValid { not_before });
            }
            if not_after < now {
                warnings.push(Self::NodeCertificateExpired { not_after, renews });
            } else if not_after.duration_since(now) < soon {
                warnings.push(Self::NodeCertificateExpiresSoon { not_after, renews });
            }
        }
        match root_not_after {
            Some(not_after) if not_after < now => warnings.push(Self::RootCaExpired { not_after }),
            Some(not_after) if not_after.duration_since(now) < ROOT_CA_SOON => {
                warnings.push(Self::RootCaExpiresSoon { not_after });
            }
            _ => {}
        }
        warnings
    }
}

/// Returns text about what happens to an ended node certificate when a new cluster is forced.
fn renewal(renews: Option<bool>) -> &'static str {
    match renews {
        Some(true) => "a restore renews it",
        Some(false) => "a restore cannot renew it, since the swarm does not sign its certificates itself",
        None => "a restore renews it if the swarm signs its certificates itself",
    }
}

/// Returns the warnings that need no key.
pub(super) fn of_files(identity: &Identity, survey: &Survey) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if identity.engine.as_ref().is_some_and(|engine| engine.join_in_progress) {
        warnings.push(Warning::JoinInProgress);
    }
    if identity.key.is_some_and(|key| key.pending_data_key) {
        warnings.push(Warning::PendingDataKey);
    }
    if identity.key.is_some_and(|key| key.needs_rotation) {
        warnings.push(Warning::DataKeyRotationDue);
    }
    let leftover = |found: &super::state_dir::Found| Warning::Leftover { path: found.path.clone(), size: found.size };
    warnings.extend(survey.leftovers().into_iter().map(leftover));
    warnings
}

pub(super) fn of_inventory(identity: &Identity, inventory: &Inventory) -> Vec<Warning> {
    let cluster = &inventory.cluster;
    let mut warnings = Vec::new();
    if cluster.root_rotation == Some(true) {
        warnings.push(Warning::RootRotation);
    } else if cluster.root_ca_digest.as_ref().is_some_and(|digest| *digest != identity.root_ca_digest) {
        warnings.push(Warning::RootCaDiffers);
    }
    let urls = cluster.external_cas.clone().unwrap_or_default();
    if !urls.is_empty() {
        warnings.push(Warning::ExternalCa { urls });
    }
    if cluster.has_ca_key == Some(false) {
        warnings.push(Warning::NoCaKey);
    }
    let member = |raft: &super::inventory::Raft| raft.members.iter().any(|m| m.raft_id == raft.raft_id);
    if inventory.raft.as_ref().is_some_and(|raft| !member(raft)) {
        warnings.push(Warning::NotAMember);
    }
    warnings
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinInProgress => {
                f.write_str("a join to another manager never ended: the engine would try it again at every start")
            }
            Self::PendingDataKey => f.write_str("a new key for the raft log was being taken into use"),
            Self::DataKeyRotationDue => f.write_str("the raft log has not got the new key that autolock asks for"),
            Self::RenewalUnfinished => {
                f.write_str("a renewal of the node certificate was interrupted; the new certificate counts")
            }
            Self::RootRotation => f.write_str("the root CA is being rotated, which cannot end while nodes are gone"),
            Self::ExternalCa { urls } => {
                write!(f, "certificates come from an external CA ({}): no node joins until it answers", urls.join(", "))
            }
            Self::NoCaKey => f.write_str("the swarm does not hold the key of its root CA"),
            Self::RootCaDiffers => f.write_str("swarm-root-ca.crt is not the root CA that the raft log holds"),
            Self::NotAMember => f.write_str("this node is no member of the raft cluster any more"),
            Self::Leftover { path, size } => {
                write!(f, "{} ({size} bytes) was left behind by a crash, a repair or an old engine", path.display())
            }
            Self::ShortTail { file, offset } => {
                write!(
                    f,
                    "{file} ends at byte {offset} without space ahead: it was repaired by an engine, or cut off there"
                )
            }
            Self::SnapshotPassedOver { first } => {
                write!(
                    f,
                    "the newest raft snapshot is damaged ({first}); an engine passes over it, and the log makes up for it"
                )
            }
            Self::UncommittedEntries { count } => {
                write!(f, "{count} log entries at the end had not been confirmed by a majority")
            }
            Self::RefusedTransactions { count, first } => {
                write!(f, "{count} transactions are dropped at every replay, the first at {first}")
            }
            Self::NodeCertificateExpired { not_after, renews } => {
                write!(f, "the node certificate ended on {not_after}; {}", renewal(*renews))
            }
            Self::NodeCertificateExpiresSoon { not_after, renews } => {
                write!(f, "the node certificate ends on {not_after}, and was not renewed when it was time; ")?;
                write!(f, "after that day {}", renewal(*renews))
            }
            Self::NodeCertificateNotYetValid { not_before } => {
                write!(f, "the node certificate begins on {not_before}: check the clock")
            }
            Self::RootCaExpired { not_after } => write!(f, "the root CA ended on {not_after}"),
            Self::RootCaExpiresSoon { not_after } => write!(f, "the root CA ends on {not_after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: &str) -> Timestamp {
        format!("2026-{day}T00:00:00Z").parse().unwrap()
    }

    fn told(now: &str, renews: Option<bool>) -> Vec<String> {
        let node = Validity { not_before: day("01-01"), not_after: day("04-01") };
        let warnings = Warning::of_certificates(Some(node), Some(day("12-31")), day(now), renews);
        warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn certificates_are_warned_of_in_time_and_not_before() {
        assert_eq!(told("03-01", Some(true)), [""; 0], "90 days, of which 31 are left");
        assert!(
            told("03-20", Some(true))[0].contains("was not renewed when it was time; after that day a restore renews")
        );
        assert!(told("04-02", Some(true))[0].ends_with("ended on 2026-04-01T00:00:00Z; a restore renews it"));
        let text = &told("04-02", Some(false))[0];
        assert!(text.contains("a restore cannot renew it"), "{text}");
        assert!(told("04-02", None)[0].contains("a restore renews it if the swarm signs"));
        assert!(Warning::of_certificates(None, None, day("04-02"), None).is_empty());
        let early = Validity { not_before: day("05-01"), not_after: day("08-01") };
        assert!(Warning::of_certificates(Some(early), None, day("04-02"), None)[0].to_string().contains("the clock"));
        assert!(told("07-10", Some(true))[1].contains("the root CA ends on"));
    }
}

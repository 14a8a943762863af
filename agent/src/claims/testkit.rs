//! Claims made up for tests.

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{ClusterId, Digest, KeyId, SecretKey, receipt};
use swarmdr_vault::testkit::archives::{cluster_id, key, minute};

use super::{Claim, ClaimId, PromotedFrom, Reading, Release, ReleaseKind, Seen, SeenRelease, Verb, document::VERSION};

pub(crate) fn cluster() -> ClusterId {
    cluster_id()
}

/// The claim with this epoch and id, by a site that is named after its id, which follows another one.
pub(crate) fn claim(epoch: u32, id: u8, previous: Option<&Seen>) -> Claim {
    Claim {
        version: VERSION,
        epoch,
        cluster_id: cluster(),
        previous: previous.map(|seen| seen.digest),
        claim_id: ClaimId::of(id),
        site: format!("site-{id}"),
        addresses: vec!["10.0.0.4:2377".parse().expect("is an address")],
        promoted_from: PromotedFrom {
            backup: "20261121T100000Z-00000001".parse().expect("is an id"),
            manifest_digest: Digest::of(b"manifest"),
        },
        verb: Verb::Restore,
        at: minute(0),
        reason: None,
        fence: Vec::new(),
        formed: false,
    }
}

/// The claim as it is seen, stored at this second.
pub(crate) fn seen(claim: Claim, second: i64) -> Seen {
    let digest = Digest::of(&serde_json::to_vec_pretty(&claim).expect("serialises"));
    let at =
        swarmdr_vault::VersionRef::new(super::Name::Claim(claim.epoch).key(&cluster()), claim.claim_id.to_string());
    Seen { claim, digest, signer: signer_id(), stored: second_at(second), at, size: 4096 }
}

fn signer_id() -> KeyId {
    key().public().key_id()
}

pub(crate) fn second_at(second: i64) -> Timestamp {
    minute(0) + SignedDuration::from_secs(second)
}

pub(crate) fn reading(vault: &str, claims: Vec<Seen>) -> Reading {
    let taken = claims.iter().map(|seen| seen.claim.epoch).collect();
    Reading {
        vault: format!("memory://{vault}"),
        now: minute(60),
        claims,
        releases: Vec::new(),
        taken,
        strangers: Vec::new(),
        others: 0,
        is_whole: true,
    }
}

/// The release of a claim that never counted, as it is seen.
pub(crate) fn released(seen: &Seen) -> SeenRelease {
    let Claim { epoch, cluster_id, claim_id, site, .. } = seen.claim.clone();
    let (kind, reason) = (ReleaseKind::Undone, "undone".to_owned());
    let release = Release { version: VERSION, epoch, cluster_id, claim_id, kind, site, at: second_at(0), reason };
    SeenRelease { release, digest: seen.digest, signer: seen.signer, at: seen.at.clone(), size: seen.size }
}

/// The bytes of the object that holds a claim.
pub(crate) fn packed(claim: &Claim, key: &SecretKey) -> Vec<u8> {
    receipt::seal(key, &serde_json::to_vec_pretty(claim).expect("serialises"), "a claim", 0).expect("is small")
}

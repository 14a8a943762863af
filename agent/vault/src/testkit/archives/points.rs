//! Recovery points of a made-up host.

use jiff::Timestamp;
use swarmdr_archive::{
    BackupId, SecretKey,
    point::{self, Point, StatePart, VERSION},
};

use super::{Archive, cluster_id};
use crate::{Vault, store_bytes};

/// Makes a point that names nothing and lacks nothing.
pub fn invented(at: Timestamp, tag: u8) -> Point {
    Point {
        version: VERSION,
        id: BackupId::new(at, [tag; 4]),
        cluster_id: cluster_id(),
        sequence: 1,
        previous: None,
        made_at: at,
        hostname: "m1".to_owned(),
        agent_version: "0.1.0".to_owned(),
        state: None,
        streams: Vec::new(),
        external: Vec::new(),
        images: None,
        gaps: Vec::new(),
        left_out: 0,
    }
}

/// The part of a point that names this backup.
pub fn state(of: &Archive) -> StatePart {
    StatePart { backup: of.name.id(), manifest_digest: of.digest, created_at: of.name.id().created_at() }
}

pub fn packed(point: &Point, key: &SecretKey) -> Vec<u8> {
    point::seal(point, key).unwrap()
}

/// Stores a point at the time when it was made.
pub async fn put(vault: &dyn Vault, point: &Point, key: &SecretKey) {
    store_bytes(vault, point.key().to_string(), &packed(point, key), point.made_at).await.unwrap();
}

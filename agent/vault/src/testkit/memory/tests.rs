use std::sync::Arc;

use super::*;
use crate::testkit::{
    conformance::{self, Abilities},
    injector::{Injected, InjectingVault},
};

const ABILITIES: Abilities = Abilities {
    create_only: true,
    create_only_in_a_race: true,
    verifies_checksum: true,
    locks: true,
    locks_parts: true,
    multipart_from: None,
    stream_part: 5,
};

fn locking() -> MemoryVault {
    let limits = PartLimits { smallest: 5, largest: 10_000, most: 1000 };
    MemoryVault::new("v", Some(LockPolicy { mode: LockMode::Governance, days: 1 })).with_part_limits(limits)
}

#[tokio::test]
async fn conforms() {
    conformance::run(Arc::new(locking()), ABILITIES).await;
}

#[tokio::test]
async fn conforms_without_locks() {
    let can = Abilities { locks: false, locks_parts: false, ..ABILITIES };
    conformance::run(Arc::new(MemoryVault::new("v", None)), can).await;
}

#[tokio::test]
async fn conforms_behind_the_injector() {
    conformance::run(Arc::new(InjectingVault::new(Arc::new(locking()), |_| Injected::None)), ABILITIES).await;
}

#[tokio::test]
async fn versions_below_a_marker_are_still_listed() {
    let vault = locking();
    let first = vault.overlay("k", "one");
    let second = vault.overlay("k", "two");
    let marker = vault.hide("k");
    let page = vault.list_versions("", None).await.unwrap();
    let listed: Vec<_> = page.versions.iter().map(|v| (&v.at, v.is_latest, v.is_delete_marker)).collect();
    assert_eq!(listed, [(&marker, true, true), (&second, false, false), (&first, false, false)]);
    assert!(matches!(vault.head(&marker).await, Err(VaultError::NotFound { .. })));
}

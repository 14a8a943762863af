//! The good archives that a vault holds.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::{ClusterId, TrustedKeys};
use swarmdr_vault::{
    Lock, VersionRef,
    catalog::{Filter, Place, Series, SignedHead, Timing, Verdict, Walk, order},
};

use crate::{host::shutdown::Shutdown, vaults::Connected};

/// A good archive in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub place: Place,
    pub at: VersionRef,
    pub size: u64,
    pub proven: bool,
    pub lock: Option<Lock>,
    /// Whether a recovery point names it that stays because it is the newest complete one.
    pub in_point: bool,
}

impl Held {
    /// True if the vault's clock confirms the time in its id, and if that is not in the future.
    pub fn is_regular(&self, now: Timestamp) -> bool {
        self.place.timing() == Timing::Prompt && self.place.is_past(now)
    }
}

/// Lists the good archives of a vault by series, newest first. All of them, or those of one cluster.
pub async fn list<S: Series>(
    connected: &Connected,
    wanted: &S::Wanted,
    cluster: Option<&ClusterId>,
    keys: &TrustedKeys,
    shutdown: &Shutdown,
    now: Timestamp,
) -> Result<BTreeMap<S, Vec<Held>>> {
    let listed = list_with(connected, wanted, cluster, keys, shutdown, now, |_: &S::Head| ()).await?;
    let without = |held: Vec<(Held, ())>| held.into_iter().map(|(held, ())| held).collect();
    Ok(listed.into_iter().map(|(series, held)| (series, without(held))).collect())
}

/// Does what [`list`] does, and keeps something of each head.
pub async fn list_with<S: Series, T: Clone>(
    connected: &Connected,
    wanted: &S::Wanted,
    cluster: Option<&ClusterId>,
    keys: &TrustedKeys,
    shutdown: &Shutdown,
    now: Timestamp,
    keep: impl Fn(&S::Head) -> T,
) -> Result<BTreeMap<S, Vec<(Held, T)>>> {
    let vault = connected.vault.as_ref();
    let filter = Filter { cluster: cluster.cloned(), ..Filter::default() };
    let mut all: BTreeMap<S, Vec<(Held, T)>> = BTreeMap::new();
    for series in shutdown.or_interrupted(async { Ok(S::list(vault, wanted, &filter).await?) }).await?.names {
        let mut walk = Walk::new(vault, &series, &filter, keys, now);
        while let Some(entry) = shutdown.or_interrupted(async { Ok(walk.next().await?) }).await? {
            // What was not reached may be what another one depends on.
            let entry = entry.reached().context("failed to read an archive, so nothing is planned")?;
            let Verdict::Good(head) = &entry.verdict else {
                tracing::warn!(vault = vault.address(), "left alone: {entry}");
                continue;
            };
            let lock = vault.head(&entry.at).await.context("failed to read a lock, so nothing is planned")?.lock;
            let (place, proven) = (Place::of(head.as_ref(), entry.modified), head.facts().is_proven);
            let held = Held { place, at: entry.at.clone(), size: entry.size, proven, lock, in_point: false };
            all.entry(S::of(head)).or_default().push((held, keep(head)));
        }
    }
    for held in all.values_mut() {
        let places: Vec<Place> = held.iter().map(|(held, _)| held.place.clone()).collect();
        *held = order::ranked(&places).into_iter().map(|index| held[index].clone()).collect();
    }
    Ok(all)
}

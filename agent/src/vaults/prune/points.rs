//! Which recovery points stay: those whose parts do, the newest and the newest complete one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::{ClusterId, Digest, point::Point};

use super::{Act, PruneDecision, held::Held};

/// The plan for the recovery points of one cluster in one vault.
#[derive(Debug, Clone, Serialize)]
pub struct PointPlan {
    pub vault: String,
    pub cluster: ClusterId,
    /// Days after which a point goes whose parts only stay because they are the newest ones.
    pub keep_days: u32,
    /// Decisions, newest point first.
    pub points: Vec<PruneDecision>,
    /// As [`super::VaultPlan::acts`].
    pub acts: bool,
}

/// Backups and streams that stay in a vault, by the digest of their manifest.
#[derive(Debug, Clone, Default)]
pub struct Staying(BTreeMap<Digest, Because>);

/// Why an archive stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Because {
    /// There is no newer one of its kind, so it may stay for ever.
    Newest,
    /// The policy keeps it, or its lock does: it will go.
    Ends,
}

impl Staying {
    /// Adds the decisions about one series, newest first.
    pub fn add(&mut self, decisions: &[PruneDecision]) {
        for (n, decision) in decisions.iter().enumerate().filter(|(_, decision)| decision.act != Act::Remove) {
            let because = if n == 0 { Because::Newest } else { Because::Ends };
            self.0.insert(decision.digest, because);
        }
    }

    /// Why the longest-lived part of a point that does not stay for ever is there; `None` if no part is. Whether the
    /// snapshot of another tool is still there is not known.
    fn of(&self, point: &Point) -> Option<Because> {
        let external = (!point.external.is_empty()).then_some(Because::Newest);
        parts(point).filter_map(|digest| self.0.get(&digest).copied()).chain(external).max()
    }
}

/// Returns the archives that the newest complete point names: they stay with it.
pub fn in_newest_complete(points: &[(Held, Point)], now: Timestamp) -> BTreeSet<Digest> {
    newest_complete(points, now).into_iter().flat_map(|(_, point)| parts(point)).collect()
}

/// Decides about the points of one cluster, newest first. A point stays as long as something stays that it names. If that
/// is only what is the newest of its kind, which may stay for ever, it goes after so many days.
pub fn plan(points: &[(Held, Point)], staying: &Staying, keep_days: u32, now: Timestamp) -> Vec<PruneDecision> {
    let complete: BTreeSet<Digest> = newest_complete(points, now).iter().map(|(held, _)| held.place.digest).collect();
    let newest: BTreeSet<Digest> = groups(points, now).filter_map(|of| Some(of.first()?.0.place.digest)).collect();
    let decide = |(held, point): &(Held, Point)| {
        let age = now.duration_since(held.place.made());
        let is_old = age > SignedDuration::from_hours(24 * i64::from(keep_days));
        let mut because = Vec::new();
        because.extend(newest.contains(&held.place.digest).then(|| "newest".to_owned()));
        because.extend(complete.contains(&held.place.digest).then(|| "newest complete".to_owned()));
        because.extend(match staying.of(point) {
            Some(Because::Ends) => Some("what it names stays".to_owned()),
            Some(Because::Newest) if !is_old => Some(format!("within {keep_days} days")),
            Some(Because::Newest) | None => None,
        });
        PruneDecision::of(held, because, now)
    };
    points.iter().map(decide).collect()
}

/// The newest complete point, and that of those whose time the vault's clock does not confirm.
fn newest_complete(points: &[(Held, Point)], now: Timestamp) -> Vec<&(Held, Point)> {
    groups(points, now).filter_map(|of| of.into_iter().find(|(_, point)| point.is_complete())).collect()
}

/// The points whose time the vault's clock confirms, and the others: none displaces one of the other group.
fn groups(points: &[(Held, Point)], now: Timestamp) -> impl Iterator<Item = Vec<&(Held, Point)>> {
    let group = move |regular| points.iter().filter(|(held, _)| held.is_regular(now) == regular).collect();
    [true, false].into_iter().map(group)
}

fn parts(point: &Point) -> impl Iterator<Item = Digest> {
    let state = point.state.iter().map(|state| state.manifest_digest);
    state.chain(point.streams.iter().map(|stream| stream.manifest_digest))
}

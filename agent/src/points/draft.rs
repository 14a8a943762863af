//! Puts a recovery point together from what vaults hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use swarmdr_archive::{
    BackupId, ClusterId, Digest,
    point::{ExternalPart, ImagesPart, Point, SignedPoint, StatePart, StreamPart, VERSION},
    stream_archive::{StreamHead, StreamName},
};
use swarmdr_vault::{
    catalog::{PointSeries, SignedHead, StreamSeries, View, order},
    clock::SKEW,
};

use super::expected::Expected;

/// Who makes a point, and when.
#[derive(Debug, Clone)]
pub struct Maker<'a> {
    pub cluster: &'a ClusterId,
    pub id: BackupId,
    pub at: Timestamp,
    pub hostname: String,
    pub expected: &'a Expected,
    /// A snapshot of another tool that was made now.
    pub external: Option<ExternalPart>,
    /// What this host's own check of the images found.
    pub images: Option<ImagesPart>,
}

/// What was found, over all vaults.
#[derive(Debug, Default)]
pub struct Seen {
    pub state: View<ClusterId>,
    pub streams: BTreeMap<StreamName, View<StreamSeries>>,
    pub points: View<PointSeries>,
}

impl Maker<'_> {
    /// Makes the document: of each kind the newest that had ended by then.
    pub fn draft(self, seen: &Seen) -> Point {
        let before = order::newest(&seen.points.places, |_| true, self.at).map(|index| &seen.points.entries[index].1);
        let state = self.state(&seen.state);
        let streams: Vec<StreamPart> = seen.streams.values().filter_map(|view| self.stream(view)).collect();
        let external = self.external(&seen.points, before);
        let images = self.images(before);
        let gaps = self.expected.gaps(self.at, state.as_ref(), &streams, &external, images);
        let point = Point {
            version: VERSION,
            id: self.id,
            cluster_id: self.cluster.clone(),
            sequence: before.map_or(1, |before| before.point.sequence.saturating_add(1)),
            previous: before.map(|before| before.digest),
            made_at: self.at,
            hostname: self.hostname,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            state,
            streams,
            external,
            images,
            gaps,
            left_out: 0,
        };
        cut(point, self.expected)
    }

    fn state(&self, view: &View<ClusterId>) -> Option<StatePart> {
        let was_made = |index: usize| view.entries[index].1.manifest.created_at <= self.at;
        let is_usable = |index: usize| was_made(index) && view.entries[index].1.facts().is_usable;
        let newest = |counts: &dyn Fn(usize) -> bool| order::newest(&view.places, counts, self.at);
        let head = &view.entries[newest(&is_usable).or_else(|| newest(&was_made))?].1;
        Some(StatePart {
            backup: head.manifest.id,
            manifest_digest: head.manifest_digest,
            created_at: head.manifest.created_at,
        })
    }

    fn stream(&self, view: &View<StreamSeries>) -> Option<StreamPart> {
        let had_ended = |index: usize| view.entries[index].1.manifest.ended_at <= self.at;
        let StreamHead { manifest, manifest_digest, .. } =
            &view.entries[order::newest(&view.places, had_ended, self.at)?].1;
        Some(StreamPart {
            name: manifest.name.clone(),
            id: manifest.id,
            manifest_digest: *manifest_digest,
            as_of: manifest.as_of,
            started_at: manifest.started_at,
            ended_at: manifest.ended_at,
        })
    }

    /// Returns the snapshots of the point before, those of points that were made at the same time as it by other hosts,
    /// and the new one. One that this host made and whose tool it no longer has is left out.
    fn external(&self, points: &View<PointSeries>, before: Option<&SignedPoint>) -> Vec<ExternalPart> {
        let ancestors = ancestors(points, before);
        let carried = points.entries.iter().filter(|(_, head)| !ancestors.contains(&head.digest));
        let carried = carried.flat_map(|(_, head)| &head.point.external).filter(|part| self.carries(part));
        let mut newest: BTreeMap<&StreamName, &ExternalPart> = BTreeMap::new();
        for part in carried.chain(&self.external) {
            if newest.get(&part.name).is_none_or(|known| known.as_of <= part.as_of) {
                newest.insert(&part.name, part);
            }
        }
        newest.into_values().cloned().collect()
    }

    /// Returns the newest check of the images: this host's own, or that of the point before.
    fn images(&self, before: Option<&SignedPoint>) -> Option<ImagesPart> {
        let carried = before.and_then(|before| before.point.images);
        let latest = self.at.checked_add(SKEW).unwrap_or(Timestamp::MAX);
        let known = self.images.into_iter().chain(carried).filter(|part| part.checked_at <= latest);
        known.max_by_key(|part| part.checked_at)
    }

    fn carries(&self, part: &ExternalPart) -> bool {
        let is_gone = part.host == self.hostname && !self.expected.external.contains_key(&part.name);
        // What a clock that was ahead dated would pass for the newest for good.
        !is_gone && part.as_of <= self.at.checked_add(SKEW).unwrap_or(Timestamp::MAX)
    }
}

/// Returns the digests of the points before the one before: what that one no longer has was left out on purpose.
fn ancestors(points: &View<PointSeries>, before: Option<&SignedPoint>) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let mut next = before.and_then(|before| before.point.previous);
    while let Some(digest) = next.filter(|digest| found.insert(*digest)) {
        let parent = points.entries.iter().find(|(_, head)| head.digest == digest);
        next = parent.and_then(|(_, head)| head.point.previous);
    }
    found
}

/// Leaves streams out until the document has its size: first those that nobody configured here, the oldest first.
fn cut(mut point: Point, expected: &Expected) -> Point {
    while !point.fits() {
        let worth = |part: &StreamPart| (expected.streams.contains_key(&part.name), part.ended_at);
        let least = (0..point.streams.len()).min_by_key(|&index| worth(&point.streams[index]));
        let Some(least) = least else { break };
        point.streams.remove(least);
        point.left_out += 1;
    }
    point
}

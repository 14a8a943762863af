//! What vaults hold that a recovery point may name, read at a bounded cost whatever lies there.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use swarmdr_archive::{ClusterId, TrustedKeys, stream_archive::StreamName};
use swarmdr_vault::{
    Vault, VaultError,
    catalog::{self, Bounds, Entry, Filter, PointSeries, Series, Skipped, StreamSeries, View},
};

/// Number of streams that are looked for at a time.
const AT_ONCE: usize = 8;

/// Number of searches for a stream that had ended, below others that had not.
const MOST_UNENDED: usize = 4;

/// Bounds of one search, or of those for all streams together: a point is made after each backup and each stream.
const BOUNDS: Bounds =
    Bounds { batch: 1024, bad_of_window: 128, bad: 512, bad_when_spent: 16, pages: 200, pages_when_spent: 4 };

/// Who looks, and what counts.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    pub cluster: &'a ClusterId,
    pub keys: &'a TrustedKeys,
    /// Keys whose signatures count on streams.
    pub on_streams: &'a TrustedKeys,
    /// Time of the point.
    pub at: Timestamp,
}

/// Which streams there are in a vault, and the newest points.
#[derive(Debug, Default)]
pub struct Outline {
    pub streams: BTreeSet<StreamName>,
    pub points: View<PointSeries>,
    /// What the operator should know: parts that may have been missed.
    pub told: Vec<String>,
}

/// The newest backups, and the newest streams of each name.
#[derive(Debug, Default)]
pub struct Parts {
    pub state: View<ClusterId>,
    pub streams: BTreeMap<StreamName, View<StreamSeries>>,
    pub told: Vec<String>,
}

impl Look<'_> {
    /// Reads which streams a vault has, and its newest points.
    pub async fn outline(&self, vault: &dyn Vault) -> Result<Outline, VaultError> {
        let filter = Filter::cluster(self.cluster.clone());
        let listed = catalog::streams_of(vault, None, &filter).await?;
        let mut told = Vec::new();
        if listed.passed_over > 0 {
            told.push(format!("{}: it has too many streams, and not all were looked at", vault.address()));
        }
        let points = self.points(vault, &mut told).await?;
        Ok(Outline { streams: listed.names.into_iter().map(|series| series.name).collect(), points, told })
    }

    /// Reads the newest points.
    pub async fn points(&self, vault: &dyn Vault, told: &mut Vec<String>) -> Result<View<PointSeries>, VaultError> {
        let newest = Filter { even_unusable: true, ..Filter::default() };
        self.newest(vault, &PointSeries(self.cluster.clone()), &newest, (BOUNDS, told)).await
    }

    /// Reads the newest backups and streams.
    pub async fn parts(&self, vault: &dyn Vault, names: &BTreeSet<StreamName>) -> Result<Parts, VaultError> {
        let mut parts = Parts::default();
        parts.state = self.newest(vault, self.cluster, &Filter::default(), (BOUNDS, &mut parts.told)).await?;
        // A flood below every name costs no more than one below a single name.
        let bounds = BOUNDS.shared_by(names.len());
        let views = stream::iter(names.iter().cloned()).map(async |name| {
            let series = StreamSeries { cluster: self.cluster.clone(), name: name.clone() };
            let mut told = Vec::new();
            let view = self.ended(vault, &series, (bounds, &mut told)).await;
            (name, view, told)
        });
        let mut views = std::pin::pin!(views.buffered(AT_ONCE));
        while let Some((name, view, told)) = views.next().await {
            parts.streams.insert(name, view?);
            parts.told.extend(told);
        }
        Ok(parts)
    }

    /// Reads the newest streams of a name, and goes on below those that had not ended yet by the clock of their host.
    async fn ended(
        &self,
        vault: &dyn Vault,
        series: &StreamSeries,
        (bounds, told): (Bounds, &mut Vec<String>),
    ) -> Result<View<StreamSeries>, VaultError> {
        let (mut all, mut filter) = (View::default(), Filter::default());
        for _ in 0..MOST_UNENDED {
            let view = self.newest(vault, series, &filter, (bounds, told)).await?;
            let oldest = view.places.iter().map(|place| place.made()).min();
            let has_one = view.entries.iter().any(|(_, head)| head.manifest.ended_at <= self.at);
            extend(&mut all, view);
            if has_one || oldest.is_none() {
                break;
            }
            filter.named_before = oldest;
        }
        Ok(all)
    }

    fn keys_of<S: Series>(&self) -> &TrustedKeys {
        if S::IS_OF_STREAMS { self.on_streams } else { self.keys }
    }

    async fn newest<S: Series>(
        &self,
        vault: &dyn Vault,
        series: &S,
        filter: &Filter,
        (bounds, told): (Bounds, &mut Vec<String>),
    ) -> Result<View<S>, VaultError> {
        let mut skipped = Skipped::default();
        let keys = self.keys_of::<S>();
        // One that was not reached may be the newest, so nothing is known then.
        let on_bad = |entry: Entry<S>| {
            tracing::debug!(vault = vault.address(), "{entry}");
            entry.reached().map(drop)
        };
        let view = catalog::view(vault, series, filter, keys, self.at, (bounds, &mut skipped), on_bad).await?;
        if !skipped.given_up.is_empty() {
            told.push(format!("{}: {}: {}", vault.address(), series.title(), skipped.told(S::WORDS)));
        }
        Ok(view)
    }
}

/// Adds what another vault has.
pub fn extend<S: Series>(all: &mut View<S>, more: View<S>) {
    all.entries.extend(more.entries);
    all.places.extend(more.places);
}

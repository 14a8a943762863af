//! The newest recovery point of a cluster in one vault, and the newest that is complete.

use jiff::Timestamp;
use swarmdr_archive::{TrustedKeys, point::SignedPoint};

use super::{Bounds, Entry, Filter, Place, PointSeries, SignedHead, Skipped, Verdict, Walk, order, view};
use crate::{Vault, VaultError, VersionRef};

/// Number of points that are read to find one that is complete. Where none ever is, all would be read each time.
const MOST: usize = 512;

/// A good point, and where it is.
#[derive(Debug, Clone)]
pub struct SeenPoint {
    pub at: VersionRef,
    pub head: SignedPoint,
    pub place: Place,
}

/// The newest points of a cluster in one vault.
#[derive(Debug, Clone, Default)]
pub struct NewestPoints {
    pub newest: Option<SeenPoint>,
    /// The newest complete one; `None` if there is none among the newest few hundred.
    pub complete: Option<SeenPoint>,
}

/// Finds both. Calls `on_bad` as [`view`] does.
pub async fn newest_points(
    vault: &dyn Vault,
    series: &PointSeries,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    on_bad: impl FnMut(Entry<PointSeries>) -> Result<(), VaultError>,
) -> Result<NewestPoints, VaultError> {
    let any = Filter { even_unusable: true, ..filter.clone() };
    let found = (Bounds::default(), &mut Skipped::default());
    let view = view(vault, series, &any, keys, now, found, on_bad).await?;
    let seen = |index: usize| {
        let ((entry, head), place) = (&view.entries[index], &view.places[index]);
        SeenPoint { at: entry.at.clone(), head: head.clone(), place: place.clone() }
    };
    let is_complete = |index: usize| view.entries[index].1.facts().is_usable;
    let newest = view.newest(now).map(seen);
    let complete = match order::newest(&view.places, is_complete, now).map(seen) {
        None if newest.is_some() => complete_below(vault, series, &any, keys, now).await?,
        found => found,
    };
    Ok(NewestPoints { newest, complete })
}

async fn complete_below(
    vault: &dyn Vault,
    series: &PointSeries,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Option<SeenPoint>, VaultError> {
    let mut walk = Walk::new(vault, series, filter, keys, now);
    let mut read = 0;
    while read < MOST
        && let Some(entry) = walk.next().await?
    {
        let Verdict::Good(head) = &entry.verdict else { continue };
        read += 1;
        if head.facts().is_usable {
            let (head, place) = (SignedPoint::clone(head), Place::of(head.as_ref(), entry.modified));
            return Ok(Some(SeenPoint { at: entry.at, head, place }));
        }
    }
    Ok(None)
}

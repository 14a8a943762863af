//! The newest stream of a name, which the next one follows.

use jiff::Timestamp;
use swarmdr_archive::{Digest, TrustedKeys};
use swarmdr_vault::{
    Vault, VaultError,
    catalog::{self, Bounds, Filter, Skipped, StreamSeries, View, order},
};

use crate::{run::Run, vaults::Connected};

/// What the next stream of a name follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Previous {
    /// Number of the newest one; 0 if there is none.
    pub sequence: u64,
    pub digest: Option<Digest>,
    /// Number of bytes that the command wrote then.
    pub plain_size: Option<u64>,
    /// When the newest one was begun that is not dated in the future; it decides when the next one is due.
    pub begun: Option<Timestamp>,
}

impl Previous {
    /// Finds the newest one over all vaults. Returns what the operator should see, too: each vault that could not be asked.
    pub async fn find(
        run: &Run<'_>,
        vaults: &[Connected],
        series: &StreamSeries,
        keys: &TrustedKeys,
    ) -> (Self, Vec<String>) {
        let (mut all, mut unread) = (View::default(), Vec::new());
        let mut begun = None;
        for connected in vaults {
            match view(connected.vault.as_ref(), series, keys, run.now).await {
                Ok(view) => {
                    begun = begun.max(view.freshest(run.now).map(|place| place.id));
                    all.entries.extend(view.entries);
                    all.places.extend(view.places);
                }
                Err(error) => unread.push(format!(
                    "{}: which stream {} comes after is not known there: {error}",
                    connected.settings.url, series.name
                )),
            }
        }
        let begun = begun.map(|id| id.created_at());
        let Some(newest) = order::newest(&all.places, |_| true, run.now) else {
            return (Self { begun, ..Self::default() }, unread);
        };
        let (place, (_, head)) = (&all.places[newest], &all.entries[newest]);
        let plain_size = Some(head.manifest.payload.plain_size);
        (Self { sequence: place.sequence, digest: Some(place.digest), plain_size, begun }, unread)
    }
}

async fn view(
    vault: &dyn Vault,
    series: &StreamSeries,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<View<StreamSeries>, VaultError> {
    let on_bad = |entry| {
        tracing::warn!(vault = vault.address(), "{entry}");
        Ok(())
    };
    let (filter, found) = (Filter::default(), (Bounds::default(), &mut Skipped::default()));
    catalog::view(vault, series, &filter, keys, now, found, on_bad).await
}

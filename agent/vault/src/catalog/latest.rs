//! Finds the newest good archive of a series over all vaults.

use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId, TrustedKeys, stream_archive::StreamName};
use thiserror::Error;

use super::{
    About, Bounds, Entry, Filter, Findings, Place, PointSeries, Series, Skipped, StreamSeries, Verdict, Visibility,
    gathered, order,
    view::{View, view},
};
use crate::{Vault, VaultError, VersionRef};

/// The newest good archive that is usable, and the findings of the search.
#[derive(Debug)]
pub struct Latest<S: Series = ClusterId> {
    /// Index into the vaults that were searched.
    pub vault: usize,
    pub at: VersionRef,
    pub size: u64,
    pub head: S::Head,
    /// Place in the order of all archives of the series.
    pub place: Place,
    pub findings: Findings<S>,
}

/// Reasons why the newest archive cannot be determined.
#[derive(Debug, Error)]
pub enum CatalogError<S: Series = ClusterId> {
    #[error("the vaults hold {} of {} clusters: {}; say which one is meant", S::WORDS.many, clusters.len(), joined(clusters))]
    SeveralClusters { clusters: Vec<ClusterId> },

    #[error("no {sought} that verifies was found in {vaults}{findings}")]
    NothingGood { sought: String, vaults: String, findings: Findings<S> },

    /// A vault that could not be searched may hold the newest one.
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unanswered {
        /// Addresses of the vaults that could not be searched completely.
        silent: Vec<String>,
        errors: Vec<VaultError>,
        /// Id of the newest one in the other vaults, if they have one.
        other: Option<BackupId>,
    },
}

fn joined(clusters: &[ClusterId]) -> String {
    clusters.iter().map(ClusterId::as_str).collect::<Vec<_>>().join(", ")
}

/// Finds the newest good backup that the filter admits, over all vaults, and checks its place in the lineage.
///
/// A vault that cannot be searched may hold a newer backup, so that is an error. It is only a finding if the filter
/// accepts any vault ([`Filter::any_vault`]), or names an id that another vault has.
///
/// An unproven backup is taken only if there is no other: an older one that works is better. If the filter names no
/// cluster, good backups of two clusters are an error, because the caller must choose.
pub async fn find_latest(
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Latest, CatalogError> {
    find(vaults, &(), filter, keys, now).await
}

/// Finds the newest good stream of this name that the filter admits, over all vaults, by the same rules as
/// [`find_latest`].
pub async fn find_latest_stream(
    vaults: &[Arc<dyn Vault>],
    name: &StreamName,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Latest<StreamSeries>, CatalogError<StreamSeries>> {
    find(vaults, &Some(name.clone()), filter, keys, now).await
}

/// Finds the newest good point that is complete, or else the newest of all that the filter admits, over all vaults, by the
/// same rules as [`find_latest`]. With [`Filter::even_unusable`] it is the newest in any case.
pub async fn find_latest_point(
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Latest<PointSeries>, CatalogError<PointSeries>> {
    find(vaults, &(), filter, keys, now).await
}

async fn find<S: Series>(
    vaults: &[Arc<dyn Vault>],
    wanted: &S::Wanted,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Latest<S>, CatalogError<S>> {
    let mut findings = Findings::default();
    let seen = AllViews::of(vaults, wanted, filter, keys, now, &mut findings).await?;
    let chosen = seen.choose(filter, now);
    let other = chosen.map(|(best, _)| seen.places[best].id);
    if other.is_none() || !(filter.any_vault || filter.id.is_some()) {
        findings = findings.require_answers(other)?;
    }
    let Some((best, newest)) = chosen else {
        let vaults = vaults.iter().map(|vault| vault.address().to_owned()).collect::<Vec<_>>().join(", ");
        return Err(CatalogError::NothingGood { sought: S::sought(wanted), vaults, findings });
    };
    let AllViews { vaults: of_vault, mut entries, places } = seen;
    let last_named = (0..places.len()).max_by_key(|&index| places[index].id).unwrap_or(best);
    let (entry, head) = entries.remove(best);
    let mut report = |index: usize, about: &dyn Fn(Box<Entry<S>>) -> About<S>| {
        let (entry, _) = entries.remove(if index > best { index - 1 } else { index });
        findings.add(vaults[of_vault[index]].as_ref(), about(Box::new(entry)));
    };
    if newest != best {
        report(newest, &About::Unproven);
    } else if places[last_named].made().duration_since(places[best].ended) > order::GRACE {
        let chosen = places[best].id;
        report(last_named, &|entry| About::DatedAfterNewer { entry, by: chosen });
    }
    for broken in gathered::of_newest(vaults, filter, keys, now, &head, &(of_vault.clone(), places)).await {
        findings.add_break(broken);
    }
    let (vault, at, size) = (of_vault[best], entry.at.clone(), entry.size);
    let place = Place::of(&head, entry.modified);
    if let Some(doubtful) = doubtful(entry, &head) {
        findings.add(vaults[vault].as_ref(), About::Entry(Box::new(doubtful)));
    }
    Ok(Latest { vault, at, size, head, place, findings })
}

/// Returns the entry of the newest archive if the operator must know that it is hidden, or stored before its time.
fn doubtful<S: Series>(entry: Entry<S>, head: &S::Head) -> Option<Entry<S>> {
    if entry.visibility != Visibility::Plain {
        return Some(entry);
    }
    let verdict = Verdict::Impossible(Box::new(head.clone()));
    entry.is_impossible().then_some(Entry { verdict, ..entry })
}

/// Candidates for the newest archive, from all vaults.
struct AllViews<S: Series> {
    /// Index of the vault of each one.
    vaults: Vec<usize>,
    entries: Vec<(Entry<S>, S::Head)>,
    places: Vec<Place>,
}

impl<S: Series> AllViews<S> {
    /// Searches each vault. Fails if what was found is of several clusters.
    async fn of(
        vaults: &[Arc<dyn Vault>],
        wanted: &S::Wanted,
        filter: &Filter,
        keys: &TrustedKeys,
        now: Timestamp,
        findings: &mut Findings<S>,
    ) -> Result<Self, CatalogError<S>> {
        let mut seen = Self { vaults: Vec::new(), entries: Vec::new(), places: Vec::new() };
        for (index, vault) in vaults.iter().enumerate() {
            for view in newest_of_each_series(vault.as_ref(), wanted, filter, keys, now, findings).await {
                seen.add(index, view);
            }
        }
        let clusters = seen.clusters();
        if clusters.len() > 1 { Err(CatalogError::SeveralClusters { clusters }) } else { Ok(seen) }
    }

    fn add(&mut self, vault: usize, view: View<S>) {
        self.vaults.extend(view.places.iter().map(|_| vault));
        self.entries.extend(view.entries);
        self.places.extend(view.places);
    }

    fn clusters(&self) -> Vec<ClusterId> {
        let mut clusters: Vec<_> = self.entries.iter().map(|(_, head)| S::of(head).cluster().clone()).collect();
        clusters.sort();
        clusters.dedup();
        clusters
    }

    /// Returns the indexes of the newest archive that is usable (or else of the newest of all), and of
    /// the newest of all. Of equal ones the first is taken, because vaults are configured in the order of preference.
    fn choose(&self, filter: &Filter, now: Timestamp) -> Option<(usize, usize)> {
        let newest = order::newest(&self.places, |_| true, now)?;
        let usable = |index: usize| filter.counts(&self.entries[index].1);
        Some((order::newest(&self.places, usable, now).unwrap_or(newest), newest))
    }
}

async fn newest_of_each_series<S: Series>(
    vault: &dyn Vault,
    wanted: &S::Wanted,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    findings: &mut Findings<S>,
) -> Vec<View<S>> {
    let listed = match S::list(vault, wanted, filter).await {
        Ok(listed) => listed,
        Err(error) => {
            findings.add(vault, About::Vault(error));
            return Vec::new();
        }
    };
    let bounds = Bounds::default().shared_by(listed.names.len());
    let mut skipped = Skipped { junk: listed.junk, ..Skipped::default() };
    let mut found = Vec::new();
    for series in &listed.names {
        // A broken connection ends the search: an older backup must not be taken for the newest because of it.
        let on_bad = |entry: Entry<S>| {
            findings.add(vault, About::Entry(Box::new(entry.reached()?)));
            Ok(())
        };
        match view(vault, series, filter, keys, now, (bounds, &mut skipped), on_bad).await {
            Ok(view) => found.push(view),
            Err(error) => findings.add(vault, About::Vault(error)),
        }
    }
    if !skipped.is_empty() {
        findings.add(vault, About::Skipped(skipped));
    }
    if listed.passed_over > 0 {
        findings.add(vault, About::PassedOver(listed.passed_over));
    }
    found
}

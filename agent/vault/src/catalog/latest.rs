//! Finds the newest good backup over all vaults.

use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId, TrustedKeys, reader::Head};
use thiserror::Error;

use super::{
    About, Bounds, Entry, Filter, Findings, Place, Skipped, Timing, Verdict, Visibility, clusters, gathered, order,
    view::{View, is_usable, view},
};
use crate::{Vault, VaultError, VersionRef};

/// The newest good backup that an engine can start from, and the findings of the search.
#[derive(Debug)]
pub struct Latest {
    /// Index into the vaults that were searched.
    pub vault: usize,
    pub at: VersionRef,
    pub size: u64,
    pub head: Head,
    /// Place in the order of all backups.
    pub place: Place,
    pub findings: Findings,
}

/// Reasons why the newest backup cannot be determined.
#[derive(Debug, Error)]
pub enum CatalogError {
    #[error("the vaults hold backups of {} clusters: {}; say which one is meant", clusters.len(), joined(clusters))]
    SeveralClusters { clusters: Vec<ClusterId> },

    #[error("no backup that verifies was found in {vaults}{findings}")]
    NothingGood { vaults: String, findings: Findings },

    /// A vault that could not be searched may hold the newest backup.
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unanswered {
        /// Addresses of the vaults that could not be searched completely.
        silent: Vec<String>,
        errors: Vec<VaultError>,
        /// Id of the newest backup in the other vaults, if they have one.
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
    let mut findings = Findings::default();
    let seen = AllViews::of(vaults, filter, keys, now, &mut findings).await?;
    let chosen = seen.choose(now);
    let other = chosen.map(|(best, _)| seen.places[best].id);
    if other.is_none() || !(filter.any_vault || filter.id.is_some()) {
        findings = findings.require_answers(other)?;
    }
    let Some((best, newest)) = chosen else {
        let vaults = vaults.iter().map(|vault| vault.address().to_owned()).collect::<Vec<_>>().join(", ");
        return Err(CatalogError::NothingGood { vaults, findings });
    };
    let AllViews { vaults: of_vault, mut entries, places } = seen;
    let last_named = (0..places.len()).max_by_key(|&index| places[index].id).unwrap_or(best);
    let (entry, head) = entries.remove(best);
    let mut report = |index: usize, about: &dyn Fn(Box<Entry>) -> About| {
        let (entry, _) = entries.remove(if index > best { index - 1 } else { index });
        findings.add(vaults[of_vault[index]].as_ref(), about(Box::new(entry)));
    };
    if newest != best {
        report(newest, &About::Unproven);
    } else if places[last_named].made() > places[best].made() + order::GRACE {
        let chosen = head.manifest.id;
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

/// Returns the entry of the newest backup if the operator must know that it is hidden, or stored before its time.
fn doubtful(entry: Entry, head: &Head) -> Option<Entry> {
    if entry.visibility != Visibility::Plain {
        return Some(entry);
    }
    let verdict = Verdict::Impossible(Box::new(head.clone()));
    (entry.timing() == Timing::Impossible).then_some(Entry { verdict, ..entry })
}

/// Candidates for the newest backup, from all vaults.
#[derive(Default)]
struct AllViews {
    /// Index of the vault of each backup.
    vaults: Vec<usize>,
    entries: Vec<(Entry, Head)>,
    places: Vec<Place>,
}

impl AllViews {
    /// Searches each vault. Fails if the backups found are of several clusters.
    async fn of(
        vaults: &[Arc<dyn Vault>],
        filter: &Filter,
        keys: &TrustedKeys,
        now: Timestamp,
        findings: &mut Findings,
    ) -> Result<Self, CatalogError> {
        let mut seen = Self::default();
        for (index, vault) in vaults.iter().enumerate() {
            for view in newest_of_each_cluster(vault.as_ref(), filter, keys, now, findings).await {
                seen.add(index, view);
            }
        }
        let clusters = seen.clusters();
        if clusters.len() > 1 { Err(CatalogError::SeveralClusters { clusters }) } else { Ok(seen) }
    }

    fn add(&mut self, vault: usize, view: View) {
        self.vaults.extend(view.places.iter().map(|_| vault));
        self.entries.extend(view.entries);
        self.places.extend(view.places);
    }

    fn clusters(&self) -> Vec<ClusterId> {
        let mut clusters: Vec<_> = self.entries.iter().map(|(_, head)| head.manifest.cluster_id.clone()).collect();
        clusters.sort();
        clusters.dedup();
        clusters
    }

    /// Returns the indexes of the newest backup that an engine can start from (or else of the newest of all), and of
    /// the newest of all. Of equal ones the first is taken, because vaults are configured in the order of preference.
    fn choose(&self, now: Timestamp) -> Option<(usize, usize)> {
        let newest = order::newest(&self.places, |_| true, now)?;
        let usable = |index: usize| is_usable(&self.entries[index].1);
        Some((order::newest(&self.places, usable, now).unwrap_or(newest), newest))
    }
}

async fn newest_of_each_cluster(
    vault: &dyn Vault,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    findings: &mut Findings,
) -> Vec<View> {
    let clusters = match clusters::of_filter(vault, filter).await {
        Ok(clusters) => clusters,
        Err(error) => {
            findings.add(vault, About::Vault(error));
            return Vec::new();
        }
    };
    let bounds = Bounds::default().shared_by(clusters.names.len());
    let mut skipped = Skipped { junk: clusters.junk, ..Skipped::default() };
    let mut found = Vec::new();
    for cluster in &clusters.names {
        // A broken connection ends the search: an older backup must not be taken for the newest because of it.
        let on_bad = |entry: Entry| {
            findings.add(vault, About::Entry(Box::new(entry.reached()?)));
            Ok(())
        };
        match view(vault, cluster, filter, keys, now, (bounds, &mut skipped), on_bad).await {
            Ok(view) => found.push(view),
            Err(error) => findings.add(vault, About::Vault(error)),
        }
    }
    if !skipped.is_empty() {
        findings.add(vault, About::Skipped(skipped));
    }
    if clusters.passed_over > 0 {
        findings.add(vault, About::Clusters(clusters.passed_over));
    }
    found
}

//! The newest good backup over all vaults.

use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::reader::Head;
use swarmdr_archive::{BackupId, TrustedKeys};
use thiserror::Error;

use super::view::{View, is_usable, view};
use super::{
    About, Bounds, Entry, Filter, Findings, Place, Strays, Timing, Verdict, Visibility, clusters, history, order,
};
use crate::vault::{Vault, VaultError, VersionRef};

/// The newest good backup that an engine comes up with, and all that was met on the way to it.
#[derive(Debug)]
pub struct Latest {
    /// Index into the vaults that were searched.
    pub vault: usize,
    pub at: VersionRef,
    pub size: u64,
    pub head: Head,
    /// Where it comes in the order of all.
    pub place: Place,
    pub findings: Findings,
}

#[derive(Debug, Error)]
pub enum CatalogError {
    #[error("the vaults hold backups of {} clusters: {}; say which one is meant", clusters.len(), clusters.join(", "))]
    SeveralClusters { clusters: Vec<String> },

    #[error("no backup that verifies was found in {vaults}{findings}")]
    NothingGood { vaults: String, findings: Findings },

    /// What is not known is no answer: the vault that could not be searched may hold it.
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unanswered {
        /// Addresses of the vaults that could not be searched, or not to their end.
        silent: Vec<String>,
        errors: Vec<VaultError>,
        /// The newest in those that could.
        other: Option<BackupId>,
    },
}

/// Finds the newest good backup that the filter admits, over all vaults, and looks whether its history holds together.
///
/// A vault that could not be searched may hold a newer one, so then nothing is the newest, unless the filter says that
/// any vault will do, or names an id and another vault has it: in these cases it is a finding.
///
/// One that was stored unproven counts only where there is no other: nobody would want it in the place of an older one
/// that works. Without a cluster in the filter, good backups of two clusters are an error: the caller must choose.
pub async fn find_latest(
    vaults: &[Arc<dyn Vault>],
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Latest, CatalogError> {
    let mut findings = Findings::default();
    let mut seen = Seen::default();
    for (index, vault) in vaults.iter().enumerate() {
        for view in newest_of_each_cluster(vault.as_ref(), filter, keys, now, &mut findings).await {
            seen.add(index, view);
        }
    }
    let clusters = seen.clusters();
    if clusters.len() > 1 {
        return Err(CatalogError::SeveralClusters { clusters });
    }
    let chosen = seen.choose(now);
    let other = chosen.map(|(best, _)| seen.places[best].id);
    if other.is_none() || !(filter.any_vault || filter.id.is_some()) {
        findings = findings.require_answers(other)?;
    }
    let Some((best, newest)) = chosen else {
        let vaults = vaults.iter().map(|vault| vault.address().to_owned()).collect::<Vec<_>>().join(", ");
        return Err(CatalogError::NothingGood { vaults, findings });
    };
    let Seen { vaults: of_vault, mut entries, places } = seen;
    let last_named = (0..places.len()).max_by_key(|&index| places[index].id).unwrap_or(best);
    let (entry, head) = entries.remove(best);
    let mut tell = |index: usize, about: &dyn Fn(Box<Entry>) -> About| {
        let (entry, _) = entries.remove(if index > best { index - 1 } else { index });
        findings.add(vaults[of_vault[index]].as_ref(), about(Box::new(entry)));
    };
    if newest != best {
        tell(newest, &About::Unproven);
    } else if places[last_named].made() > places[best].made() + order::GRACE {
        let chosen = head.manifest.id;
        tell(last_named, &|entry| About::Outrun { entry, by: chosen });
    }
    for broken in history::of_newest(vaults, filter, keys, now, &head, &(of_vault.clone(), places)).await {
        findings.add_break(broken);
    }
    let (vault, at, size) = (of_vault[best], entry.at.clone(), entry.size);
    let place = Place::of(&head, entry.modified);
    if entry.visibility != Visibility::Plain {
        findings.add(vaults[vault].as_ref(), About::Entry(Box::new(entry)));
    } else if entry.timing() == Timing::Impossible {
        let verdict = Verdict::Impossible(Box::new(head.clone()));
        findings.add(vaults[vault].as_ref(), About::Entry(Box::new(Entry { verdict, ..entry })));
    }
    Ok(Latest { vault, at, size, head, place, findings })
}

/// The newest good backups of all vaults.
#[derive(Default)]
struct Seen {
    /// Where each of them is.
    vaults: Vec<usize>,
    entries: Vec<(Entry, Head)>,
    places: Vec<Place>,
}

impl Seen {
    fn add(&mut self, vault: usize, view: View) {
        self.vaults.extend(view.places.iter().map(|_| vault));
        self.entries.extend(view.entries);
        self.places.extend(view.places);
    }

    fn clusters(&self) -> Vec<String> {
        let mut clusters: Vec<_> = self.entries.iter().map(|(_, head)| head.manifest.cluster_id.clone()).collect();
        clusters.sort();
        clusters.dedup();
        clusters
    }

    /// The newest that an engine comes up with, if there is one, and the newest of all. Of equal ones the first: vaults
    /// are configured in the order of preference.
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
    let mut strays = Strays { junk: clusters.junk, ..Strays::default() };
    let mut found = Vec::new();
    for cluster in &clusters.names {
        // A broken connection ends the search: an older backup must not be taken for the newest because of it.
        let beside = |entry: Entry| match entry.verdict {
            Verdict::Unread(error) if error.tells_nothing() => Err(error),
            _ => {
                findings.add(vault, About::Entry(Box::new(entry)));
                Ok(())
            }
        };
        match view(vault, cluster, filter, keys, now, (bounds, &mut strays), beside).await {
            Ok(view) => found.push(view),
            Err(error) => findings.add(vault, About::Vault(error)),
        }
    }
    if !strays.is_empty() {
        findings.add(vault, About::Strays(strays));
    }
    if clusters.passed_over > 0 {
        findings.add(vault, About::Clusters(clusters.passed_over));
    }
    found
}

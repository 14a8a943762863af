//! The newest good backup over all vaults.

use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::manifest::Proof;
use swarmdr_archive::reader::Head;
use swarmdr_archive::{BackupId, TrustedKeys};
use thiserror::Error;

use super::{About, Bounds, Entry, Filter, Findings, Strays, Verdict, Visibility, Walk, age, clusters, history};
use crate::vault::{Vault, VaultError, VersionRef};

/// The newest good backup that an engine comes up with, and all that was met on the way to it.
#[derive(Debug)]
pub struct Latest {
    /// Index into the vaults that were searched.
    pub vault: usize,
    pub at: VersionRef,
    pub size: u64,
    pub head: Head,
    pub findings: Findings,
}

#[derive(Debug, Error)]
pub enum CatalogError {
    #[error("the vaults hold backups of {} clusters: {}; say which one is meant", clusters.len(), clusters.join(", "))]
    SeveralClusters { clusters: Vec<String> },

    #[error("no backup that verifies was found in {vaults}{findings}")]
    NothingGood { vaults: String, findings: Findings },
}

/// Finds the newest good backup that the filter admits, over all vaults, and looks whether its history holds together.
/// A vault that fails is a finding, not an error, while another has one.
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
    let mut candidates: Vec<Candidate> = Vec::new();
    for (index, vault) in vaults.iter().enumerate() {
        let found = newest_of_each_cluster(vault.as_ref(), filter, keys, now, &mut findings).await;
        candidates.extend(found.into_iter().map(|(entry, head)| Candidate { vault: index, entry, head }));
    }
    let mut clusters: Vec<_> = candidates.iter().map(|it| it.head.manifest.cluster_id.clone()).collect();
    clusters.sort();
    clusters.dedup();
    if clusters.len() > 1 {
        return Err(CatalogError::SeveralClusters { clusters });
    }
    // Of equal ones the first: vaults are configured in the order of preference.
    candidates.sort_by_key(|it| std::cmp::Reverse(it.rank()));
    let mut candidates = candidates.into_iter();
    let Some(Candidate { vault, entry, head }) = candidates.next() else {
        let vaults = vaults.iter().map(|vault| vault.address().to_owned()).collect::<Vec<_>>().join(", ");
        return Err(CatalogError::NothingGood { vaults, findings });
    };
    let newer = |it: &Candidate| age(&it.head.manifest) > age(&head.manifest);
    for passed in candidates.filter(|it| !is_usable(&it.head) && newer(it)) {
        findings.add(vaults[passed.vault].as_ref(), About::Unproven(Box::new(passed.entry)));
    }
    for broken in history::of_newest(vaults, filter, keys, now, &head).await {
        findings.add_break(broken);
    }
    let (at, size) = (entry.at.clone(), entry.size);
    if entry.visibility != Visibility::Plain {
        findings.add(vaults[vault].as_ref(), About::Entry(Box::new(entry)));
    }
    Ok(Latest { vault, at, size, head, findings })
}

/// A good backup of one vault.
struct Candidate {
    vault: usize,
    entry: Entry,
    head: Head,
}

impl Candidate {
    fn rank(&self) -> (bool, (Timestamp, u64, BackupId)) {
        (is_usable(&self.head), age(&self.head.manifest))
    }
}

fn is_usable(head: &Head) -> bool {
    head.manifest.proof != Proof::Unproven
}

async fn newest_of_each_cluster(
    vault: &dyn Vault,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    findings: &mut Findings,
) -> Vec<(Entry, Head)> {
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
        let mut walk = Walk::new(vault, cluster, filter, keys, now).within(bounds);
        match newest_of_cluster(&mut walk, vault, findings).await {
            Ok(good) => found.extend(good),
            Err(error) => findings.add(vault, About::Vault(error)),
        }
        strays.extend(walk.strays());
    }
    if !strays.is_empty() {
        findings.add(vault, About::Strays(strays));
    }
    if clusters.passed_over > 0 {
        findings.add(vault, About::Clusters(clusters.passed_over));
    }
    found
}

/// The newest one that is usable, and before it the newest of all if that was stored unproven.
///
/// A broken connection ends the search: an older backup must not be taken for the newest because of it.
async fn newest_of_cluster(
    walk: &mut Walk<'_>,
    vault: &dyn Vault,
    findings: &mut Findings,
) -> Result<Vec<(Entry, Head)>, VaultError> {
    let mut found: Vec<(Entry, Head)> = Vec::new();
    while let Some(entry) = walk.next().await? {
        match entry.verdict {
            Verdict::Good(ref head) => {
                let head = Head::clone(head);
                let usable = is_usable(&head);
                if usable || found.is_empty() {
                    found.push((entry, head));
                }
                if usable {
                    break;
                }
            }
            Verdict::Unread(error) if error.is_transient() => return Err(error),
            _ => findings.add(vault, About::Entry(Box::new(entry))),
        }
    }
    Ok(found)
}

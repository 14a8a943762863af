//! Reads all vaults one after the other, and checks the lineages of their clusters.

use std::{collections::BTreeMap, mem, vec};

use jiff::Timestamp;
use swarmdr_archive::{ClusterId, TrustedKeys, reader::Head};

use super::{
    About, Bounds, Clusters, Entry, Filter, Findings, Skipped, Verdict, Visibility, Walk, clusters,
    gathered::GatheredLineage,
};
use crate::{Lock, Vault, VaultError, VersionRef};

/// A search of all vaults: call [`Survey::vault`] for each of them, then [`Survey::end`].
#[derive(Debug)]
pub struct Survey<'a> {
    filter: &'a Filter,
    keys: &'a TrustedKeys,
    now: Timestamp,
    /// Whether every vault was read completely and the filter excluded nothing.
    whole: bool,
    histories: BTreeMap<ClusterId, GatheredLineage>,
    findings: Findings,
    /// Number of locks that could not be read, and the error of the first, by vault.
    unread_locks: BTreeMap<String, (usize, String)>,
}

/// Results of a survey, apart from the good backups.
#[derive(Debug)]
pub struct Surveyed {
    pub findings: Vec<String>,
    /// Notes that are no cause for alarm.
    pub notes: Vec<String>,
    /// Addresses of the vaults that could not be read completely.
    pub silent: Vec<String>,
}

impl<'a> Survey<'a> {
    pub fn new(filter: &'a Filter, keys: &'a TrustedKeys, now: Timestamp) -> Self {
        let whole = filter.before.is_none() && filter.after.is_none() && filter.id.is_none();
        Self {
            filter,
            keys,
            now,
            whole,
            histories: BTreeMap::new(),
            findings: Findings::default(),
            unread_locks: BTreeMap::new(),
        }
    }

    /// Begins to read a vault. If it cannot be listed, that is a finding.
    pub async fn vault<'s>(&'s mut self, vault: &'s dyn Vault) -> Visit<'s, 'a> {
        let clusters = clusters::of_filter(vault, self.filter).await;
        let mut visit = Visit {
            survey: self,
            vault,
            clusters: Vec::new().into_iter(),
            bounds: Bounds::default(),
            walk: None,
            skipped: Skipped::default(),
        };
        match clusters {
            Ok(clusters) => visit.plan(clusters),
            Err(error) => visit.give_up(error),
        }
        visit
    }

    /// Checks the lineage of each cluster, and returns all findings.
    pub fn end(mut self) -> Surveyed {
        let unread = self.unread_locks.values();
        let mut notes: Vec<String> =
            unread.map(|(count, why)| format!("the locks of {count} of the backups are not known: {why}")).collect();
        for (cluster, history) in &self.histories {
            let verdict = history.check(self.now, self.whole);
            verdict.breaks.into_iter().for_each(|broken| self.findings.add_break(broken));
            if verdict.absent > 0 && self.whole {
                let absent = verdict.absent;
                notes.push(format!(
                    "swarm {cluster}: gaps in its history where backups are gone, as after pruning: {absent}"
                ));
            }
        }
        Surveyed { findings: self.findings.lines(), notes, silent: self.findings.silent() }
    }
}

/// A good backup, and where it is stored.
#[derive(Debug)]
pub struct Found {
    pub at: VersionRef,
    pub size: u64,
    pub head: Head,
    /// Time of storing by the vault's clock.
    pub stored: Timestamp,
    /// The lock in effect; `None` if there is none or it could not be read.
    pub lock: Option<Lock>,
    /// Whether the lock could not be read.
    pub lock_unread: bool,
}

/// One vault of a survey. Call [`Visit::next`] until it returns `None`: entries that are not visited are not reported.
#[derive(Debug)]
pub struct Visit<'s, 'a> {
    survey: &'s mut Survey<'a>,
    vault: &'s dyn Vault,
    clusters: vec::IntoIter<ClusterId>,
    bounds: Bounds,
    walk: Option<Walk<'s>>,
    skipped: Skipped,
}

impl Visit<'_, '_> {
    fn plan(&mut self, clusters: Clusters) {
        self.skipped.junk += clusters.junk;
        if clusters.passed_over > 0 {
            self.survey.whole = false;
            self.survey.findings.add(self.vault, About::Clusters(clusters.passed_over));
        }
        self.bounds = self.bounds.shared_by(clusters.names.len());
        self.clusters = clusters.names.into_iter();
    }

    /// Returns the next good backup, newest first within a cluster.
    pub async fn next(&mut self) -> Option<Found> {
        loop {
            let Some(walk) = &mut self.walk else {
                let Some(cluster) = self.clusters.next() else {
                    self.end();
                    return None;
                };
                let walk = Walk::new(self.vault, &cluster, self.survey.filter, self.survey.keys, self.survey.now);
                self.walk = Some(walk.within(self.bounds));
                continue;
            };
            match walk.next().await {
                Ok(Some(entry)) => {
                    if let Some(found) = self.take(entry).await {
                        return Some(found);
                    }
                }
                Ok(None) => self.leave_cluster(),
                Err(error) => {
                    self.leave_cluster();
                    self.give_up(error);
                }
            }
        }
    }

    async fn take(&mut self, entry: Entry) -> Option<Found> {
        let mut found = None;
        let good = matches!(entry.verdict, Verdict::Good(_));
        if matches!(entry.verdict, Verdict::Forged { .. }) {
            self.survey.histories.entry(entry.name.cluster().clone()).or_default().add_untrusted(&entry);
        }
        if let Some(head) = entry.head() {
            let lock = self.vault.head(&entry.at).await.map(|stored| stored.lock);
            let lock_unread = lock.is_err();
            let lock = lock.unwrap_or_else(|error| {
                let unread = self.survey.unread_locks.entry(self.vault.address().to_owned());
                unread.or_insert_with(|| (0, error.to_string())).0 += 1;
                None
            });
            let history = self.survey.histories.entry(head.manifest.cluster_id.clone()).or_default();
            history.add(self.vault, &entry, head, lock.map(|lock| lock.until));
            let (head, stored) = (head.clone(), entry.modified);
            found = good.then(|| Found { at: entry.at.clone(), size: entry.size, head, stored, lock, lock_unread });
        }
        self.survey.whole &= !matches!(entry.verdict, Verdict::Unread(_));
        if found.is_none() || entry.visibility != Visibility::Plain {
            self.survey.findings.add(self.vault, About::Entry(Box::new(entry)));
        }
        found
    }

    fn leave_cluster(&mut self) {
        if let Some(walk) = self.walk.take() {
            self.skipped.extend(walk.skipped());
        }
    }

    fn give_up(&mut self, error: VaultError) {
        self.survey.whole = false;
        self.clusters = Vec::new().into_iter();
        self.survey.findings.add(self.vault, About::Vault(error));
    }

    fn end(&mut self) {
        let skipped = mem::take(&mut self.skipped);
        self.survey.whole &= skipped.given_up.is_empty();
        if !skipped.is_empty() {
            self.survey.findings.add(self.vault, About::Skipped(skipped));
        }
    }
}

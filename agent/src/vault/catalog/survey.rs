//! Everything in all vaults, one after the other, and whether the histories of their clusters hold together.

use std::collections::BTreeMap;
use std::{mem, vec};

use jiff::Timestamp;
use swarmdr_archive::TrustedKeys;
use swarmdr_archive::reader::Head;

use super::{About, Bounds, Clusters, Entry, Filter, Findings, Gathered, Strays, Verdict, Visibility, Walk, clusters};
use crate::vault::{Lock, Vault, VaultError, VersionRef};

/// Remembers what was met in vaults. [`Survey::vault`] for each of them, then [`Survey::end`].
#[derive(Debug)]
pub struct Survey<'a> {
    filter: &'a Filter,
    keys: &'a TrustedKeys,
    now: Timestamp,
    /// Every vault was read to its end, and nothing was left out.
    whole: bool,
    histories: BTreeMap<String, Gathered>,
    findings: Findings,
    /// By vault: how many locks could not be read, and why the first of them.
    unread_locks: BTreeMap<String, (usize, String)>,
}

/// What a survey met beside good backups.
#[derive(Debug)]
pub struct Surveyed {
    pub findings: Vec<String>,
    /// What is worth knowing and no cause for alarm.
    pub notes: Vec<String>,
    /// Addresses of the vaults that could not be read to their end.
    pub silent: Vec<String>,
}

impl<'a> Survey<'a> {
    pub fn new(filter: &'a Filter, keys: &'a TrustedKeys, now: Timestamp) -> Survey<'a> {
        let whole = filter.before.is_none() && filter.after.is_none() && filter.id.is_none();
        Survey {
            filter,
            keys,
            now,
            whole,
            histories: BTreeMap::new(),
            findings: Findings::default(),
            unread_locks: BTreeMap::new(),
        }
    }

    /// Begins with one vault. One that cannot be listed is a finding.
    pub async fn vault<'s>(&'s mut self, vault: &'s dyn Vault) -> Visit<'s, 'a> {
        let clusters = clusters::of_filter(vault, self.filter).await;
        let mut visit = Visit {
            survey: self,
            vault,
            clusters: Vec::new().into_iter(),
            bounds: Bounds::default(),
            walk: None,
            strays: Strays::default(),
        };
        match clusters {
            Ok(clusters) => visit.plan(clusters),
            Err(error) => visit.give_up(error),
        }
        visit
    }

    /// Compares each cluster's backups with each other.
    pub fn end(mut self) -> Surveyed {
        let unread = self.unread_locks.values();
        let mut notes: Vec<String> =
            unread.map(|(count, why)| format!("what locks {count} of the backups have is not known: {why}")).collect();
        for (cluster, history) in &self.histories {
            let verdict = history.check(self.now, self.whole);
            verdict.breaks.into_iter().for_each(|broken| self.findings.add_break(broken));
            if verdict.absent > 0 && self.whole {
                let absent = verdict.absent;
                notes.push(format!(
                    "swarm {cluster}: {absent} places in its history lead to a backup that is gone, as pruning leaves them"
                ));
            }
        }
        Surveyed { findings: self.findings.lines(), notes, silent: self.findings.silent() }
    }
}

/// A good backup, and where it lies.
#[derive(Debug)]
pub struct Found {
    pub at: VersionRef,
    pub size: u64,
    pub head: Head,
    /// By the vault's clock.
    pub stored: Timestamp,
    /// The lock in effect.
    pub lock: Option<Lock>,
    /// Whether it is not known what lock there is, if any.
    pub lock_unread: bool,
}

/// One vault of a survey. [`Visit::next`] until there is no more: what a visit did not get to is told by nobody.
#[derive(Debug)]
pub struct Visit<'s, 'a> {
    survey: &'s mut Survey<'a>,
    vault: &'s dyn Vault,
    clusters: vec::IntoIter<String>,
    bounds: Bounds,
    walk: Option<Walk<'s>>,
    strays: Strays,
}

impl Visit<'_, '_> {
    fn plan(&mut self, clusters: Clusters) {
        self.strays.junk += clusters.junk;
        if clusters.passed_over > 0 {
            self.survey.whole = false;
            self.survey.findings.add(self.vault, About::Clusters(clusters.passed_over));
        }
        self.bounds = self.bounds.shared_by(clusters.names.len());
        self.clusters = clusters.names.into_iter();
    }

    /// The next good backup, newest first within a cluster.
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
            self.survey.histories.entry(entry.name.cluster().to_owned()).or_default().add_beside(&entry);
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
            self.strays.extend(walk.strays());
        }
    }

    fn give_up(&mut self, error: VaultError) {
        self.survey.whole = false;
        self.clusters = Vec::new().into_iter();
        self.survey.findings.add(self.vault, About::Vault(error));
    }

    fn end(&mut self) {
        let strays = mem::take(&mut self.strays);
        self.survey.whole &= strays.given_up.is_empty();
        if !strays.is_empty() {
            self.survey.findings.add(self.vault, About::Strays(strays));
        }
    }
}

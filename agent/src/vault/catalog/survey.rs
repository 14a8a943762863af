//! Everything in all vaults, one after the other, and whether the histories of their clusters hold together.

use std::collections::BTreeMap;

use jiff::Timestamp;
use swarmdr_archive::TrustedKeys;
use swarmdr_archive::reader::Head;

use super::{About, Bounds, Entry, Filter, Findings, Gathered, Strays, Verdict, Visibility, Walk, clusters};
use crate::vault::{Lock, Vault, VaultError};

/// Goes through vaults and remembers what it met. [`Survey::end`] when all of them are through.
#[derive(Debug)]
pub struct Survey<'a> {
    filter: &'a Filter,
    keys: &'a TrustedKeys,
    now: Timestamp,
    /// Every vault was read to its end, and nothing was left out.
    whole: bool,
    histories: BTreeMap<String, Gathered>,
    findings: Findings,
}

/// What a survey met beside good backups.
#[derive(Debug)]
pub struct Surveyed {
    pub findings: Vec<String>,
    /// What is worth knowing and no cause for alarm.
    pub notes: Vec<String>,
}

impl<'a> Survey<'a> {
    pub fn new(filter: &'a Filter, keys: &'a TrustedKeys, now: Timestamp) -> Survey<'a> {
        let whole = filter.before.is_none() && filter.after.is_none() && filter.id.is_none();
        Survey { filter, keys, now, whole, histories: BTreeMap::new(), findings: Findings::default() }
    }

    /// Shows every good backup to `each`, newest first within a cluster. It answers with the lock in effect.
    pub async fn vault(&mut self, vault: &dyn Vault, mut each: impl AsyncFnMut(&Entry, &Head) -> Option<Lock>) {
        let mut strays = Strays::default();
        if let Err(error) = self.walk(vault, &mut strays, &mut each).await {
            self.whole = false;
            self.findings.add(vault, About::Vault(error));
        }
        self.whole &= strays.given_up.is_empty();
        if !strays.is_empty() {
            self.findings.add(vault, About::Strays(strays));
        }
    }

    async fn walk(
        &mut self,
        vault: &dyn Vault,
        strays: &mut Strays,
        each: &mut impl AsyncFnMut(&Entry, &Head) -> Option<Lock>,
    ) -> Result<(), VaultError> {
        let clusters = clusters::of_filter(vault, self.filter).await?;
        strays.junk += clusters.junk;
        if clusters.passed_over > 0 {
            self.whole = false;
            self.findings.add(vault, About::Clusters(clusters.passed_over));
        }
        let bounds = Bounds::default().shared_by(clusters.names.len());
        for cluster in &clusters.names {
            let mut walk = Walk::new(vault, cluster, self.filter, self.keys, self.now).within(bounds);
            let ended = self.entries(vault, &mut walk, each).await;
            strays.extend(walk.strays());
            ended?;
        }
        Ok(())
    }

    async fn entries(
        &mut self,
        vault: &dyn Vault,
        walk: &mut Walk<'_>,
        each: &mut impl AsyncFnMut(&Entry, &Head) -> Option<Lock>,
    ) -> Result<(), VaultError> {
        while let Some(entry) = walk.next().await? {
            if let Verdict::Good(head) = &entry.verdict {
                let lock = each(&entry, head).await;
                let history = self.histories.entry(head.manifest.cluster_id.clone()).or_default();
                history.add(vault, &entry, head, lock.map(|lock| lock.until));
                if entry.visibility == Visibility::Plain {
                    continue;
                }
            } else if matches!(entry.verdict, Verdict::Unread(_)) {
                self.whole = false;
            }
            self.findings.add(vault, About::Entry(Box::new(entry)));
        }
        Ok(())
    }

    /// Compares each cluster's backups with each other.
    pub fn end(mut self) -> Surveyed {
        let mut notes = Vec::new();
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
        Surveyed { findings: self.findings.lines(), notes }
    }
}

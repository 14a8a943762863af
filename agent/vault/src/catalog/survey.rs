//! Reads all vaults one after the other, and checks the lineages of their series.

use std::{collections::BTreeMap, mem, vec};

use jiff::Timestamp;
use swarmdr_archive::{ClusterId, TrustedKeys, stream_archive::StreamName};

use super::{
    About, Bounds, Entry, Filter, Findings, PointSeries, Series, SeriesList, Skipped, StreamSeries, Verdict,
    Visibility, Walk, gathered::GatheredLineage, lineage::Broken,
};
use crate::{Lock, Vault, VaultError, VersionRef};

/// A search of all vaults: call [`Survey::vault`] for each of them, then [`Survey::end`].
#[derive(Debug)]
pub struct Survey<'a, S: Series = ClusterId> {
    wanted: S::Wanted,
    filter: &'a Filter,
    keys: &'a TrustedKeys,
    now: Timestamp,
    /// Whether every vault was read completely and the filter excluded nothing.
    whole: bool,
    histories: BTreeMap<S, GatheredLineage>,
    findings: Findings<S>,
    /// Number of locks that could not be read, and the error of the first, by vault.
    unread_locks: BTreeMap<String, (usize, String)>,
}

/// Results of a survey, apart from the good archives.
#[derive(Debug)]
pub struct Surveyed {
    pub findings: Vec<String>,
    /// Notes that are no cause for alarm.
    pub notes: Vec<String>,
    /// Addresses of the vaults that could not be read completely.
    pub silent: Vec<String>,
}

impl<'a> Survey<'a> {
    /// Begins a survey of backups.
    pub fn new(filter: &'a Filter, keys: &'a TrustedKeys, now: Timestamp) -> Self {
        Self::of((), filter, keys, now)
    }
}

impl<'a> Survey<'a, StreamSeries> {
    /// Begins a survey of streams of one name, or of every name.
    pub fn of_streams(name: Option<StreamName>, filter: &'a Filter, keys: &'a TrustedKeys, now: Timestamp) -> Self {
        Self::of(name, filter, keys, now)
    }
}

impl<'a> Survey<'a, PointSeries> {
    /// Begins a survey of recovery points.
    pub fn of_points(filter: &'a Filter, keys: &'a TrustedKeys, now: Timestamp) -> Self {
        Self::of((), filter, keys, now)
    }
}

impl<'a, S: Series> Survey<'a, S> {
    fn of(wanted: S::Wanted, filter: &'a Filter, keys: &'a TrustedKeys, now: Timestamp) -> Self {
        let whole = filter.before.is_none() && filter.after.is_none() && filter.id.is_none();
        Self {
            wanted,
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
    pub async fn vault<'s>(&'s mut self, vault: &'s dyn Vault) -> Visit<'s, 'a, S> {
        let listed = S::list(vault, &self.wanted, self.filter).await;
        let mut visit = Visit {
            survey: self,
            vault,
            series: Vec::new().into_iter(),
            bounds: Bounds::default(),
            walk: None,
            skipped: Skipped::default(),
        };
        match listed {
            Ok(listed) => visit.plan(listed),
            Err(error) => visit.give_up(error),
        }
        visit
    }

    /// Checks the lineage of each series, and returns all findings.
    pub fn end(mut self) -> Surveyed {
        let many = S::WORDS.many;
        let unread = self.unread_locks.values();
        let mut notes: Vec<String> =
            unread.map(|(count, why)| format!("the locks of {count} of the {many} are not known: {why}")).collect();
        for (series, history) in &self.histories {
            let verdict = history.check(self.now, self.whole);
            for at in verdict.breaks {
                self.findings.add_break(Broken { series: series.clone(), at });
            }
            if verdict.absent > 0 && self.whole {
                let (title, absent) = (series.title(), verdict.absent);
                notes.push(format!("{title}: gaps in its history where {many} are gone, as after pruning: {absent}"));
            }
        }
        Surveyed { findings: self.findings.lines(), notes, silent: self.findings.silent() }
    }
}

/// A good archive, and where it is stored.
#[derive(Debug)]
pub struct Found<S: Series = ClusterId> {
    pub at: VersionRef,
    pub size: u64,
    pub head: S::Head,
    /// Time of storing by the vault's clock.
    pub stored: Timestamp,
    /// The lock in effect; `None` if there is none or it could not be read.
    pub lock: Option<Lock>,
    /// Whether the lock could not be read.
    pub lock_unread: bool,
}

/// One vault of a survey. Call [`Visit::next`] until it returns `None`: entries that are not visited are not reported.
#[derive(Debug)]
pub struct Visit<'s, 'a, S: Series = ClusterId> {
    survey: &'s mut Survey<'a, S>,
    vault: &'s dyn Vault,
    series: vec::IntoIter<S>,
    bounds: Bounds,
    walk: Option<Walk<'s, S>>,
    skipped: Skipped,
}

impl<S: Series> Visit<'_, '_, S> {
    fn plan(&mut self, listed: SeriesList<S>) {
        self.skipped.junk += listed.junk;
        if listed.passed_over > 0 {
            self.survey.whole = false;
            self.survey.findings.add(self.vault, About::PassedOver(listed.passed_over));
        }
        self.bounds = self.bounds.shared_by(listed.names.len());
        self.series = listed.names.into_iter();
    }

    /// Returns the next good archive, newest first within a series.
    pub async fn next(&mut self) -> Option<Found<S>> {
        loop {
            let Some(walk) = &mut self.walk else {
                let Some(series) = self.series.next() else {
                    self.end();
                    return None;
                };
                let walk = Walk::new(self.vault, &series, self.survey.filter, self.survey.keys, self.survey.now);
                self.walk = Some(walk.within(self.bounds));
                continue;
            };
            match walk.next().await {
                Ok(Some(entry)) => {
                    if let Some(found) = self.take(entry).await {
                        return Some(found);
                    }
                }
                Ok(None) => self.leave_series(),
                Err(error) => {
                    self.leave_series();
                    self.give_up(error);
                }
            }
        }
    }

    async fn take(&mut self, entry: Entry<S>) -> Option<Found<S>> {
        let series = self.walk.as_ref()?.series().clone();
        let mut found = None;
        let good = matches!(entry.verdict, Verdict::Good(_));
        if matches!(entry.verdict, Verdict::Forged { .. }) {
            self.survey.histories.entry(series).or_default().add_untrusted(&entry);
        }
        if let Some(head) = entry.head() {
            let lock = self.vault.head(&entry.at).await.map(|stored| stored.lock);
            let lock_unread = lock.is_err();
            let lock = lock.unwrap_or_else(|error| {
                let unread = self.survey.unread_locks.entry(self.vault.address().to_owned());
                unread.or_insert_with(|| (0, error.to_string())).0 += 1;
                None
            });
            let history = self.survey.histories.entry(S::of(head)).or_default();
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

    fn leave_series(&mut self) {
        if let Some(walk) = self.walk.take() {
            self.skipped.extend(walk.skipped());
        }
    }

    fn give_up(&mut self, error: VaultError) {
        self.survey.whole = false;
        self.series = Vec::new().into_iter();
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

//! The windows of a walk: listed one after the other, newest first, into batches of candidates.

use jiff::Timestamp;

use super::{
    super::{
        Series,
        pass::{Candidate, Pass, Prefer},
        window::{Window, Windows},
    },
    Walk,
};
use crate::{Marker, VaultError};

/// Selection of the objects of a window that are examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Every name, newest first.
    All,
    /// Only objects that were stored at the time in their name, because too many others were bad.
    Prompt,
    /// Only the objects that were stored first, because nothing good was found anywhere.
    StoredFirst,
}

/// The window that is being searched.
#[derive(Debug)]
pub struct Current {
    pub window: Window,
    pub stage: Stage,
    /// The last candidate that was examined: only lower ones are still wanted.
    pub below: Option<Candidate>,
    /// Whether the window has to be listed again for further candidates.
    pub more: bool,
    pub bad: u32,
}

/// Result of a pass over a window.
#[derive(Debug)]
struct Listed {
    pass: Pass,
    /// Whether the listing reached the end of the window; false if the window has more pages than it may cost.
    to_its_end: bool,
    /// Number of objects whose keys sort before any time.
    junk_before: u64,
}

impl<S: Series> Walk<'_, S> {
    /// Lists the next part into the batch. Returns false if there is none.
    pub(super) async fn refill(&mut self) -> Result<bool, VaultError> {
        let given_up = !self.batch.is_empty();
        let part = match self.current.take() {
            Some(current) if given_up && current.stage == Stage::All => {
                Some(Current { stage: Stage::Prompt, bad: 0, ..current })
            }
            Some(current) if given_up => {
                self.give_up(&current.window);
                None
            }
            Some(current) if current.more => Some(current),
            _ => None,
        };
        self.batch.clear();
        let part = part.or_else(|| self.next_window()).or_else(|| self.last_resort());
        let Some(part) = part else { return Ok(false) };
        let listed = self.list(&part).await;
        let (window, is_first, stage) = (part.window, part.below.is_none(), part.stage);
        // After an error the part is listed again.
        let current = self.current.insert(Current { more: true, ..part });
        let Listed { pass, to_its_end, junk_before } = listed?;
        if !to_its_end
            && is_first
            && stage == Stage::All
            && self.pages < self.bounds.pages
            && self.windows.split(window)
        {
            self.skipped.junk += junk_before;
            self.current = None;
            return Ok(true);
        }
        current.more = pass.overflowed && stage != Stage::StoredFirst;
        if is_first && stage == Stage::All {
            self.skipped.junk += pass.junk;
            self.skipped.passed_over += pass.passed_over;
        }
        // Noted now, because other objects of this window are not examined even if a good one is found.
        if stage == Stage::Prompt || !to_its_end {
            self.give_up(&window);
        }
        self.batch = pass.into_batch();
        Ok(true)
    }

    fn next_window(&mut self) -> Option<Current> {
        let window = self.windows.next()?;
        Some(Current { window, stage: Stage::All, below: None, more: false, bad: 0 })
    }

    fn last_resort(&mut self) -> Option<Current> {
        if self.found_good || self.skipped.given_up.is_empty() || self.tried_all {
            return None;
        }
        self.tried_all = true;
        let window = Windows::new(Timestamp::UNIX_EPOCH, self.filter.after, self.filter.names_end()).next()?;
        let window = window.as_one(self.bounds.pages / 4);
        Some(Current { window, stage: Stage::StoredFirst, below: None, more: false, bad: 0 })
    }

    /// Lists a window, or its first pages.
    async fn list(&mut self, part: &Current) -> Result<Listed, VaultError> {
        let (window, under) = (part.window, self.series.prefix());
        let (first, end) = (window.before_first_key(&under), window.end_key(&under));
        let mut pass = match part.stage {
            Stage::StoredFirst => Pass::new(Prefer::StoredFirst, self.bounds.bad_of_window as usize),
            _ => Pass::new(Prefer::Newest, self.bounds.batch),
        };
        // The first listing begins at the first key of the series, to count the junk there.
        let from_the_start = window.is_whole() && self.filter.after.is_none() && self.filter.id.is_none();
        let mut after = (!from_the_start).then(|| Marker::after_key(&first));
        let mut junk_before = 0;
        let spent = self.pages >= self.bounds.pages && part.stage != Stage::StoredFirst;
        let pages = if spent { window.pages.min(self.bounds.pages_when_spent) } else { window.pages };
        for _ in 0..pages {
            let page = self.vault.list_versions(&under, after.as_ref()).await?;
            self.pages += 1;
            for version in page.versions {
                if version.at.key >= end {
                    // Keys that sort after every time are not listed on purpose, but counted if a page holds them.
                    pass.junk += u64::from(window.is_whole() && window.to == Timestamp::MAX);
                    continue;
                }
                junk_before += u64::from(version.at.key < first);
                pass.take(&self.series, version, |candidate| self.wants(part, candidate));
            }
            match page.next {
                Some(next) if next.key < end => after = Some(next),
                _ => return Ok(Listed { pass: pass.end(), to_its_end: true, junk_before }),
            }
        }
        Ok(Listed { pass: pass.end(), to_its_end: false, junk_before })
    }

    fn wants(&self, part: &Current, candidate: &Candidate) -> bool {
        self.filter.admits(self.series.cluster(), candidate)
            && !self.filter.excepts(self.vault.address(), &candidate.at)
            && part.below.as_ref().is_none_or(|below| candidate < below)
            && (part.stage != Stage::Prompt || candidate.is_prompt(S::LONGEST))
    }

    fn give_up(&mut self, window: &Window) {
        const REPORTED: usize = 8;
        let span = (window.from, window.to);
        if self.skipped.given_up.len() < REPORTED && self.skipped.given_up.last() != Some(&span) {
            self.skipped.given_up.push(span);
        }
    }
}

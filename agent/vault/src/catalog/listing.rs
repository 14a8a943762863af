//! Lists the keys of one window of time into a pass.

use jiff::Timestamp;

use super::{
    pass::{Candidate, Pass, TimedName},
    window::Window,
};
use crate::{Marker, Vault, VaultError};

/// The listing of a window, or of its first pages.
pub struct Listing<'a> {
    vault: &'a dyn Vault,
    /// Prefix of the keys, with the slash at its end.
    under: &'a str,
    window: Window,
    /// The most pages that are listed.
    pages: u32,
    /// Whether the listing begins at the first key of the prefix, to count the junk there.
    from_the_start: bool,
    /// Number of pages that were listed.
    pub listed: u32,
    /// Number of objects whose keys sort before any time.
    pub junk_before: u64,
}

impl<'a> Listing<'a> {
    pub fn new(vault: &'a dyn Vault, under: &'a str, window: Window, pages: u32) -> Self {
        Self { vault, under, window, pages, from_the_start: false, listed: 0, junk_before: 0 }
    }

    /// Begins at the first key of the prefix.
    #[must_use]
    pub fn beginning_at_the_start(self, from_the_start: bool) -> Self {
        Self { from_the_start, ..self }
    }

    /// Lists from the beginning. Returns false if the window has more pages than may be listed.
    pub async fn read<N: TimedName>(
        &mut self,
        pass: &mut Pass<N>,
        wants: impl Fn(&Candidate<N>) -> bool,
    ) -> Result<bool, VaultError> {
        let (first, end) = (self.window.before_first_key(self.under), self.window.end_key(self.under));
        let mut after = (!self.from_the_start).then(|| Marker::after_key(&first));
        for _ in 0..self.pages {
            let page = self.vault.list_versions(self.under, after.as_ref()).await?;
            self.listed += 1;
            for version in page.versions {
                if version.at.key >= end {
                    // Keys that sort after every time are not listed on purpose, but counted if a page holds them.
                    pass.junk += u64::from(self.window.is_whole() && self.window.to == Timestamp::MAX);
                    continue;
                }
                self.junk_before += u64::from(version.at.key < first);
                pass.take(version, &wants);
            }
            match page.next {
                Some(next) if next.key < end => after = Some(next),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}

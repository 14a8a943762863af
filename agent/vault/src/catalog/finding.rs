//! Findings that an operator should look at, in bounded memory.

use std::fmt;

use swarmdr_archive::{BackupId, ClusterId, untrusted::shown};

use super::{CatalogError, Entry, Series, Skipped, lineage::Broken, series::Words};
use crate::{Vault, VaultError};

/// The most objects that are reported one by one, so that a flood of forged ones fills neither memory nor screen. Other
/// findings are few.
const OBJECTS_REPORTED: usize = 50;

/// Findings of a search. The archive that the search returned is good in spite of them.
#[derive(Debug)]
pub struct Findings<S: Series = ClusterId> {
    pub kept: Vec<Finding<S>>,
    /// Number of further objects, which were not kept.
    pub dropped: u64,
}

/// One finding about a vault, or about all of them.
#[derive(Debug)]
pub struct Finding<S: Series = ClusterId> {
    /// Address of the vault; empty for a finding that concerns all of them.
    pub vault: String,
    pub about: About<S>,
}

/// Subject of a finding.
#[derive(Debug)]
pub enum About<S: Series = ClusterId> {
    Entry(Box<Entry<S>>),
    /// A good archive that cannot be used as far as its maker knew, as an unproven backup; an older one was taken.
    Unproven(Box<Entry<S>>),
    /// An archive with a later time than `by`, which is newer: a clock was wrong.
    DatedAfterNewer {
        entry: Box<Entry<S>>,
        by: BackupId,
    },
    /// The vault could not be searched completely.
    Vault(VaultError),
    Skipped(Skipped),
    /// Number of clusters or streams that were not searched.
    PassedOver(u64),
    History(Broken<S>),
}

impl<S: Series> Default for Findings<S> {
    fn default() -> Self {
        Self { kept: Vec::new(), dropped: 0 }
    }
}

impl<S: Series> Findings<S> {
    pub fn add(&mut self, vault: &dyn Vault, about: About<S>) {
        self.keep(Finding { vault: vault.address().into(), about });
    }

    pub fn add_break(&mut self, about: Broken<S>) {
        self.keep(Finding { vault: String::new(), about: About::History(about) });
    }

    fn keep(&mut self, finding: Finding<S>) {
        if matches!(finding.about, About::Entry(_)) && self.kept.len() >= OBJECTS_REPORTED {
            self.dropped += 1;
        } else {
            self.kept.push(finding);
        }
    }

    /// Fails if a vault could not be searched completely; `other` is the newest archive in the vaults that could.
    pub(super) fn require_answers(self, other: Option<BackupId>) -> Result<Self, CatalogError<S>> {
        let silent = self.silent();
        if silent.is_empty() {
            return Ok(self);
        }
        let errors = self.kept.into_iter().filter_map(|finding| match finding.about {
            About::Vault(error) => Some(error),
            _ => None,
        });
        Err(CatalogError::Unanswered { silent, errors: errors.collect(), other })
    }

    /// Returns the addresses of the vaults that could not be searched completely.
    pub fn silent(&self) -> Vec<String> {
        let silent = self.kept.iter().filter(|finding| matches!(finding.about, About::Vault(_)));
        let mut silent: Vec<String> = silent.map(|finding| finding.vault.clone()).collect();
        silent.dedup();
        silent
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns the findings for a report, one line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.kept.iter().map(ToString::to_string).collect();
        if self.dropped > 0 {
            lines.push(format!("and {} more objects", self.dropped));
        }
        lines
    }
}

/// Writes the end of a sentence: nothing, or `: ` and the first few findings.
impl<S: Series> fmt::Display for Findings<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (i, finding) in self.kept.iter().take(SHOWN).enumerate() {
            write!(f, "{}{finding}", if i == 0 { ": " } else { "; " })?;
        }
        match (self.kept.len() as u64 + self.dropped).saturating_sub(SHOWN as u64) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Writes one line, whatever a key, a name or a server's reply contains.
impl<S: Series> fmt::Display for Finding<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(fmt::from_fn(|f| self.write(f))).fmt(f)
    }
}

impl<S: Series> Finding<S> {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.about {
            About::Entry(entry) => write!(f, "{}: {entry}", self.vault),
            About::Unproven(entry) => {
                let (at, why) = (&entry.at, S::WORDS.passed_over);
                write!(f, "{}: `{}` (version {}) is newer, but {why},", self.vault, at.key, at.id)?;
                f.write_str(" so an older one was taken")
            }
            About::DatedAfterNewer { entry, by } => {
                let at = &entry.at;
                write!(f, "{}: `{}` (version {}) is dated after {by}, which was", self.vault, at.key, at.id)?;
                write!(f, " made after it according to their sequence: the clock of a {} was wrong", S::WORDS.maker)
            }
            // The error names its vault.
            About::Vault(error) => write!(f, "{error}"),
            About::Skipped(skipped) => write!(f, "{}: {}", self.vault, skipped.told(S::WORDS)),
            About::PassedOver(count) => {
                let Words { crowd, narrow, .. } = S::WORDS;
                write!(
                    f,
                    "{}: it has keys of too many {crowd}, {count} of them were not searched; {narrow}",
                    self.vault
                )
            }
            About::History(broken) => write!(f, "{broken}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{StreamSeries, lineage::Break};
    use swarmdr_archive::untrusted::{HOSTILE, needs_escape};

    #[test]
    fn a_finding_is_one_line_whatever_a_server_said() {
        let own = || HOSTILE.to_owned();
        let broken = StreamSeries { cluster: "c".parse().unwrap(), name: "n".parse().unwrap() };
        let id = BackupId::new(jiff::Timestamp::UNIX_EPOCH, [0; 4]);
        let at = Break::Unseen { newer: id, older: id, vault: own() };
        for about in [
            About::History(Broken { series: broken, at }),
            About::Vault(VaultError::Unreachable { vault: own(), action: own(), detail: own() }),
            About::Vault(VaultError::NotFound { vault: own(), key: own() }),
            About::PassedOver(3),
        ] {
            let line = Finding { vault: own(), about }.to_string();
            assert!(!line.chars().any(needs_escape), "{line:?}");
        }
    }
}

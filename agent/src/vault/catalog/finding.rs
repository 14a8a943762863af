//! What somebody should look at, kept in bounded memory.

use std::fmt;

use swarmdr_archive::BackupId;

use super::chain::Break;
use super::{CatalogError, Entry, Strays};
use crate::{
    terminal::shown,
    vault::{Vault, VaultError},
};

/// Objects told one by one; a flood of forged ones must not fill the memory or the screen. Other findings are few.
const OBJECTS_TOLD: usize = 50;

/// What was met on the way. A backup that was found is good in spite of it.
#[derive(Debug, Default)]
pub struct Findings {
    pub kept: Vec<Finding>,
    /// How many more objects there were.
    pub dropped: u64,
}

#[derive(Debug)]
pub struct Finding {
    /// Address of the vault; empty for what concerns all of them.
    pub vault: String,
    pub about: About,
}

#[derive(Debug)]
pub enum About {
    Entry(Box<Entry>),
    /// A good one that was stored unproven, and passed over for an older one that an engine comes up with.
    Unproven(Box<Entry>),
    /// One that bears a later time than a newer one: a clock was wrong.
    Outrun {
        entry: Box<Entry>,
        by: BackupId,
    },
    /// The vault could not be searched, or not to its end.
    Vault(VaultError),
    Strays(Strays),
    /// So many clusters that were not searched.
    Clusters(u64),
    History(Break),
}

impl Findings {
    pub fn add(&mut self, vault: &dyn Vault, about: About) {
        self.keep(Finding { vault: vault.address().into(), about });
    }

    pub fn add_break(&mut self, about: Break) {
        self.keep(Finding { vault: String::new(), about: About::History(about) });
    }

    fn keep(&mut self, finding: Finding) {
        if matches!(finding.about, About::Entry(_)) && self.kept.len() >= OBJECTS_TOLD {
            self.dropped += 1;
        } else {
            self.kept.push(finding);
        }
    }

    /// Fails if a vault could not be searched; `other` is the newest in those that could.
    pub(super) fn require_answers(self, other: Option<BackupId>) -> Result<Self, CatalogError> {
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

    /// Addresses of the vaults that could not be searched, or not to their end.
    pub fn silent(&self) -> Vec<String> {
        let silent = self.kept.iter().filter(|finding| matches!(finding.about, About::Vault(_)));
        let mut silent: Vec<String> = silent.map(|finding| finding.vault.clone()).collect();
        silent.dedup();
        silent
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// One line each, for a report.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.kept.iter().map(ToString::to_string).collect();
        if self.dropped > 0 {
            lines.push(format!("and {} more objects", self.dropped));
        }
        lines
    }
}

/// For the end of a sentence: nothing, or `: ` and the first few.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TOLD: usize = 8;
        for (i, finding) in self.kept.iter().take(TOLD).enumerate() {
            write!(f, "{}{finding}", if i == 0 { ": " } else { "; " })?;
        }
        match (self.kept.len() as u64 + self.dropped).saturating_sub(TOLD as u64) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// One line, whatever a key, a name or the answer of a server holds.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(fmt::from_fn(|f| self.tell(f))).fmt(f)
    }
}

impl Finding {
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.about {
            About::Entry(entry) => write!(f, "{}: {entry}", self.vault),
            About::Unproven(entry) => {
                let at = &entry.at;
                write!(
                    f,
                    "{}: `{}` (version {}) is newer, but its raft log did not replay",
                    self.vault, at.key, at.id
                )?;
                f.write_str(" when it was made, so an older one was taken")
            }
            About::Outrun { entry, by } => {
                let at = &entry.at;
                write!(f, "{}: `{}` (version {}) bears a later time than {by}, which was", self.vault, at.key, at.id)?;
                f.write_str(" made after it by what both say of their order: the clock of a manager was wrong")
            }
            // Names its vault itself.
            About::Vault(error) => write!(f, "{error}"),
            About::Strays(strays) => write!(f, "{}: {strays}", self.vault),
            About::Clusters(passed_over) => write!(
                f,
                "{}: it has keys of too many clusters, {passed_over} of them were not searched; name yours with --cluster",
                self.vault
            ),
            About::History(break_) => write!(f, "{break_}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::{is_unseen, tests::HOSTILE};

    #[test]
    fn a_finding_is_one_line_whatever_a_server_said() {
        let own = || HOSTILE.to_owned();
        for about in [
            About::Vault(VaultError::Unreachable { vault: own(), action: own(), detail: own() }),
            About::Vault(VaultError::NotFound { vault: own(), key: own() }),
            About::Clusters(3),
        ] {
            let told = Finding { vault: own(), about }.to_string();
            assert!(!told.chars().any(is_unseen), "{told:?}");
        }
    }
}

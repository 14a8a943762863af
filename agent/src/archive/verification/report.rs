//! Report of a verification.

use std::fmt;

use serde::Serialize;
use swarmdr_vault::{Renewed, VaultError};

use super::verdict::Verdict;
use crate::{archive::inspection::plain, outcome::exit::Exit};

/// Stable JSON form of `verify --json`.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub results: Vec<Checked>,
    pub findings: Vec<String>,
    /// Vaults that could not be searched, and may hold more.
    pub silent: Vec<String>,
    /// Locks of the newest good backups, and of the newest streams, that were extended.
    pub renewed: Vec<Renewed>,
}

#[derive(Debug, Serialize)]
pub struct Checked {
    pub id: String,
    pub source: String,
    pub key_id: String,
    /// True if the backup is what it claims to be, and nothing that was checked forbids a restore.
    pub good: bool,
    pub verdict: Verdict,
    /// What was checked, in words; empty if the check failed.
    pub depth: &'static str,
    pub problem: Option<String>,
}

impl Report {
    /// True if a backup is not what it claims to be.
    pub fn has_bad(&self) -> bool {
        self.results.iter().any(|result| result.verdict == Verdict::Bad)
    }

    /// Adds the locks that were extended, or why they were not.
    pub(super) fn add_renewed(&mut self, of: &str, renewed: Result<Vec<Renewed>, VaultError>) {
        match renewed {
            Ok(renewed) => self.renewed.extend(renewed),
            // A vault that does not answer is reported already.
            Err(error) if error.is_transient() => {}
            Err(error) => self.findings.push(format!("the lock of the newest {of} was not renewed: {error}")),
        }
    }

    pub fn exit(&self) -> Exit {
        let has = |exit| self.results.iter().any(|result| result.verdict.exit() == exit);
        if self.results.is_empty() {
            Exit::NothingUsable
        } else if has(Exit::Failed) {
            Exit::Failed
        } else if has(Exit::Attention) || !self.findings.is_empty() {
            Exit::Attention
        } else {
            Exit::Done
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            let Checked { id, source, key_id, verdict, depth, problem, .. } = result;
            write!(f, "{:<8}  {}  {}", verdict.word(), plain(id), plain(source))?;
            if *verdict != Verdict::Bad {
                write!(f, "  signed by {}: {}", plain(key_id), plain(depth))?;
            }
            match problem {
                Some(problem) => writeln!(f, ": {}", plain(problem))?,
                None => writeln!(f)?,
            }
        }
        match (self.results.is_empty(), self.silent.is_empty()) {
            (true, true) => writeln!(f, "No backup to verify.")?,
            (true, false) => writeln!(f, "Unknown: {} could not be searched.", plain(&self.silent.join(", ")))?,
            (false, _) => {}
        }
        for renewed in &self.renewed {
            writeln!(f, "  {}", plain(&renewed.to_string()))?;
        }
        for finding in &self.findings {
            writeln!(f, "! {}", plain(finding))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    #[test]
    fn texts_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let own = || text.to_owned();
            let checked = |verdict| Checked {
                id: own(),
                source: own(),
                key_id: own(),
                good: false,
                verdict,
                depth: "read",
                problem: Some(own()),
            };
            let results = vec![checked(Verdict::Bad), checked(Verdict::Proven)];
            Report { results, findings: vec![own()], renewed: Vec::new(), silent: vec![own()] }
        });
    }
}

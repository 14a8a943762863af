//! Checks everything from this host to a restore before the disaster, with the real credentials on the real host.
//!
//! Every check is one line: what was found, and how to fix it if it is wrong. A part that cannot be reached fails its
//! own checks only. Nothing is changed except for small objects below `doctor/` in each vault with locks. On one of them
//! the doctor tries what an attacker with these credentials would try, and reports every attempt that is not refused;
//! another one is created several times at once, as by sites that claim a swarm.

mod claims;
mod engine;
mod keys;
mod rollback;
mod schedule;
mod tamper;
mod units;
mod vaults;

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::untrusted::shown;
use swarmdr_vault::VaultError;

use crate::{
    config::Config,
    outcome::{exit::Exit, failure::Rendered},
};

/// Result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// A backup or a restore works, but not as well as it should.
    Warn,
    /// A backup, or the restore from it, would not work, or could be undone by an attacker.
    Fail,
}

/// One line of the diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub level: Level,
    /// Name of the check, stable for scripts: `vault.ready`, `keys.pinned`.
    pub name: String,
    /// Subject of the check where there are several: the URL of a vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The stable JSON form of `doctor --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    pub checks: Vec<Check>,
}

/// Runs all checks.
pub async fn examine(config: &Config, now: Timestamp) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    keys::check(config, &mut diagnosis);
    claims::keys(config, &mut diagnosis);
    let manager = engine::check(config, &mut diagnosis).await;
    units::check(config, manager.as_ref(), &mut diagnosis).await;
    let newest = vaults::check(config, manager.as_ref(), now, &mut diagnosis).await;
    schedule::check(config, newest, now, &mut diagnosis);
    diagnosis
}

impl Check {
    fn new(level: Level, name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level, name: name.into(), of: None, found: found.into(), fix: None }
    }

    pub fn ok(name: &str, found: impl Into<String>) -> Self {
        Self::new(Level::Ok, name, found)
    }

    pub fn warn(name: &str, found: impl Into<String>) -> Self {
        Self::new(Level::Warn, name, found)
    }

    pub fn fail(name: &str, found: impl Into<String>) -> Self {
        Self::new(Level::Fail, name, found)
    }

    /// A check that could not be made or that found an error. The fix is the error's own advice, if it has any.
    pub fn failed(name: &str, error: &anyhow::Error) -> Self {
        let found = |rendered: &Rendered| [&[rendered.what.clone()][..], &rendered.because].concat().join(": ");
        let rendered = Rendered::of(error);
        if !rendered.advice.is_empty() {
            return Self::fail(name, found(&rendered)).fix(rendered.advice.join("; or "));
        }
        match error.chain().find_map(of_vault).and_then(VaultError::advice) {
            Some(fix) => {
                let problem = |error: &VaultError| error.problem().to_string();
                let rendered = Rendered::with(error, |link| of_vault(link).map_or_else(|| link.to_string(), problem));
                Self::fail(name, found(&rendered)).fix(fix)
            }
            None => Self::fail(name, found(&rendered)).fix("correct this, and run `swarmdr-agent doctor` again"),
        }
    }

    #[must_use]
    pub fn of(mut self, of: &str) -> Self {
        self.of = Some(of.to_owned());
        self
    }

    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

fn of_vault<'e>(link: &'e (dyn std::error::Error + 'static)) -> Option<&'e VaultError> {
    link.downcast_ref()
}

impl Diagnosis {
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub fn worst(&self) -> Level {
        self.checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok)
    }

    /// Exit code: 0, or 6 if something should be reviewed, or 1 if something does not work.
    pub fn exit(&self) -> Exit {
        match self.worst() {
            Level::Ok => Exit::Done,
            Level::Warn => Exit::Attention,
            Level::Fail => Exit::Failed,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let level = match check.level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            write!(f, "{level}  {:18}  ", check.name)?;
            if let Some(of) = &check.of {
                write!(f, "{}: ", shown(of))?;
            }
            // An error of a vault begins with the vault's URL, which is already written.
            let of = check.of.as_ref().map(|of| format!("{of}: ")).unwrap_or_default();
            let found = check.found.strip_prefix(&of).unwrap_or(&check.found);
            // One line for each check, even if a server's message has several.
            writeln!(f, "{}", shown(found.split_whitespace().collect::<Vec<_>>().join(" ")))?;
            if let Some(fix) = &check.fix {
                writeln!(f, "      {:18}  fix: {}", "", shown(fix))?;
            }
        }
        let count = |level| self.checks.iter().filter(|check| check.level == level).count();
        writeln!(f, "{} ok, {} to review, {} failed", count(Level::Ok), count(Level::Warn), count(Level::Fail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_decides_the_exit_and_each_has_one_line() {
        let mut diagnosis = Diagnosis::default();
        assert_eq!(diagnosis.exit(), Exit::Done);
        diagnosis.add(Check::ok("keys.signing", "good"));
        assert_eq!(diagnosis.exit(), Exit::Done);
        diagnosis.add(Check::warn("keys.recipients", "one\nonly").fix("add another"));
        assert_eq!(diagnosis.exit(), Exit::Attention);
        diagnosis.add(Check::fail("vault.delete", "deleted").of("s3://b"));
        assert_eq!(diagnosis.exit(), Exit::Failed);
        let text = diagnosis.to_string();
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.contains("warn  keys.recipients     one only"), "{text}");
        assert!(text.contains("FAIL  vault.delete        s3://b: deleted"), "{text}");
        assert!(text.ends_with("1 ok, 1 to review, 1 failed\n"), "{text}");
    }

    #[test]
    fn answers_of_others_do_not_steer_the_terminal() {
        crate::outcome::terminal::tests::assert_tame(|text| {
            let told = VaultError::NoSpace { vault: text.into(), action: text.into(), detail: text.into() };
            let mut diagnosis = Diagnosis::default();
            diagnosis.add(Check::failed("vault.ready", &told.into()).of(text));
            diagnosis.add(Check::warn("engine", text).of(text).fix(text));
            diagnosis
        });
    }

    #[test]
    fn whatever_failed_has_a_fix() {
        let unlocked = VaultError::NoObjectLock { vault: "s3://b".to_owned() };
        let check = Check::failed("vault.ready", &anyhow::Error::new(unlocked).context("failed to look at the vault"));
        assert!(check.found.ends_with("so a stored backup could be deleted"), "{check:?}");
        assert_eq!(check.fix.as_deref(), Some("turn Object Lock on, or use a bucket that has it"));
        // The words of a server that are also the advice stay as they are.
        let advice = "free space or raise the quota".to_owned();
        let full = VaultError::NoSpace { vault: "v".into(), action: "store".into(), detail: advice.clone() };
        let named = format!("the run before ended with `{full}`");
        let check = Check::failed("vault.ready", &anyhow::Error::new(full).context(named.clone()));
        assert_eq!(check.found, format!("{named}: v: no room to store ({advice})"));
        assert_eq!(check.fix, Some(advice));
        let told = crate::outcome::failure::Failure::failed("no").advice("one").advice("two");
        assert_eq!(Check::failed("x", &told.into()).fix.as_deref(), Some("one; or two"));
        assert!(Check::failed("x", &anyhow::anyhow!("it broke; badly")).fix.is_some());
        let gone = VaultError::NotFound { vault: "s3://b".to_owned(), key: "a".to_owned() };
        let check = Check::failed("x", &gone.into());
        assert!(check.found.ends_with("; it was deleted, or never stored"), "{check:?}");
        assert!(check.fix.as_deref().is_some_and(|fix| fix.contains("swarmdr-agent doctor")), "{check:?}");
    }
}

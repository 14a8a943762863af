//! Proves the chain from this host to a restore before the bad day: with the real credentials, on the real host.
//!
//! Every check is one line: what was found, and what to do if it is not as it should be. A part that cannot be reached
//! fails its own lines and stops no other. Nothing is changed, but for one small object in each vault that locks: on it
//! the doctor tries what an attacker with these credentials would try, and all of it must be refused.

mod engine;
mod keys;
mod schedule;
mod tamper;
mod units;
mod vaults;

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::{config::Config, exit::Exit, fault::Rendered, terminal::shown, vault::VaultError};

/// What comes of one check.
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
    /// What was looked at, stable for scripts: `vault.versioned`, `keys.pinned`.
    pub name: String,
    /// What it is about where there are several: the URL of a vault.
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

/// Looks at everything that can be reached.
pub async fn examine(config: &Config, now: Timestamp) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    keys::check(config, &mut diagnosis);
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

    /// A check that could not be made, or that found an error that says itself what to do.
    pub fn failed(name: &str, error: &anyhow::Error) -> Self {
        let rendered = Rendered::of(error);
        let found = [&[rendered.what][..], &rendered.because].concat().join(": ");
        if !rendered.advice.is_empty() {
            return Self::fail(name, found).fix(rendered.advice.join("; or "));
        }
        let of_vault = error.chain().any(|cause| cause.is::<VaultError>());
        match found.rsplit_once("; ").filter(|_| of_vault) {
            // What an error of a vault ends with.
            Some((found, fix)) => Self::fail(name, found).fix(fix),
            None => Self::fail(name, found).fix("put right what this says, and run `swarmdr-agent doctor` again"),
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

impl Diagnosis {
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub fn worst(&self) -> Level {
        self.checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok)
    }

    /// 0, 6 if something deserves a look, 1 if something does not work.
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
            // One line each, whatever a server said.
            writeln!(f, "{}", shown(check.found.split_whitespace().collect::<Vec<_>>().join(" ")))?;
            if let Some(fix) = &check.fix {
                writeln!(f, "      {:18}  fix: {}", "", shown(fix))?;
            }
        }
        let count = |level| self.checks.iter().filter(|check| check.level == level).count();
        writeln!(f, "{} ok, {} to look at, {} failed", count(Level::Ok), count(Level::Warn), count(Level::Fail))
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
        assert!(text.ends_with("1 ok, 1 to look at, 1 failed\n"), "{text}");
    }

    #[test]
    fn answers_of_others_do_not_steer_the_terminal() {
        crate::terminal::tests::assert_tame(|text| {
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
        let told = crate::fault::Fault::failed("no").advice("one").advice("two");
        assert_eq!(Check::failed("x", &told.into()).fix.as_deref(), Some("one; or two"));
        assert!(Check::failed("x", &anyhow::anyhow!("it broke; badly")).fix.is_some());
    }
}

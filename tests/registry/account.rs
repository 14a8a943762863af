//! Users of a registry, and the file in which it looks them up.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf, process::Command, sync::Mutex};

use anyhow::{Context, Result};

use crate::tree::capture;

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    pub password: String,
}

impl Account {
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }

    /// `USER:PASSWORD`, as options of programs take it.
    pub fn pair(&self) -> String {
        format!("{}:{}", self.user, self.password)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The file of users, which the registry reads again when it has changed.
#[derive(Debug)]
pub(super) struct Htpasswd {
    file: PathBuf,
    /// Lines of the file by user.
    lines: Mutex<BTreeMap<String, String>>,
}

impl Htpasswd {
    pub fn at(file: PathBuf) -> Self {
        Self { file, lines: Mutex::default() }
    }

    pub fn file(&self) -> &PathBuf {
        &self.file
    }

    pub fn set(&self, account: &Account) -> Result<()> {
        // The registry knows no other hash than bcrypt; five rounds are the fewest.
        let words = ["-n", "-b", "-B", "-C", "5", &account.user, &account.password];
        let line = capture(Command::new("htpasswd").args(words)).context("Debian package apache2-utils")?;
        let mut lines = self.lines.lock().expect("no holder panics");
        lines.insert(account.user.clone(), line.trim().to_owned());
        self.write(&lines)
    }

    pub fn remove(&self, user: &str) -> Result<()> {
        let mut lines = self.lines.lock().expect("no holder panics");
        lines.remove(user);
        self.write(&lines)
    }

    /// Puts a whole new file in place: a registry that reads it meanwhile sees the old one or the new one.
    fn write(&self, lines: &BTreeMap<String, String>) -> Result<()> {
        let content: String = lines.values().map(|line| format!("{line}\n")).collect();
        let new = self.file.with_extension("new");
        fs::write(&new, content).and_then(|()| fs::rename(&new, &self.file)).context("failed to write the users")
    }
}

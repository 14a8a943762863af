//! The reviewed file: cases by section, and the comparison with the accepted one.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

const HEADER: &str = "\
What the agent prints, verb by verb and ending by ending. Made by the suite `messages`; see tests/suites/messages.rs.

  $   the command line
  |   a line on a terminal of 80 columns, standard output and standard error together
  :   what does not fit into the line above it
  >   standard output, where it is no terminal
  !   standard error, where it is no terminal

Ids, times, lengths of time, sizes, digests and keys are stand-ins.
";

/// Sections in the order of the file, whatever the order of the runs.
const SECTIONS: [&str; 23] = [
    "the command line",
    "config",
    "keygen",
    "completions",
    "backup",
    "list",
    "inspect",
    "diff",
    "export",
    "images",
    "node",
    "standby",
    "promote",
    "step-down",
    "life",
    "verify",
    "status",
    "prune",
    "doctor",
    "drill",
    "restore",
    "undelete",
    "recover-quorum",
];

/// Messages that have been seen so far.
#[derive(Debug, Default)]
pub struct Book {
    cases: Vec<(&'static str, String)>,
    /// Cases that ended in another way than expected.
    wrong: Vec<String>,
}

impl Book {
    pub fn add(&mut self, section: &'static str, case: String) {
        assert!(SECTIONS.contains(&section), "{section} is no section");
        self.cases.push((section, case));
    }

    pub fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    fn text(&self) -> String {
        let mut text = HEADER.to_owned();
        for section in SECTIONS {
            let line = "=".repeat(section.len());
            let _ = write!(text, "\n{line}\n{section}\n{line}\n");
            for (_, case) in self.cases.iter().filter(|(of, _)| *of == section) {
                let _ = write!(text, "\n{case}");
            }
        }
        text
    }

    /// Writes the messages that were seen, and returns the path.
    pub fn write(&self) -> Result<PathBuf> {
        let seen = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages.txt");
        fs::write(&seen, self.text()).with_context(|| format!("failed to write {}", seen.display()))?;
        Ok(seen)
    }

    /// Fails, with the differences, if the messages that were seen differ from the accepted ones.
    pub fn compare(&self, seen: &Path) -> Result<()> {
        let accepted = Path::new(env!("CARGO_MANIFEST_DIR")).join("messages.txt");
        ensure!(self.wrong.is_empty(), "cases that ended otherwise:\n{}", self.wrong.join("\n"));
        if env::var_os("SWARMDR_TEST_ACCEPT").is_some_and(|value| value == "1") {
            fs::copy(seen, &accepted).with_context(|| format!("failed to write {}", accepted.display()))?;
        }
        let labels = ["-u", "--label=accepted", "--label=seen"];
        let output = Command::new("diff")
            .args(labels)
            .args([accepted.as_path(), seen])
            .output()
            .context("failed to run diff")?;
        if !output.status.success() {
            bail!(
                "the messages differ from {}:\n{}{}\nread what was seen in its place ({}), and take it with \
                 SWARMDR_TEST_ACCEPT=1",
                accepted.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
                seen.display()
            );
        }
        Ok(())
    }
}

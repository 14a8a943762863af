//! Child processes whose failure says what was run and what it printed.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Runs a command to its end and returns its standard output; a failure carries its standard error.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to run {}", shown(command)))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}: {}",
            shown(command),
            output.status,
            last_lines(&String::from_utf8_lossy(&output.stderr), 20)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fails if a program is missing, and names the Debian package that contains it.
pub fn require_tool(program: &str, package: &str) -> Result<()> {
    // The directories of the superuser are added: `su` without a dash leaves them out of PATH.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    ensure!(
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file()),
        "`{program}` is missing: apt-get install {package}"
    );
    Ok(())
}

/// Fails for any user but root.
pub fn require_root() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "these tests build root file systems and boot hosts: run them as root");
    Ok(())
}

/// Returns the last lines of a text, where tools put their reason.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

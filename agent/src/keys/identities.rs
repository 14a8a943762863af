//! Identities that decrypt archives: age identities from files, a systemd credential, or a command. They are never
//! passed as an argument and never logged. A host that only makes backups needs none.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use swarmdr_archive::{Identities, manifest::Manifest};
use zeroize::Zeroizing;

use crate::{config::Config, outcome::failure::Failure};

/// Returns the identities in the files that flags name, or those of the configuration if no flag does.
pub fn find(flags: &[impl AsRef<Path>], config: &Config) -> Result<Identities> {
    if flags.is_empty() {
        return configured(config);
    }
    let mut identities = Identities::none();
    for path in flags {
        identities.extend(from_file(path.as_ref())?);
    }
    Ok(identities)
}

/// Returns the identities of `identity_file` (or of the credential that replaces it) and of `identity_command`
/// together. Returns none if neither is set.
pub fn configured(config: &Config) -> Result<Identities> {
    let mut identities = Identities::none();
    if let Some(path) = &config.identity_file {
        identities.extend(from_file(path)?);
    }
    if !config.identity_command.is_empty() {
        identities.extend(from_command(&config.identity_command, config.proxies_for_children()?)?);
    }
    Ok(identities)
}

/// Returns an error if the archive is encrypted and there is no identity to try.
pub fn require(identities: &Identities, manifest: &Manifest) -> Result<(), Failure> {
    require_any(identities, "backup", &manifest.payload.recipients)
}

/// Returns an error if `what` is encrypted to recipients and there is no identity to try.
pub fn require_any(identities: &Identities, what: &str, recipients: &[String]) -> Result<(), Failure> {
    if recipients.is_empty() || !identities.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("the {what} is encrypted to {}", recipients.join(", ")))
        .advice("name the file with one of their identities: `--identity FILE`, or identity_file in the configuration"))
}

fn from_file(path: &Path) -> Result<Identities> {
    let read = || -> Result<Identities> {
        let text = Zeroizing::new(fs::read_to_string(path)?);
        Ok(Identities::parse_file(&text)?)
    };
    read().map_err(|cause| unusable(&format!("the identity file {}", path.display()), cause))
}

/// Runs the command that prints the identities. Its output is secret, so only its standard error is ever shown.
fn from_command(words: &[String], environment: Vec<(&'static str, String)>) -> Result<Identities> {
    let run = || -> Result<Identities> {
        let (program, arguments) = words.split_first().context("it is empty")?;
        let output = Command::new(program).args(arguments).envs(environment).output().context("failed to run it")?;
        let stdout = Zeroizing::new(output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "it ended with {}: {}", output.status, said.trim_end());
        Ok(Identities::parse_file(std::str::from_utf8(&stdout).context("it prints no text")?)?)
    };
    let program = words.first().map_or("", String::as_str);
    run().map_err(|cause| unusable(&format!("identity_command `{program}`"), cause))
}

fn unusable(place: &str, cause: anyhow::Error) -> anyhow::Error {
    Failure::usage(format!("{place} gives no identity that can be used"))
        .advice("it must give what `age-keygen` writes; a file should be readable for root only")
        .because(cause)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    fn command(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn files_and_a_command_give_identities_together() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let made: Vec<Identities> = (0..3).map(|_| Identities::generate()).collect();
        let paths: Vec<_> = (0..3).map(|i| dir.path().join(format!("{i}.txt"))).collect();
        for (identities, path) in made.iter().zip(&paths) {
            fs::write(path, identities.to_file_string().as_bytes()).expect("writes");
        }
        let recipients = |which: &[usize]| which.iter().flat_map(|i| made[*i].recipients()).collect::<Vec<_>>();
        let none: [&Path; 0] = [];
        let mut config = Config::default();
        assert!(find(&none, &config).expect("needs none").is_empty());
        config.identity_file = Some(paths[0].clone());
        config.identity_command = command(&format!("cat {}", paths[1].display()));
        assert_eq!(find(&none, &config).expect("reads").recipients(), recipients(&[0, 1]));
        assert_eq!(find(&paths[1..], &config).expect("reads").recipients(), recipients(&[1, 2]));
    }

    #[test]
    fn what_gives_none_is_named_and_what_it_gave_is_never_shown() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("identity.txt");
        fs::write(&path, "AGE-SECRET-KEY-1PLANTED").expect("writes");
        let none: [&Path; 0] = [];
        let with_file = Config { identity_file: Some(path), ..Config::default() };
        let commands = ["echo AGE-SECRET-KEY-1PLANTED", "echo AGE-SECRET-KEY-1PLANTED; echo no >&2; exit 3", "true"];
        let with_command = commands.map(|script| Config { identity_command: command(script), ..Config::default() });
        let missing = Config { identity_command: vec!["/no/such/program".to_owned()], ..Config::default() };
        for config in with_command.iter().chain([&with_file, &missing]) {
            let rendered = Rendered::of(&find(&none, config).expect_err("gives none"));
            assert_eq!(rendered.exit, Exit::Usage, "{rendered}");
            assert!(!rendered.to_string().contains("PLANTED"), "{rendered}");
        }
    }
}

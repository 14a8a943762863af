//! Completion of a shell's command line when the user presses Tab.
//!
//! The script of a shell is a few lines that call this program again with the words so far and `VARIABLE` set. The
//! candidates are found in this call. So backup ids come from the vault as it is at that moment, and the scripts never
//! become outdated.

use std::{ffi::OsString, io::Write};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::{
    CompleteEnv,
    env::{EnvCompleter, Shells},
};

use crate::{commands::cli::Cli, outcome::program::PROGRAM};

/// Variable that the scripts set. It does not have the prefix of the settings, where it would be an unknown key.
const VARIABLE: &str = "_SWARMDR_COMPLETE";

/// Prints the candidates for the words so far, if a shell asks for them. Returns false in an ordinary run.
///
/// Must come before anything is printed and before other threads exist.
pub fn answer(args: &[OsString]) -> Result<bool> {
    let shell = CompleteEnv::with_factory(Cli::command).var(VARIABLE);
    Ok(shell.try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref())?)
}

/// Writes the script that makes this shell ask for candidates.
pub fn write_script(shell: &str, out: &mut dyn Write) -> Result<()> {
    let shells = Shells::builtins();
    let shell: &dyn EnvCompleter =
        shells.completer(shell).with_context(|| format!("no script for {shell} is known"))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    if shell.name() == "zsh" {
        // zsh autoloads the file as a function. Without this line the first Tab of a session would only define the real
        // one.
        script.extend(b"[ \"$funcstack[1]\" = \"_swarmdr-agent\" ] && _clap_dynamic_completer_swarmdr_agent \"$@\"\n");
    }
    out.write_all(&script).context("failed to write the script")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_shell_has_a_script() {
        for shell in ["bash", "zsh", "fish"] {
            let mut script = Vec::new();
            write_script(shell, &mut script).expect("is written");
            let script = String::from_utf8(script).expect("is text");
            assert!(script.contains(VARIABLE) && script.contains(PROGRAM), "{script}");
        }
    }
}

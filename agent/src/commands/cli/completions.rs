//! Arguments of `completions`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  . <(swarmdr-agent completions bash)
  swarmdr-agent completions fish > ~/.config/fish/completions/swarmdr-agent.fish

The packages install them. Ids of backups are offered from the vaults of the
configuration, newest first, to anyone who may read it.")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    pub fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }
}

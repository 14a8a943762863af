//! Arguments of `step-down`.

use clap::Args;

use super::{Trust, Unlock};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent step-down --dry-run --identity /root/identity.txt
  swarmdr-agent step-down --identity /root/identity.txt --reason \"back to fra1\"

On a manager of the site that has the swarm, with the key that signed its claim:
the release is stored beside the claim. The swarm here runs on until you stop it;
from now on another site may be promoted at once, or the one before goes on.

Take the last backup before this command: the other site starts from it.

Exits 4 if this site does not have the newest claim, 6 if a vault did not take
the release.")]
pub struct StepDownArgs {
    /// Why, for the release that others read
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Show what would be given up, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

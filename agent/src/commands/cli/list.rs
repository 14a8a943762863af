//! Arguments of `list`.

use clap::Args;

use super::{Among, Trust};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent list
  swarmdr-agent list --max-age 26h         for a monitor: 5 if there is none
  swarmdr-agent list --before 2026-11-21T10:15
  swarmdr-agent list --streams             what `put` stored
  swarmdr-agent list --points              state and streams that belong together in time
  swarmdr-agent list --claims              which site has the swarm, and since when

Every version is looked at, also those below delete markers and below versions
laid on top. What is forged, damaged, misplaced or missing is listed after the
backups, and makes this exit 6.")]
pub struct ListArgs {
    #[command(flatten)]
    pub among: Among,

    #[command(flatten)]
    pub trust: Trust,

    /// Show the claims of sites on the swarms instead of the backups
    #[arg(long, conflicts_with_all = ["before", "max_age"])]
    pub claims: bool,

    /// Show the data streams instead of the backups
    #[arg(long, conflicts_with = "claims")]
    pub streams: bool,

    /// Show the recovery points instead of the backups: what belongs together in time
    #[arg(long, conflicts_with_all = ["claims", "streams"])]
    pub points: bool,

    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

//! Arguments of `prune`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use swarmdr_archive::ClusterId;

use crate::commands::cli::candidates;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent prune --dry-run --keep-daily 7 --keep-weekly 4 --keep-monthly 12
  swarmdr-agent prune                 by `[retention]` of the configuration

Of each cluster in each vault the newest backup and the newest proven one are
kept whatever the policy says, and so is what is locked; the same holds for the
newest stream of each name. A stream goes by its own `retention` if it has one,
whatever the flags say. A bucket gets a
lifecycle rule printed and is left alone, unless --delete-versions is given to
an identity that may delete: those that make backups should not.

Of the signs of life of each node the newest three stay.")]
pub struct PruneArgs {
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Keep the newest N
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,

    /// Keep the newest of each of the last N days that have one
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,

    /// Keep the newest of each of the last N weeks that have one
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,

    /// Keep the newest of each of the last N months that have one
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,

    /// In buckets too, delete the versions whose lock has ended
    #[arg(long)]
    pub delete_versions: bool,

    /// Only backups and streams of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<ClusterId>,

    /// Print the plan and what was done as JSON
    #[arg(long)]
    pub json: bool,
}

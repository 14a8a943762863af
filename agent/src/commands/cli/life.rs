//! Arguments of `life`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use swarmdr_archive::ClusterId;

use crate::commands::cli::{Trust, candidates};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent life              leave a sign of life if one is due
  swarmdr-agent life --dry-run    whether one is due, and where it would be
  swarmdr-agent life --look       on any host: which sites are alive

A manager that sees a leader leaves a small signed object in each vault, at
life/<cluster>/<node>-<host>, always under the same key. While the newest is fresh, which
is for three times standby.sign_of_life and a minute, `promote` and `restore`
elsewhere refuse to take the swarm over. swarmdr-life.timer runs this.

Exits 0 if the sign was left or none is due, 3 if this host is no manager that sees
a leader, 6 if a vault did not take the sign, 1 if none did, 2 if
standby.sign_of_life is not set. With --look: 0 if a site is alive, 5 if none is,
6 if that is not certain.")]
pub struct LifeArgs {
    /// Look whether a sign is due, and leave none
    #[arg(long)]
    pub dry_run: bool,

    /// Look for signs in the vaults instead of leaving one
    #[arg(long, conflicts_with = "dry_run")]
    pub look: bool,

    /// With --look, only the sites of this cluster [default: all that have backups]
    #[arg(long, value_name = "CLUSTER", requires = "look", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<ClusterId>,

    #[command(flatten)]
    pub trust: Trust,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

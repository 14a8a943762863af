//! Arguments of `life`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent life              leave a sign of life if one is due
  swarmdr-agent life --dry-run    whether one is due, and where it would be

A manager that sees a leader leaves a small signed object in each vault, at
life/<cluster>/<node>, always under the same key. While the newest is fresh, which
is for three times standby.sign_of_life and a minute, `promote` and `restore`
elsewhere refuse to take the swarm over. swarmdr-life.timer runs this.

Exits 0 if the sign was left or none is due, 3 if this host is no manager that sees
a leader, 6 if a vault did not take the sign, 1 if none did, 2 if
standby.sign_of_life is not set.")]
pub struct LifeArgs {
    /// Look whether a sign is due, and leave none
    #[arg(long)]
    pub dry_run: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

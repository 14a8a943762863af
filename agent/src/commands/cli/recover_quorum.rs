//! Arguments of `recover-quorum`.

use clap::Args;

use super::Unlock;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent recover-quorum --dry-run
  swarmdr-agent recover-quorum
  swarmdr-agent recover-quorum --unlock-key /root/unlock-key --prune-dead

Run it on the manager that survived, once the others are gone for good. It seals
a backup of this manager first, then forms a new cluster from its state;
services, secrets and tokens stay. A failure, a kill or a power cut ends as it
does in a restore: the old state comes back, or the next run finishes. On a
swarm that has a leader it changes nothing and exits 0.")]
pub struct RecoverArgs {
    #[command(flatten)]
    pub unlock: Unlock,

    /// The other managers are cut off for good: do not check whether they answer
    #[arg(long)]
    pub fenced: bool,

    /// This manager's address is translated to it (NAT): do not check the interfaces for it. Known already where the
    /// engine was given another local address, or to listen on one
    #[arg(long)]
    pub address_elsewhere: bool,

    /// Remove the other managers from the swarm once they have been away for restore.prune_grace
    #[arg(long)]
    pub prune_dead: bool,

    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

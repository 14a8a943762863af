//! Arguments of `standby`.

use clap::Args;

use super::{Trust, Unlock};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent standby --dry-run
  swarmdr-agent standby
  systemctl enable --now swarmdr-standby.timer

On a spare host with an engine that is in no swarm. The newest backup that
verifies is fetched and kept below state_dir/standby, sealed as it was in the
vault, so that `promote` needs no vault. It is checked against this host: the
engine's version and settings, room, certificates, whether it can be opened, with
`images.check` its images, with `standby.drill` whether it boots.

If this host has an identity that opens it, the state of a swarm of several
managers is formed beforehand in a second engine, and sealed again: such a state
leads as soon as its engine has started, and waits for no election.

Exits 3 on a host that serves as a manager, 4 on any other node of a swarm, 6 if
no vault answers or a promotion would meet something.")]
pub struct StandbyArgs {
    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Show what would be kept, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

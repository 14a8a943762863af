//! Arguments of `node tidy`.

use std::time::Duration;

use clap::Args;
use swarmdr_vault::settings::length;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent node tidy --dry-run
  swarmdr-agent node tidy                    what has been down for half an hour
  swarmdr-agent node tidy --dead-for 5m      after a restore on new hosts

The leader does it, other managers exit 3. Nodes that are down and do not answer
are drained, waited for until no task is to run on them, and removed; their
addresses in overlay networks are free then. A dead manager is demoted first, if
the others are a majority. Each node is asked for again right before each act:
one that comes back is left alone, and is active again.

A node that an operator has paused or drained is left. Nothing counts from
before the start of the leader's engine: after a restore its state is an old one.

Exits 6 if a node could not be removed, answers though it is down, or tasks
still wait for an address.")]
pub struct NodeTidyArgs {
    /// Time for which a node must have been down (`30m`, `2h`)
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "30m")]
    pub dead_for: Duration,

    /// Print what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

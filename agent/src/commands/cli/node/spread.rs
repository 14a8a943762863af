//! Arguments of `node spread`.

use std::time::Duration;

use clap::Args;
use swarmdr_vault::settings::length;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent node spread --dry-run
  swarmdr-agent node spread
  swarmdr-agent node spread --service 'shop_*' --at-most 2

The leader does it, other managers exit 3. The swarm never moves a task that
runs, so services stay on their old nodes when new ones join. This makes a
forced update of each service that gains from it, one after the other, by the
service's own update settings: EVERY TASK OF IT IS RESTARTED. The next one
follows when the update is complete and all tasks run; the first that fails ends
the run.

Only replicated services that are whole and at rest are updated, and of these
those of which one node has at least two tasks fewer than another. Services in
the middle of an update, jobs, and services whose tasks have ended for good are
left. `docker service rollback` has nothing to go back to after an update.

A service with volumes or directories of its nodes is held where it is: its tasks
would find other data on another node, or none. So is one with ports in host
mode or in the network of its hosts, whose clients know the node. --with-volumes
and --with-host-ports include them; name such services with --service as well. A
volume that only the image declares is in no spec, and holds nothing.

Exits 1 if an update failed, and says what the engine did; 6 if a service was
left that is not at rest or cannot be judged.")]
pub struct NodeSpreadArgs {
    /// Only services whose name fits; `*` stands for any number of characters (repeatable)
    #[arg(long = "service", value_name = "PATTERN")]
    pub services: Vec<String>,

    /// Also services with volumes or directories of their nodes, which stay behind
    #[arg(long)]
    pub with_volumes: bool,

    /// Also services with ports in host mode or in the network of their hosts, which move to other nodes
    #[arg(long)]
    pub with_host_ports: bool,

    /// Update no more than this many services
    #[arg(long, value_name = "NUMBER")]
    pub at_most: Option<usize>,

    /// Give the update of each service this long
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "10m")]
    pub wait: Duration,

    /// Print what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

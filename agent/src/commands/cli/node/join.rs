//! Arguments of `node join`.

use std::time::Duration;

use clap::Args;

use crate::config::{join::ManagerAddr, length};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent node join --wait 15m              at boot, with [join] configured
  swarmdr-agent node join --manager 10.0.0.5 --manager 10.0.0.6:2377
  swarmdr-agent node join --dry-run               what it would do on this host
  swarmdr-agent node join --leave-dead --wait 15m out of a swarm that is gone

The managers come from --manager, join.managers and join.managers_command, and
are tried one after the other; those that accept no connection are passed over.
The worker token comes from the credential swarmdr.join-token, join.token_file
or join.token_command, and is asked for again whenever it is missing or refused.
Without --wait each manager is tried once; with it, again and again with pauses
of 1 to 60 s. An engine that is stopped is started.

A host that is in that swarm already exits 0, whatever its role, so this can run
at every boot. A worker that the managers refuse for two minutes, because they
removed its node or do not know it, joins anew. So does one that knows only
managers which are gone, if the swarm was restored at other addresses: when none
of them has answered for join.dead_after (10 minutes) and a wanted one does.
With --leave-dead, a load balancer that shows no manager counts as silent there.

A host in another swarm is left there (4). With --leave-dead it leaves that one
after the same silence, for which --wait has to be long enough (else 4), if a
manager shows the root CA that the token names. A host that is a manager itself
is never taken out.

Nodes join as workers, and the leader promotes them. Whether a token is that of
managers cannot be seen before it is used: then it is told (6).

Exits 1 if it gave up, and says which of these it was: no address, no route, no
token, a token that is refused, or one of another swarm, the clock.")]
pub struct NodeJoinArgs {
    /// Address of a manager, in addition to the configured ones and before them (repeatable; port 2377 if none is given)
    #[arg(long = "manager", value_name = "ADDRESS")]
    pub managers: Vec<ManagerAddr>,

    /// Address or interface of this host that other nodes use [default: join.advertise_addr, else the engine's choice]
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_addr: Option<String>,

    /// Keep trying for this long (`90s`, `15m`)
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "0s")]
    pub wait: Duration,

    /// Leave another swarm first, or a load balancer without managers, if no manager answers there for join.dead_after
    #[arg(long)]
    pub leave_dead: bool,

    /// Find out what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

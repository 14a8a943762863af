//! Arguments of `promote`.

use std::{net::IpAddr, time::Duration};

use clap::Args;

use super::{Trust, Unlock};
use crate::config::length;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent promote --dry-run --fenced
  swarmdr-agent promote --fenced --reason \"fra1 burnt down\"
  swarmdr-agent promote --max-lag 2h          with a program `fence` in hooks.d
  swarmdr-agent promote --fenced --readdress  at this host's own address

On a spare host, best one that `swarmdr-agent standby` keeps ready. The swarm is
taken over from the newest backup: from what this host keeps if that is the
newest, or if no vault answers. Before anything is touched: the old managers do
not answer; the hook `fence` cut them off, or you vouch for that with --fenced; no
other site shows signs of life; the backup is not older than --max-lag; and of
several hosts that are promoted, this one has the claim.

Afterwards services whose label swarmdr.replicas says so are scaled back, images
are looked at, and the run waits for --settle until all services run. Hooks:
pre-promote, post-promote (move the traffic there), failed-promote.

A run that was killed is ended by the next one: finished, or undone.

Exits 0 if this site serves, 3 if another site's claim came first, 4 if it was
refused, 5 if there is no backup, 6 if it serves and something does not run.")]
pub struct PromoteArgs {
    /// The old site is cut off for good: do not check whether its managers answer
    #[arg(long)]
    pub fenced: bool,

    /// Refuse a backup that is older than this: 90m, 26h [default: standby.max_lag]
    #[arg(long, value_name = "LENGTH", value_parser = length::parse_age)]
    pub max_lag: Option<Duration>,

    /// Why, for the claim that others read
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Make this many managers of the workers that are there; an odd number is best
    #[arg(long, value_name = "N")]
    pub managers: Option<usize>,

    /// Promote although another site left a fresh sign of life in a vault
    #[arg(long)]
    pub despite_sign_of_life: bool,

    /// Make no claim: for rehearsals in a network that reaches nothing else
    #[arg(long)]
    pub without_claim: bool,

    /// Give the swarm this host's address: a new manager takes the place of the old one
    #[arg(long)]
    pub readdress: bool,

    /// With --readdress, the address of this host that the swarm gets [default: the only one]
    #[arg(long, value_name = "ADDRESS", requires = "readdress")]
    pub advertise_addr: Option<IpAddr>,

    /// With --readdress, give the new node the labels and the availability of the old one
    #[arg(long, requires = "readdress")]
    pub copy_labels: bool,

    /// Wait this long for what comes late: the engine, the address, a vault (`90s`, `10m`)
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "0s")]
    pub wait: Duration,

    /// Wait this long for all services to run
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "30s")]
    pub settle: Duration,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the plan and change nothing; no hook runs
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

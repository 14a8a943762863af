//! Arguments of `node grow`.

use std::time::Duration;

use clap::Args;
use swarmdr_vault::settings::length;

use crate::{config::grow::NodeLabel, nodes::label::Label};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent node grow --managers 3 --dry-run
  swarmdr-agent node grow --managers 3 --spread node.labels.zone
  swarmdr-agent node grow --managers 3 --wait 10m    while workers are joining
  swarmdr-agent node grow --managers 3 --only manager=yes

The leader does it, other managers exit 3. Ready and active workers become
managers one after the other: the next one when the last one is reachable, stays
so and has every change. Workers with an engine that is older than the leader's
are left out. With --spread the managers come to differ in a label, as far as
there are nodes; then the lowest id decides. With --only a worker needs that label
of its node, which only a manager can have given it.

A worker whose port 2377 is closed, or that does not become a manager within
--limit, is passed over: the next one follows. All ports are asked for before the
first promotion. One that joined and does not answer
is made a worker again, if that costs no majority. Runs of the next hour pass
that one over, unless --only is given here, or its label `swarmdr.grow` is removed.

Two managers need each other: if the second one dies before there is a third,
nothing can be changed until it is back, and services run on. So nothing begins
while a manager does not answer, or without workers for all that follow up to an
odd number, or to the wanted one. An even number from 4 on is told to be no better
than one less (6 if this run made it so). It is safe to run again: a promotion that is under way is
waited for, and one of a run that was killed is ended as that run would have.

Exits 0 if there are enough managers, also with a node outside of their group
since before, which is told; the JSON report has their number as `manager_count`.
Exits 6 if workers are missing, some were passed over and others became managers,
or the number is even by this run; 1 if managers are missing because some were
passed over, by this run or one of the last hour, or could not be taken back; 4 if
a manager does not answer.")]
pub struct NodeGrowArgs {
    /// Number of managers that is wanted; an odd one is best, and 2 is refused
    #[arg(long, value_name = "NUMBER")]
    pub managers: usize,

    /// Have the managers differ in this: node.labels.NAME, engine.labels.NAME, node.hostname
    #[arg(long, value_name = "LABEL")]
    pub spread: Option<Label>,

    /// Only workers with this label of their node become managers: KEY or KEY=VALUE [default: grow.only, else any worker]
    #[arg(long, value_name = "LABEL")]
    pub only: Option<NodeLabel>,

    /// Wait this long for workers that are missing (`90s`, `10m`)
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "0s")]
    pub wait: Duration,

    /// Give each promoted node this long to become a manager that keeps up
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "3m")]
    pub limit: Duration,

    /// Print what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

//! Arguments of `backup`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent backup                  stop the engine, copy, start, store
  swarmdr-agent backup --dry-run        show the plan, and what forbids it
  swarmdr-agent backup --if-due         for the timer: only if one is due
  swarmdr-agent backup --if-changed     only if somebody changed the swarm since the newest one
  swarmdr-agent backup --on-change      for swarmdr-on-change.service: one after each change")]
pub struct BackupArgs {
    /// Only if a due time of the schedule has passed since the cluster's newest backup
    #[arg(long)]
    pub if_due: bool,

    /// Only if somebody changed the swarm since the cluster's newest backup; always in freeze mode
    #[arg(long, conflicts_with = "if_due")]
    pub if_changed: bool,

    /// Stay, and make a backup with --if-changed after each change of the swarm (`schedule.on_change`)
    #[arg(long, conflicts_with_all = ["if_due", "if_changed", "dry_run", "json"])]
    pub on_change: bool,

    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Go on even if the cluster has no majority while this manager's engine is stopped
    #[arg(long)]
    pub allow_quorum_loss: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

//! Arguments of `backup`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent backup                  stop the engine, copy, start, store
  swarmdr-agent backup --dry-run        show the plan, and what forbids it
  swarmdr-agent backup --if-due         for the timer: only if one is due")]
pub struct BackupArgs {
    /// Only if a due time of the schedule has passed since the cluster's newest backup
    #[arg(long)]
    pub if_due: bool,

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

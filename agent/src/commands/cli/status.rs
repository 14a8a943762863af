//! Arguments of `status`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use swarmdr_archive::ClusterId;

use crate::commands::cli::candidates;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent status                for a person
  swarmdr-agent status --nagios       a plugin's line; exits 0 to 3, as below
  swarmdr-agent status --prometheus   what node_exporter is given

With --nagios the exit code is that of a plugin: 0 ok, 1 warning, 2 critical, 3
unknown.

The vaults are asked and the engine is not, so this may run at any time and on
any host. With watch.removals a running engine is asked too, on the manager that
made the last backup, and where streams are configured; one that is stopped
never is.

Exits 0 if all is well, 6 if something needs attention, 1 if no backup can be
relied on or is made any more, or if a stream of the configuration is too old,
5 if there is no backup at all. On a worker that stores streams, backups are not
judged.")]
pub struct StatusArgs {
    /// Only backups and streams of this cluster [default: the one that this host last backed up]
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<ClusterId>,

    /// Print one line and exit as a plugin of Nagios does
    #[arg(long, group = "form")]
    pub nagios: bool,

    /// Print the metrics
    #[arg(long, group = "form")]
    pub prometheus: bool,

    /// Print everything as JSON
    #[arg(long, group = "form")]
    pub json: bool,
}

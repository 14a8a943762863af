//! Arguments of `node publish-token`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent node publish-token
  swarmdr-agent node publish-token --dry-run

The leader hands the worker token to join.publish_command, on its standard
input; other managers do nothing (3), so it can run on each of them. The token
of managers is never published: the leader promotes workers.

Run it after a restore, and again whenever it is not certain that new nodes get
the present token: it does no harm.

Exits 1 if the program fails or does not read the token, 2 if none is
configured, 6 if the token will change again soon.")]
pub struct NodePublishTokenArgs {
    /// Find out what would be done, and run no program
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

//! Arguments of `node rotate-tokens`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent node rotate-tokens --dry-run
  swarmdr-agent node rotate-tokens

The leader makes new tokens for workers and for managers, so that those of
before, which are in every backup, let nobody in any more; then it publishes the
one of workers as `node publish-token` does. Other managers do nothing (3).
Nodes that are in the swarm are not affected.

Exits 6 if the tokens were rotated and the new one could not be published: until
`node publish-token` has done it, no new node can join.")]
pub struct NodeRotateTokensArgs {
    /// Find out what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

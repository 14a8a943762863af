//! Arguments of `node`; those of its verbs are in files of their own.

mod grow;
mod spread;
mod tidy;

use clap::{Args, Subcommand};

pub use grow::NodeGrowArgs;
pub use spread::NodeSpreadArgs;
pub use tidy::NodeTidyArgs;

#[derive(Debug, Args)]
pub struct NodeArgs {
    #[command(subcommand)]
    pub command: NodeCommand,
}

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Make ready workers managers, one after the other, until there are enough
    Grow(NodeGrowArgs),
    /// Remove nodes that have been down for long
    Tidy(NodeTidyArgs),
    /// Place the tasks of services anew, so that they use the nodes that have joined
    Spread(NodeSpreadArgs),
}

impl NodeCommand {
    pub fn json(&self) -> bool {
        match self {
            Self::Grow(args) => args.json,
            Self::Tidy(args) => args.json,
            Self::Spread(args) => args.json,
        }
    }
}

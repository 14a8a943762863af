//! Arguments of `node`; those of its verbs are in files of their own.

mod grow;
mod join;
mod publish_token;
mod rotate_tokens;
mod spread;
mod tidy;

use clap::{Args, Subcommand};

pub use grow::NodeGrowArgs;
pub use join::NodeJoinArgs;
pub use publish_token::NodePublishTokenArgs;
pub use rotate_tokens::NodeRotateTokensArgs;
pub use spread::NodeSpreadArgs;
pub use tidy::NodeTidyArgs;

#[derive(Debug, Args)]
pub struct NodeArgs {
    #[command(subcommand)]
    pub command: NodeCommand,
}

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Join the swarm as a worker; safe at every boot of a host
    Join(NodeJoinArgs),
    /// Make ready workers managers, one after the other, until there are enough
    Grow(NodeGrowArgs),
    /// Remove nodes that have been down for long
    Tidy(NodeTidyArgs),
    /// Place the tasks of services anew, so that they use the nodes that have joined
    Spread(NodeSpreadArgs),
    /// Hand the worker token to the program that gives it to new nodes
    PublishToken(NodePublishTokenArgs),
    /// Make new join tokens, and publish the one of workers
    RotateTokens(NodeRotateTokensArgs),
}

impl NodeCommand {
    pub fn json(&self) -> bool {
        match self {
            Self::Grow(args) => args.json,
            Self::Tidy(args) => args.json,
            Self::Spread(args) => args.json,
            Self::Join(args) => args.json,
            Self::PublishToken(args) => args.json,
            Self::RotateTokens(args) => args.json,
        }
    }
}

//! Arguments of `node`; those of its verbs are in files of their own.

mod join;
mod publish_token;
mod rotate_tokens;

use clap::{Args, Subcommand};

pub use join::NodeJoinArgs;
pub use publish_token::NodePublishTokenArgs;
pub use rotate_tokens::NodeRotateTokensArgs;

#[derive(Debug, Args)]
pub struct NodeArgs {
    #[command(subcommand)]
    pub command: NodeCommand,
}

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Join the swarm as a worker; safe at every boot of a host
    Join(NodeJoinArgs),
    /// Hand the worker token to the program that gives it to new nodes
    PublishToken(NodePublishTokenArgs),
    /// Make new join tokens, and publish the one of workers
    RotateTokens(NodeRotateTokensArgs),
}

impl NodeCommand {
    pub fn json(&self) -> bool {
        match self {
            Self::Join(args) => args.json,
            Self::PublishToken(args) => args.json,
            Self::RotateTokens(args) => args.json,
        }
    }
}

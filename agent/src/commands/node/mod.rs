//! The verb `node`.

mod grow;
mod join;
mod publish_token;
mod rotate_tokens;
mod spread;
mod tidy;

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::{NodeArgs, NodeCommand},
    outcome::exit::Exit,
};

pub async fn run(context: &Context, args: &NodeArgs) -> Result<Exit> {
    match &args.command {
        NodeCommand::Grow(args) => grow::run(context, args).await,
        NodeCommand::Tidy(args) => tidy::run(context, args).await,
        NodeCommand::Spread(args) => spread::run(context, args).await,
        NodeCommand::Join(args) => join::run(context, args).await,
        NodeCommand::PublishToken(args) => publish_token::run(context, args).await,
        NodeCommand::RotateTokens(args) => rotate_tokens::run(context, args).await,
    }
}

//! The verb `get`.

use anyhow::Result;
use swarmdr_vault::catalog::Filter;

use super::Context;
use crate::{
    commands::cli::GetArgs,
    keys::identities,
    outcome::exit::Exit,
    streams::{self, Output},
};

/// Nothing is printed on standard output but the stream.
pub async fn run(context: &Context, args: &GetArgs) -> Result<Exit> {
    let keys = context.trusted(&args.trust)?;
    let identities = identities::find(&args.trust.identities, context.config())?;
    let filter = Filter {
        cluster: args.cluster.clone(),
        id: args.id,
        before: args.before,
        any_vault: args.any_vault,
        ..Filter::default()
    };
    let chosen = streams::find(&context.run(), &args.name, &filter, &keys).await?;
    let output = match args.command.is_empty() {
        true => Output::standard()?,
        false => Output::to_program(&args.command, context.config().proxies_for_children()?),
    };
    let findings = chosen.findings.clone();
    let listed = streams::get(&context.run(), chosen, identities.into(), output).await?;
    let manifest = &listed.head().manifest;
    tracing::info!(
        "stream {} {}: {} bytes verified and handed on",
        manifest.name,
        manifest.id,
        manifest.payload.plain_size
    );
    for finding in &findings {
        tracing::warn!("{finding}");
    }
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Attention })
}

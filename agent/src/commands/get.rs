//! The verb `get`.

use anyhow::Result;
use swarmdr_vault::catalog::Filter;

use super::Context;
use crate::{
    commands::cli::GetArgs,
    host::engine::Engine,
    keys::identities,
    outcome::exit::Exit,
    streams::{self, Output, Task, turn},
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
    let output = match &args.service {
        Some(service) => in_task(context, args, service).await?,
        None if args.command.is_empty() => Output::standard()?,
        None => Output::to_program(&args.command, context.config().proxies_for_children()?),
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

async fn in_task(context: &Context, args: &GetArgs, service: &str) -> Result<Output> {
    let engine = Engine::at(&context.config().engine.socket);
    let advice = "leave one of them while the data comes back: docker service scale";
    let container = turn::only_task(&engine, args.name.as_str(), service, advice).await?;
    Ok(Output::to_task(Task::new(engine.socket().to_owned(), container, args.command.clone())))
}

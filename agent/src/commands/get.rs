//! The verb `get`.

use anyhow::Result;
use swarmdr_archive::point::StreamPart;
use swarmdr_vault::catalog::Filter;

use super::Context;
use crate::{
    commands::cli::GetArgs,
    host::engine::Engine,
    keys::identities,
    outcome::{exit::Exit, failure::Failure},
    points,
    streams::{self, Output, Task, turn},
    vaults::Shared,
};

/// Nothing is printed on standard output but the stream.
pub async fn run(context: &Context, args: &GetArgs) -> Result<Exit> {
    let keys = context.trusted_on_streams(&args.trust)?;
    let identities = identities::find(&args.trust.identities, context.config())?;
    let vaults = Shared::default();
    let (filter, point) = filter(context, &vaults, args).await?;
    let chosen = streams::find(&context.run(), &vaults, &args.name, &filter, &keys).await?;
    if let Some(part) = point.filter(|part| part.manifest_digest != chosen.head.manifest_digest) {
        let what = format!("the stream {} {} in the vaults is not the one that the point names", part.name, part.id);
        return Err(Failure::new(Exit::NothingUsable, what).into());
    }
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
    let container = turn::only_task(&engine, &format!("the stream {}", args.name), service, advice).await?;
    Ok(Output::to_task(Task::new(engine.socket().to_owned(), container, args.command.clone())))
}

/// Returns which streams are admitted: what the arguments say, or the very one that the recovery point names.
async fn filter(context: &Context, vaults: &Shared, args: &GetArgs) -> Result<(Filter, Option<StreamPart>)> {
    let GetArgs { cluster, id, before, any_vault, .. } = args;
    let said = Filter { cluster: cluster.clone(), any_vault: *any_vault, ..Filter::default() };
    let Some(which) = args.point else {
        return Ok((Filter { id: *id, before: *before, ..said }, None));
    };
    let point = points::find(context.config(), vaults, which, &said, &context.trusted(&args.trust)?, context.now)
        .await?
        .signed
        .point;
    let Some(part) = point.streams.iter().find(|part| part.name == args.name) else {
        let what = format!("the recovery point {} has no stream {}", point.id, args.name);
        let names: Vec<&str> = point.streams.iter().map(|part| part.name.as_str()).collect();
        let failure = Failure::new(Exit::NothingUsable, what);
        return Err(match names.is_empty() {
            true => failure.into(),
            false => failure.advice(format!("it has: {}", names.join(", "))).into(),
        });
    };
    let of_part = Filter { id: Some(part.id), cluster: Some(point.cluster_id.clone()), ..said };
    Ok((of_part, Some(part.clone())))
}

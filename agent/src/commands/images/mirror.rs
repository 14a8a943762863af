//! The verb `images mirror`.

use anyhow::Result;
use swarmdr_registry::Destination;

use super::{Context, needs, open};
use crate::{
    commands::cli::ImagesMirrorArgs,
    host::engine::Engine,
    outcome::{exit::Exit, failure::Failure},
    restore::images::{leader, mirror::Mirroring},
};

/// Exits 3 if another manager is to do it, 6 if an image is missing at its source, 1 if a copy failed.
pub async fn run(context: &Context, args: &ImagesMirrorArgs) -> Result<Exit> {
    let config = context.config();
    let to = match (&args.to, &config.images.mirror) {
        (Some(to), _) => to.clone(),
        (None, Some(to)) => to.parse::<Destination>().map_err(|why| Failure::usage(why.to_string()))?,
        (None, None) => {
            return Err(Failure::usage("there is no place to copy the images to")
                .advice("give one with --to, or write images.mirror into the configuration")
                .into());
        }
    };
    if args.if_leader {
        let engine = Engine::at(&config.engine.socket);
        let facts = context.shutdown.or_interrupted(engine.facts()).await?;
        context.shutdown.or_interrupted(leader::require(&engine, &facts, "copies the images")).await?;
    }
    let state = open(context, &args.of).await?;
    let needs = needs(context, &state).await?;
    let mirroring = Mirroring { config, progress: context.progress, platforms: &args.platforms };
    let report = context.shutdown.or_interrupted(mirroring.needs(&needs, &to)).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

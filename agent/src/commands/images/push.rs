//! The verb `images push`.

use anyhow::Result;

use super::Context;
use crate::{commands::cli::ImagesPushArgs, outcome::exit::Exit, restore::images::mirror::Mirroring};

/// Exits 6 if the directory lacks a part of an image, 1 if a copy failed.
pub async fn run(context: &Context, args: &ImagesPushArgs) -> Result<Exit> {
    let mirroring = Mirroring { config: context.config(), progress: context.progress, platforms: &args.platforms };
    let report = context.shutdown.or_interrupted(mirroring.push(&args.from, &args.to)).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

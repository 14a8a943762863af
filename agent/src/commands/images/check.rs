//! The verb `images check`.

use anyhow::Result;

use super::{Context, needs, open};
use crate::{
    commands::cli::ImagesCheckArgs,
    outcome::exit::Exit,
    restore::images::{
        check::{self, Options, PATIENCE},
        memory::ImagesChecked,
        report::Report,
    },
};

/// Exits 6 if an image is missing, 1 if something could not be found out. What is found out about a swarm as it would be
/// restored is remembered for `status`.
pub async fn run(context: &Context, args: &ImagesCheckArgs) -> Result<Exit> {
    let config = context.config();
    let state = open(context, &args.of).await?;
    let needs = needs(context, &state).await?;
    let options = Options {
        map: config.images.map_with(&args.image_map),
        platforms: args.platforms.clone(),
        deep: args.deep,
        ..Options::of(&config.images)
    };
    let checked = async { Ok(check::run(config, &needs, &options, PATIENCE).await) };
    let lines = context.shutdown.or_interrupted(checked).await?;
    let asks_as_restored = args.image_map.is_empty() && args.platforms.is_empty();
    let of = &args.of;
    let is_newest = of.dir.is_none() && of.choice.id.is_none() && of.choice.file.is_none() && of.choice.among.is_open();
    if asks_as_restored && is_newest {
        let before = ImagesChecked::read(&config.state_dir);
        ImagesChecked::new(context.now, state.own.cluster.clone(), &lines, before.as_ref()).write(&config.state_dir);
    }
    let report = Report::checked(&state, lines);
    context.output.print(&report)?;
    Ok(report.exit())
}

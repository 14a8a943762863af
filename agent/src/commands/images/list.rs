//! The verb `images list`.

use anyhow::Result;

use super::{Context, needs, open};
use crate::{
    commands::cli::ImagesListArgs,
    outcome::exit::Exit,
    restore::images::{line::Line, report::Report},
};

/// Exits 6 if there are findings in a vault.
pub async fn run(context: &Context, args: &ImagesListArgs) -> Result<Exit> {
    let state = open(context, &args.of).await?;
    let needs = needs(context, &state).await?;
    let report = Report::listed(&state, needs.iter().map(Line::of).collect());
    context.output.print(&report)?;
    Ok(report.exit())
}

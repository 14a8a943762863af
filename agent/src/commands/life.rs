//! The verb `life`.

use anyhow::Result;

use super::Context;
use crate::{
    claims::life::{leave::Leave, sites::Sites},
    commands::cli::LifeArgs,
    observe::{metrics, status::OwnSign},
    outcome::exit::Exit,
};

/// Takes no lock: a backup that is at work must not delay the sign, nor the sign a backup. A sign that is not due is
/// reported only if somebody asks.
pub async fn run(context: &Context, args: &LifeArgs) -> Result<Exit> {
    if args.look {
        return look(context, args).await;
    }
    let left = Leave { run: context.run(), dry_run: args.dry_run }.run().await;
    if !args.dry_run {
        write_metrics(context);
    }
    let report = left?;
    if report.due || args.dry_run || args.json {
        context.output.print(&report)?;
    }
    Ok(report.exit())
}

async fn look(context: &Context, args: &LifeArgs) -> Result<Exit> {
    let keys = context.trusted(&args.trust)?;
    let run = context.run();
    let look = Sites::look(&run, &keys, args.cluster.as_ref());
    let sites = context.shutdown.or_interrupted(look).await?;
    context.output.print(&sites)?;
    Ok(sites.exit())
}

/// Writes the metrics also after a failure: they say how old the last sign is. A failure of its own is only logged.
fn write_metrics(context: &Context) {
    let config = context.config();
    let sign = OwnSign::read(config, None, context.now);
    if let Some((dir, sign)) = config.watch.textfile_dir.as_ref().zip(sign)
        && let Err(error) = metrics::write_life(dir, &sign)
    {
        tracing::warn!("{error:#}");
    }
}

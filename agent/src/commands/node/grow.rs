//! The verb `node grow`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::NodeGrowArgs, host::lock::HostLock, nodes::grow::Grow, outcome::exit::Exit, restore::items::undelete,
};

/// Exits 3 if another manager leads, 4 if a manager does not answer, 6 if workers are missing or were passed over.
pub async fn run(context: &Context, args: &NodeGrowArgs) -> Result<Exit> {
    let _lock = match args.dry_run {
        true => None,
        false => Some(HostLock::acquire(&undelete::lock_path(context.config()))?),
    };
    let only = args.only.clone().or_else(|| context.config().grow.label());
    let grow = Grow {
        run: context.run(),
        managers: args.managers,
        spread: args.spread.as_ref(),
        only: only.as_ref(),
        again: args.only.is_some(),
        wait: args.wait,
        limit: args.limit,
        dry_run: args.dry_run,
    };
    let report = grow.run().await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

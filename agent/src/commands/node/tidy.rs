//! The verb `node tidy`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::NodeTidyArgs, host::lock::HostLock, nodes::tidy::Tidy, outcome::exit::Exit, restore::items::undelete,
};

/// Exits 3 if another manager leads, 6 if a node could not be removed or answers.
pub async fn run(context: &Context, args: &NodeTidyArgs) -> Result<Exit> {
    let _lock = match args.dry_run {
        true => None,
        false => Some(HostLock::acquire(&undelete::lock_path(context.config()))?),
    };
    let tidy = Tidy { run: context.run(), dead_for: args.dead_for, dry_run: args.dry_run };
    let report = tidy.run().await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

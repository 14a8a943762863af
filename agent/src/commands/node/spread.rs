//! The verb `node spread`.

use anyhow::Result;
use wildmatch::WildMatch;

use super::Context;
use crate::{
    commands::cli::NodeSpreadArgs,
    host::lock::HostLock,
    nodes::spread::{Cut, Spread},
    outcome::exit::Exit,
    restore::items::undelete,
};

/// Exits 3 if another manager leads, 1 if an update failed, 6 if a service was left.
pub async fn run(context: &Context, args: &NodeSpreadArgs) -> Result<Exit> {
    let _lock = match args.dry_run {
        true => None,
        false => Some(HostLock::acquire(&undelete::lock_path(context.config()))?),
    };
    let services: Vec<WildMatch> = args.services.iter().map(|pattern| WildMatch::new(pattern)).collect();
    let spread = Spread {
        run: context.run(),
        services: &services,
        cut: Cut { volumes: args.with_volumes, host_ports: args.with_host_ports },
        at_most: args.at_most,
        limit: args.wait,
        dry_run: args.dry_run,
    };
    let report = spread.run().await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

//! The verb `node join`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::NodeJoinArgs,
    nodes::join::{Join, Request},
    outcome::exit::Exit,
};

/// Exits 0 if this host is in the swarm, 4 if it is in another one, 6 if it became a manager.
pub async fn run(context: &Context, args: &NodeJoinArgs) -> Result<Exit> {
    let config = context.config();
    let request = Request {
        managers: args.managers.clone(),
        advertise_addr: args.advertise_addr.clone().or_else(|| config.join.advertise_addr.clone()),
        wait: args.wait,
        leave_dead: args.leave_dead,
        dry_run: args.dry_run,
    };
    let report = context.shutdown.or_interrupted(Join::new(context.run(), request).run()).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

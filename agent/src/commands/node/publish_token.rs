//! The verb `node publish-token`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::NodePublishTokenArgs,
    host::lock::HostLock,
    nodes::publish::{self, Publication},
    outcome::exit::Exit,
};

/// Exits 3 if another manager leads.
pub async fn run(context: &Context, args: &NodePublishTokenArgs) -> Result<Exit> {
    let _lock = match args.dry_run {
        true => None,
        false => Some(HostLock::acquire(&HostLock::default_path())?),
    };
    let publication = Publication { config: context.config(), dry_run: args.dry_run };
    let report = context.shutdown.or_interrupted(publish::publish(&publication)).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

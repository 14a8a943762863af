//! The verb `node rotate-tokens`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::NodeRotateTokensArgs,
    host::lock::HostLock,
    nodes::publish::{self, Publication},
    outcome::exit::Exit,
};

/// Exits 3 if another manager leads, 6 if the new token could not be published.
pub async fn run(context: &Context, args: &NodeRotateTokensArgs) -> Result<Exit> {
    let _lock = match args.dry_run {
        true => None,
        false => Some(HostLock::acquire(&HostLock::default_path())?),
    };
    let publication = Publication { config: context.config(), dry_run: args.dry_run };
    let report = context.shutdown.or_interrupted(publish::rotate(&publication, &context.shutdown)).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

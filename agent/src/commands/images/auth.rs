//! The verb `images auth`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::ImagesAuthArgs,
    host::lock::HostLock,
    keys::Keyring,
    outcome::exit::Exit,
    restore::{images::auth::Auth, items::undelete},
};

/// Exits 6 if a service was left that needs its login, 3 if another manager leads.
pub async fn run(context: &Context, args: &ImagesAuthArgs) -> Result<Exit> {
    let config = context.config();
    let _lock = match args.dry_run {
        true => None,
        false => Some(HostLock::acquire(&undelete::lock_path(config))?),
    };
    let keyring = Keyring::without_archives(context.unlock_key(&args.unlock)?);
    let auth = Auth { run: context.run(), keyring, only: args.only.as_deref(), dry_run: args.dry_run };
    let report = auth.run().await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

//! The verb `prune`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::PruneArgs,
    config::retention::Policy,
    host::lock::HostLock,
    outcome::exit::Exit,
    vaults::prune::{self, Request},
};

/// Exits 6 if a vault cannot be listed or pruned; the others are pruned anyway.
pub async fn run(context: &Context, args: &PruneArgs) -> Result<Exit> {
    let policy = policy(args, &context.loaded.config.retention).require_some()?;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let request =
        Request { policy, cluster: args.cluster.clone(), dry_run: args.dry_run, delete_versions: args.delete_versions };
    let report = prune::run(&context.run(), &request).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Returns the policy of the flags, or else that of the configuration. They are not merged: a policy is one whole.
fn policy(args: &PruneArgs, configured: &Policy) -> Policy {
    let flags = [args.keep_last, args.keep_daily, args.keep_weekly, args.keep_monthly];
    if flags.iter().all(Option::is_none) {
        return *configured;
    }
    let [keep_last, keep_daily, keep_weekly, keep_monthly] = flags.map(Option::unwrap_or_default);
    Policy { keep_last, keep_daily, keep_weekly, keep_monthly }
}

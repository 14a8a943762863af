//! `prune`

use anyhow::Result;
use swarmdr_archive::TrustedKeys;

use super::Context;
use crate::{
    cli::PruneArgs,
    exit::Exit,
    lock::HostLock,
    prune::{self, Policy, PruneReport, VaultPlan, lifecycle},
    signing,
    vaults::{self, Connected},
};

/// A vault that cannot be listed or cleared makes this exit 6; the others are done all the same.
pub async fn run(context: &Context, args: &PruneArgs) -> Result<Exit> {
    let policy = policy(args, &context.loaded.config.retention).require_some()?;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let keys = signing::believed(&context.loaded.config)?;
    let mut report =
        PruneReport { result: "", dry_run: args.dry_run, policy, plans: Vec::new(), removed: 0, attention: Vec::new() };
    for connected in vaults::connect(&context.loaded.config).await? {
        if let Err(error) = one(context, args, &connected, &keys, &mut report).await {
            context.shutdown.check()?;
            report.attention.push(format!("{error:#}"));
        }
    }
    report.result = report.exit().word();
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Flags replace what the configuration says, all of it: a policy is one thought.
fn policy(args: &PruneArgs, configured: &Policy) -> Policy {
    let flags = [args.keep_last, args.keep_daily, args.keep_weekly, args.keep_monthly];
    if flags.iter().all(Option::is_none) {
        return *configured;
    }
    let [keep_last, keep_daily, keep_weekly, keep_monthly] = flags.map(Option::unwrap_or_default);
    Policy { keep_last, keep_daily, keep_weekly, keep_monthly }
}

async fn one(
    context: &Context,
    args: &PruneArgs,
    connected: &Connected,
    keys: &TrustedKeys,
    report: &mut PruneReport,
) -> Result<()> {
    let lifecycle = lifecycle::rule(&connected.settings, &report.policy);
    let acts = lifecycle.is_none() || args.delete_versions;
    let clusters = prune::list(connected, args.cluster.as_deref(), keys, &context.shutdown, context.now).await?;
    for (cluster, held) in clusters {
        let backups = prune::plan(&held, &report.policy, context.now);
        let vault = connected.settings.url.clone();
        let plan = VaultPlan { vault, cluster, backups, lifecycle: lifecycle.clone(), acts };
        let carried_out = if args.dry_run { Ok(0) } else { plan.carry_out(connected, &context.shutdown).await };
        report.plans.push(plan);
        report.removed += carried_out?;
    }
    Ok(())
}

//! The verb `promote`.

use std::time::Instant;

use anyhow::Result;

use super::{
    Context, bring_everything_back, clean_leftovers, left_claim::LeftClaim, require_stoppable_engine,
    restore::look_at_images_of,
};
use crate::{
    commands::cli::PromoteArgs,
    downtime::leftovers::Leftovers,
    host::lock::HostLock,
    keys::promoter::Promoter,
    nodes::grow::require_useful,
    observe::{
        verb::Verb,
        watch::{Ended, Fact, Watch},
    },
    outcome::exit::Exit,
    restore::{Readdress, Waits},
    standby::promote::{PromoteReport, Promotion, Ready, Step, Terms},
    vaults,
};

pub async fn run(context: &Context, args: &PromoteArgs) -> Result<Exit> {
    let since = Instant::now();
    args.managers.map_or(Ok(()), require_useful)?;
    let watch = Watch::over(context.config(), Verb::Promote)?;
    let ended = take_over(context, args, &watch, since)
        .await
        .map_or_else(Ended::failed, |(exit, idle)| Ended { idle, ..Ended::with(exit) });
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

/// Returns the exit, and whether there was nothing to do.
async fn take_over(context: &Context, args: &PromoteArgs, watch: &Watch<'_>, since: Instant) -> Result<(Exit, bool)> {
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let config = context.config();
    let left = if args.dry_run { Leftovers::default() } else { clean_leftovers(config).await? };
    let promotion = Promotion {
        run: context.run(),
        keyring: context.keyring(&args.trust, &args.unlock)?,
        terms: terms(context, args),
        vaults: vaults::Shared::default(),
        since,
    };
    let mut idle = false;
    let left_claim = LeftClaim::before(config);
    let mut outcome = promote(context, args, watch, &promotion, &mut idle).await;
    if !args.dry_run {
        let promoter = || Promoter::find(config, &promotion.keyring.identities);
        outcome = left_claim.end(&promotion.run, &promotion.vaults, promoter, outcome).await;
    }
    let outcome = if args.dry_run { outcome } else { bring_everything_back(config, &left, outcome).await };
    Ok((outcome?, idle))
}

async fn promote(
    context: &Context,
    args: &PromoteArgs,
    watch: &Watch<'_>,
    promotion: &Promotion<'_>,
    idle: &mut bool,
) -> Result<Exit> {
    let report = match promotion.prepare(watch.hooks()).await? {
        Step::Serves(report) if args.dry_run || report.restore.is_none() && !promotion.is_unfinished() => {
            *idle = true;
            context.output.print(report.as_ref())?;
            return Ok(report.exit());
        }
        Step::Serves(report) => {
            watch.begin(vec![("BACKUP_ID", report.backup.to_string())]).await?;
            *report
        }
        Step::Ready(ready) => match begin(context, args, watch, *ready).await? {
            Ok(ready) => promotion.carry_out(ready).await?,
            Err(exit) => return Ok(exit),
        },
    };
    let report = complete(context, args, promotion, report).await;
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Makes the last checks, and runs the hooks; an exit if this is a dry run.
async fn begin(
    context: &Context,
    args: &PromoteArgs,
    watch: &Watch<'_>,
    mut ready: Ready,
) -> Result<Result<Ready, Exit>> {
    let control = require_stoppable_engine(context.config()).await?;
    ready.plan.units = control.units().into_iter().map(str::to_owned).collect();
    ready.plan.notes.extend(control.found().lines());
    if args.dry_run {
        let notes = ready.notes();
        ready.plan.notes.extend(notes);
        context.output.print(ready.plan.as_ref())?;
        return Ok(Err(if ready.needs_attention() { Exit::Attention } else { Exit::Done }));
    }
    let manifest = ready.manifest();
    let facts: Vec<Fact> =
        vec![("BACKUP_ID", manifest.id.to_string()), ("CLUSTER_ID", manifest.cluster_id.to_string())];
    watch.begin(facts).await?;
    Ok(Ok(ready))
}

/// Does what comes after the restore.
async fn complete(
    context: &Context,
    args: &PromoteArgs,
    promotion: &Promotion<'_>,
    mut report: PromoteReport,
) -> PromoteReport {
    let is_done = promotion.finish(&mut report).await;
    let followed = report.restore.as_ref().and_then(|restore| restore.images.as_ref());
    if let Some((lines, attention)) = look_at_images_of(context, &args.unlock, followed).await {
        report.looked_at(lines, attention);
    }
    // What failed is done again by the next run.
    if is_done {
        promotion.close(&mut report);
    }
    report
}

fn terms(context: &Context, args: &PromoteArgs) -> Terms {
    let configured = context.config().standby.max_lag.map(|lag| lag.duration());
    Terms {
        fenced: args.fenced,
        max_lag: args.max_lag.or(configured),
        reason: args.reason.clone(),
        despite_sign_of_life: args.despite_sign_of_life,
        without_claim: args.without_claim,
        readdress: args
            .readdress
            .then_some(Readdress { advertise: args.advertise_addr, copy_labels: args.copy_labels }),
        waits: Waits { engine: args.wait, address: args.wait, vault: args.wait, silence: args.wait },
        managers: args.managers,
        settle: args.settle,
        dry_run: args.dry_run,
    }
}

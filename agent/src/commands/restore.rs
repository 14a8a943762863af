//! The verb `restore`.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::BackupId;

use super::{Context, bring_everything_back, clean_leftovers, require_stoppable_engine};
use crate::{
    archive::source,
    commands::cli::RestoreArgs,
    downtime::leftovers::Leftovers,
    host::lock::HostLock,
    observe::{
        verb::Verb,
        watch::{Ended, Watch},
    },
    outcome::exit::Exit,
    restore::{Decision, KEY_LIMIT, Overrides, Readdress, Request, Restore, Waits},
};

/// Number of copies with a payload mismatch after which only one more is tried.
const MOST_MISMATCHES: usize = 8;

pub async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, Verb::Restore)?;
    let ended = bring_back(context, args, &watch).await.map_or_else(Ended::failed, Ended::with);
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn bring_back(context: &Context, args: &RestoreArgs, watch: &Watch<'_>) -> Result<Exit> {
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let config = &context.loaded.config;
    let left = if args.dry_run { Leftovers::default() } else { clean_leftovers(config).await? };
    let outcome = resume_or_restore(context, args, watch).await;
    if args.dry_run { outcome } else { bring_everything_back(config, &left, outcome).await }
}

async fn resume_or_restore(context: &Context, args: &RestoreArgs, watch: &Watch<'_>) -> Result<Exit> {
    let restore = Restore {
        run: context.run(),
        keyring: context.keyring(&args.trust, &args.unlock)?,
        prune_dead: args.prune_dead,
    };
    let mut request = request(args, context.now);
    // Must not be interrupted: the recovery action brings the host into one of two complete states.
    if let Some(report) = restore.resume_interrupted(&request).await? {
        context.output.print(&report)?;
        return Ok(report.exit());
    }
    for _ in 0..MOST_MISMATCHES {
        match once(context, args, &restore, &request, watch).await {
            // Nothing was changed yet: another copy, or the backup before it, is taken instead, and reported.
            Err(error) => {
                let mismatch = source::find_payload_mismatch(&error).cloned().ok_or(error)?;
                tracing::warn!("{mismatch}; going on to the next best copy");
                request.choice.except(mismatch);
            }
            done => return done,
        }
    }
    once(context, args, &restore, &request, watch).await
}

async fn once(
    context: &Context,
    args: &RestoreArgs,
    restore: &Restore<'_>,
    request: &Request,
    watch: &Watch<'_>,
) -> Result<Exit> {
    let (decision, prepared) = context.shutdown.or_interrupted(restore.prepare(request)).await?;
    let mut plan = match decision {
        Decision::Restore(plan) => plan,
        Decision::AlreadyThere => return already_there(context, prepared.id(), prepared.was_unlocked()),
        Decision::AlreadyThereLocked => {
            if !args.dry_run {
                restore.unlock_present(KEY_LIMIT).await?;
            }
            return already_there(context, prepared.id(), true);
        }
    };
    let control = require_stoppable_engine(&context.loaded.config).await?;
    plan.units = control.units().into_iter().map(str::to_owned).collect();
    plan.notes.extend(control.found().lines());
    if args.dry_run {
        restore.rehearse(&prepared).await?;
        plan.notes.extend_from_slice(prepared.findings());
        context.output.print(plan.as_ref())?;
        return Ok(if prepared.findings().is_empty() { Exit::Done } else { Exit::Attention });
    }
    let facts = [("BACKUP_ID", plan.id.to_string()), ("CLUSTER_ID", plan.cluster_id.to_string())];
    watch.begin(facts.to_vec()).await?;
    let report = restore.run(*plan, prepared).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

fn request(args: &RestoreArgs, now: Timestamp) -> Request {
    Request {
        choice: args.choice.meant(now),
        overrides: Overrides {
            force: args.force,
            address_elsewhere: args.address_elsewhere,
            data_path_addr: args.data_path_addr.clone(),
            readdress: args
                .readdress
                .then_some(Readdress { advertise: args.advertise_addr, copy_labels: args.copy_labels }),
        },
        fenced: args.fenced,
        waits: Waits {
            engine: args.wait,
            address: args.wait_for_ip.unwrap_or(args.wait),
            vault: args.wait_for_vault.unwrap_or(args.wait),
        },
        dry_run: args.dry_run,
    }
}

fn already_there(context: &Context, id: BackupId, unlocked: bool) -> Result<Exit> {
    context.output.print(&AlreadyThere { result: "already-there", id, unlocked })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct AlreadyThere {
    result: &'static str,
    id: BackupId,
    /// Whether the engine waited for its unlock key and got it.
    unlocked: bool,
}

impl std::fmt::Display for AlreadyThere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let done = if self.unlocked { "its engine was unlocked" } else { "nothing was changed" };
        writeln!(f, "The swarm of backup {} works on this host already; {done}.", self.id)?;
        write!(f, "  to go back to the backup anyway: --force")
    }
}

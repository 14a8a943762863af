//! `restore`

use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::BackupId;

use super::{Context, as_it_was_found, before_a_stop, left_by_others};
use crate::{
    cli::RestoreArgs,
    exit::Exit,
    host::leftovers::Leftovers,
    lock::HostLock,
    restore::{Decision, KEY_LIMIT, Overrides, Readdress, Request, Restore, Waits},
    source::{self, Choice},
    unlock_key::GivenKey,
    watch::{Ended, Watch},
};

/// Copies with a good head and bad bytes that are fetched before it is given up.
const MOST_LIES: usize = 8;

pub async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, "restore")?;
    let ended = bring_back(context, args, &watch).await.map_or_else(Ended::failed, Ended::with);
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn bring_back(context: &Context, args: &RestoreArgs, watch: &Watch<'_>) -> Result<Exit> {
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let config = &context.loaded.config;
    let left = if args.dry_run { Leftovers::default() } else { left_by_others(config).await? };
    let outcome = settle_or_restore(context, args, watch).await;
    if args.dry_run { outcome } else { as_it_was_found(config, &left, outcome).await }
}

async fn settle_or_restore(context: &Context, args: &RestoreArgs, watch: &Watch<'_>) -> Result<Exit> {
    let config = &context.loaded.config;
    let restore = Restore {
        config,
        keys: context.trusted(&args.trust)?,
        identities: Arc::new(context.identities(&args.trust)?),
        unlock_key: GivenKey::find(args.unlock.key_file.as_deref(), config)?,
        prune_dead: args.prune_dead,
        shutdown: &context.shutdown,
        progress: context.progress,
        now: context.now,
    };
    let mut request = request(args, context.now);
    // Not to be interrupted half-way: it brings a host back into one of two states.
    if let Some(report) = restore.settle(&request).await? {
        context.output.print(&report)?;
        return Ok(report.exit());
    }
    for _ in 0..MOST_LIES {
        match once(context, args, &restore, &request, watch).await {
            // Nothing was changed yet: another copy, or the backup before it, is taken instead, and reported.
            Err(error) => {
                let lied = source::lie_in(&error).cloned().ok_or(error)?;
                tracing::warn!("{lied}; going on to the next best copy");
                request.choice.except(lied);
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
    let control = before_a_stop(&context.loaded.config).await?;
    plan.units = control.units().into_iter().map(str::to_owned).collect();
    plan.notes.extend(control.found().lines());
    if args.dry_run {
        restore.rehearse(&prepared).await?;
        plan.notes.extend_from_slice(prepared.findings());
        context.output.print(plan.as_ref())?;
        return Ok(if prepared.findings().is_empty() { Exit::Done } else { Exit::Attention });
    }
    let facts = [("BACKUP_ID", plan.id.to_string()), ("CLUSTER_ID", plan.cluster_id.clone())];
    watch.begin(facts.to_vec()).await?;
    let report = restore.run(*plan, prepared).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

fn request(args: &RestoreArgs, now: Timestamp) -> Request {
    Request {
        choice: Choice::of(&args.choice, now),
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
    /// The engine waited for its unlock key and got it.
    unlocked: bool,
}

impl std::fmt::Display for AlreadyThere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let done = if self.unlocked { "its engine was unlocked" } else { "nothing was changed" };
        writeln!(f, "The swarm of backup {} works on this host already; {done}.", self.id)?;
        write!(f, "  to go back to the backup all the same: --force")
    }
}

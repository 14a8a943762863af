//! The verb `recover-quorum`.

use anyhow::Result;
use serde::Serialize;

use super::{Context, bring_everything_back, clean_leftovers, left_claim::LeftClaim, require_stoppable_engine};
use crate::{
    backup::Backup,
    commands::cli::RecoverArgs,
    host::lock::HostLock,
    keys::{Keyring, promoter::Promoter},
    observe::{
        verb::Verb,
        watch::{Ended, Watch},
    },
    outcome::exit::Exit,
    recover::{Recovery, Step},
    restore::Restore,
    vaults,
};

pub async fn run(context: &Context, args: &RecoverArgs) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, Verb::RecoverQuorum)?;
    let ended = recover(context, args, &watch).await.unwrap_or_else(Ended::failed);
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn recover(context: &Context, args: &RecoverArgs, watch: &Watch<'_>) -> Result<Ended> {
    let config = &context.loaded.config;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    if args.dry_run {
        return resume_or_recover(context, args, watch).await;
    }
    let left = clean_leftovers(config).await?;
    let left_claim = LeftClaim::before(config);
    let ended = resume_or_recover(context, args, watch).await.unwrap_or_else(Ended::failed);
    let promoter = || Promoter::at_hand(config);
    let exit = left_claim.end(&context.run(), &vaults::Shared::default(), promoter, Ok(ended.exit)).await?;
    let exit = bring_everything_back(config, &left, Ok(exit)).await?;
    Ok(Ended { exit, ..ended })
}

async fn resume_or_recover(context: &Context, args: &RecoverArgs, watch: &Watch<'_>) -> Result<Ended> {
    let run = context.run();
    let recovery = Recovery {
        restore: Restore {
            run,
            // Nothing is fetched: the state is this host's own.
            keyring: Keyring::without_archives(context.unlock_key(&args.unlock)?),
            prune_dead: args.prune_dead,
            follow: None,
            claiming: None,
            vaults: vaults::Shared::default(),
        },
        backup: Backup { run, vaults: vaults::Shared::default(), usual: None },
        fenced: args.fenced,
        address_elsewhere: args.address_elsewhere,
    };
    if let Some(report) = recovery.restore.resume_any(args.fenced, !args.dry_run).await? {
        context.output.print(&report)?;
        let facts = vec![("BACKUP_ID", report.plan.id.to_string())];
        return Ok(Ended { facts, ..Ended::with(report.exit()) });
    }
    let mut ready = match run.shutdown.or_interrupted(recovery.prepare(!args.dry_run)).await? {
        Step::Ready(ready) => ready,
        Step::Works => {
            context.output.print(&Works { result: "nothing-to-recover" })?;
            return Ok(Ended { idle: true, ..Ended::with(Exit::Done) });
        }
    };
    let control = require_stoppable_engine(run.config).await?;
    ready.plan.units = control.units().into_iter().map(str::to_owned).collect();
    ready.plan.found = control.found();
    if args.dry_run {
        context.output.print(&ready.plan)?;
        return Ok(Ended::with(Exit::Done));
    }
    let facts = vec![("BACKUP_ID", ready.backup_id().to_string()), ("CLUSTER_ID", ready.plan.cluster_id.to_string())];
    watch.begin(facts).await?;
    // Hooks may take minutes, in which the other managers may have come back.
    recovery.require_still_lost().await?;
    let report = recovery.run(*ready).await?;
    context.output.print(&report)?;
    Ok(Ended::with(report.exit()))
}

#[derive(Serialize)]
struct Works {
    result: &'static str,
}

impl std::fmt::Display for Works {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The swarm of this manager has a leader; nothing was changed.")
    }
}

//! `recover-quorum`

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{Identities, TrustedKeys};

use super::{Context, as_it_was_found, before_a_stop, left_by_others};
use crate::{
    backup::Backup,
    cli::RecoverArgs,
    exit::Exit,
    host::leftovers::Leftovers,
    lock::HostLock,
    recover::{Recovery, Step},
    restore::Restore,
    unlock_key::GivenKey,
};

pub async fn run(context: &Context, args: &RecoverArgs) -> Result<Exit> {
    let config = &context.loaded.config;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let left = if args.dry_run { Leftovers::default() } else { left_by_others(config).await? };
    let outcome = settle_or_recover(context, args).await;
    if args.dry_run { outcome } else { as_it_was_found(config, &left, outcome).await }
}

async fn settle_or_recover(context: &Context, args: &RecoverArgs) -> Result<Exit> {
    let config = &context.loaded.config;
    let (shutdown, progress, now) = (&context.shutdown, context.progress, context.now);
    let recovery = Recovery {
        restore: Restore {
            config,
            // Nothing is fetched: the state is this host's own.
            keys: TrustedKeys::new(),
            identities: Arc::new(Identities::none()),
            unlock_key: GivenKey::find(args.unlock.key_file.as_deref(), config)?,
            prune_dead: args.prune_dead,
            shutdown,
            progress,
            now,
        },
        backup: Backup { config, shutdown, progress, now },
        fenced: args.fenced,
        address_elsewhere: args.address_elsewhere,
    };
    if let Some(report) = recovery.restore.settle_any(args.fenced, !args.dry_run).await? {
        context.output.print(&report)?;
        return Ok(report.exit());
    }
    let mut ready = match shutdown.or_interrupted(recovery.prepare(!args.dry_run)).await? {
        Step::Ready(ready) => ready,
        Step::Works => {
            context.output.print(&Works { result: "nothing-to-recover" })?;
            return Ok(Exit::Done);
        }
    };
    let control = before_a_stop(config).await?;
    ready.plan.units = control.units().into_iter().map(str::to_owned).collect();
    ready.plan.found = control.found();
    if args.dry_run {
        context.output.print(&ready.plan)?;
        return Ok(Exit::Done);
    }
    let report = recovery.run(*ready).await?;
    context.output.print(&report)?;
    Ok(report.exit())
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

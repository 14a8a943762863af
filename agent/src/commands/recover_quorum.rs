//! `recover-quorum`

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{Identities, TrustedKeys};

use super::Context;
use crate::{
    backup::Backup,
    cli::RecoverArgs,
    exit::Exit,
    host::leftovers,
    lock::HostLock,
    recover::{Recovery, Step},
    restore::Restore,
    unlock_key::GivenKey,
};

pub async fn run(context: &Context, args: &RecoverArgs) -> Result<Exit> {
    let config = &context.loaded.config;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    if !args.dry_run {
        leftovers::clean(config).await?;
    }
    let (shutdown, progress, now) = (&context.shutdown, context.progress, context.now);
    let recovery = Recovery {
        restore: Restore {
            config,
            // Nothing is fetched: the state is this host's own.
            keys: TrustedKeys::new(),
            identities: Arc::new(Identities::none()),
            unlock_key: GivenKey::find(args.unlock.key_file.as_deref(), &config.restore)?,
            prune_dead: args.prune_dead,
            shutdown,
            progress,
            now,
        },
        backup: Backup { config, shutdown, progress, now },
        fenced: args.fenced,
    };
    if let Some(report) = recovery.restore.settle_any(!args.dry_run).await? {
        context.output.print(&report)?;
        return Ok(report.exit());
    }
    let ready = match shutdown.or_interrupted(recovery.prepare(!args.dry_run)).await? {
        Step::Ready(ready) => ready,
        Step::Works => {
            context.output.print(&Works { result: "nothing-to-recover" })?;
            return Ok(Exit::Done);
        }
    };
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

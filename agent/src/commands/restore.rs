//! `restore`

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::BackupId;

use super::Context;
use crate::{
    cli::RestoreArgs,
    exit::Exit,
    host::leftovers,
    lock::HostLock,
    restore::{Decision, Overrides, Request, Restore},
    source::Choice,
};

pub async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    if !args.dry_run {
        leftovers::clean(&context.loaded.config).await?;
    }
    let restore = Restore {
        config: &context.loaded.config,
        keys: context.trusted(&args.trust)?,
        identities: Arc::new(context.identities(&args.trust)?),
        shutdown: &context.shutdown,
        progress: context.progress,
        now: context.now,
    };
    let request =
        Request { choice: Choice::of(&args.choice), overrides: Overrides { force: args.force }, fenced: args.fenced };
    let (decision, prepared) = context.shutdown.or_interrupted(restore.prepare(&request)).await?;
    let Decision::Restore(plan) = decision else {
        context.output.print(&AlreadyThere { result: "already-there", id: prepared.id() })?;
        return Ok(Exit::Done);
    };
    if args.dry_run {
        restore.rehearse(&prepared).await?;
        context.output.print(plan.as_ref())?;
        return Ok(Exit::Done);
    }
    let report = restore.run(*plan, prepared).await?;
    context.output.print(&report)?;
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Attention })
}

#[derive(Serialize)]
struct AlreadyThere {
    result: &'static str,
    id: BackupId,
}

impl std::fmt::Display for AlreadyThere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "This host is the manager of backup {} already, and its swarm is active; nothing was changed.",
            self.id
        )?;
        write!(f, "  to go back to the backup all the same: --force")
    }
}

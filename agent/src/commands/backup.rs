//! `backup`

use anyhow::Result;

use super::Context;
use crate::{
    backup::{Backup, Request, Step},
    cli::BackupArgs,
    exit::Exit,
    host::leftovers,
    lock::HostLock,
};

pub async fn run(context: &Context, args: &BackupArgs) -> Result<Exit> {
    let config = &context.loaded.config;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let found = if args.dry_run { Vec::new() } else { leftovers::clean(config).await? };
    let backup = Backup { config, shutdown: &context.shutdown, progress: context.progress, now: context.now };
    let request = Request {
        if_due: args.if_due,
        allow_quorum_loss: args.allow_quorum_loss || config.backup.allow_quorum_loss,
        dry_run: args.dry_run,
    };
    let mut prepared = match context.shutdown.or_interrupted(backup.prepare(request)).await? {
        Step::Ready(prepared) => *prepared,
        Step::Sent(report) => {
            context.output.print(&report)?;
            return Ok(report.exit);
        }
    };
    prepared.plan.notes.extend(found);
    if args.dry_run {
        context.output.print(&prepared.plan)?;
        return Ok(Exit::Done);
    }
    let report = backup.run(prepared).await?;
    context.output.print(&report)?;
    Ok(report.exit)
}

//! The verb `standby`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::StandbyArgs,
    observe::{
        verb::Verb,
        watch::{Ended, Watch},
    },
    outcome::exit::Exit,
    standby::{Standby, StandbyReport, Step},
};

pub async fn run(context: &Context, args: &StandbyArgs) -> Result<Exit> {
    let watch = Watch::over(context.config(), Verb::Standby)?;
    let ended = match keep(context, args, &watch).await {
        Ok(report) => {
            context.output.print(&report)?;
            Ended { idle: report.is_idle(), ..Ended::with(report.exit()) }
        }
        Err(error) => Ended::failed(error),
    };
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn keep(context: &Context, args: &StandbyArgs, watch: &Watch<'_>) -> Result<StandbyReport> {
    let standby = Standby { run: context.run(), keyring: context.keyring(&args.trust, &args.unlock)? };
    let ready = match standby.prepare().await? {
        Step::Settled(report) => return Ok(*report),
        Step::Ready(ready) => *ready,
    };
    if args.dry_run {
        return Ok(standby.rehearse(&ready));
    }
    let manifest = ready.manifest();
    watch.begin(vec![("BACKUP_ID", manifest.id.to_string()), ("CLUSTER_ID", manifest.cluster_id.to_string())]).await?;
    standby.keep(ready).await
}

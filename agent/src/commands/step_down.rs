//! The verb `step-down`.

use anyhow::Result;

use super::Context;
use crate::{
    commands::cli::StepDownArgs,
    host::lock::HostLock,
    observe::{
        verb::Verb,
        watch::{Ended, Watch},
    },
    outcome::exit::Exit,
    standby::{Dead, StepDown},
};

pub async fn run(context: &Context, args: &StepDownArgs) -> Result<Exit> {
    let watch = Watch::over(context.config(), Verb::StepDown)?;
    let ended = give_up(context, args, &watch).await.map_or_else(Ended::failed, Ended::with);
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn give_up(context: &Context, args: &StepDownArgs, watch: &Watch<'_>) -> Result<Exit> {
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let keyring = context.keyring(&args.trust, &args.unlock)?;
    let step_down = StepDown {
        run: context.run(),
        keyring,
        reason: args.reason.clone(),
        dead: args.claim.map(|epoch| Dead {
            epoch,
            id: args.id,
            cluster: args.cluster.clone(),
            despite_sign_of_life: args.despite_sign_of_life,
        }),
    };
    // Refusals come before the hooks.
    let mut report = step_down.run(true).await?;
    if !args.dry_run {
        watch.begin(vec![("CLUSTER_ID", report.cluster_id.to_string())]).await?;
        report = step_down.run(false).await?;
    }
    context.output.print(&report)?;
    Ok(report.exit())
}

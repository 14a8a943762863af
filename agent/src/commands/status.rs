//! The verb `status`.

use anyhow::{Context as _, Result};

use super::Context;
use crate::{
    commands::cli::StatusArgs,
    keys::signing,
    observe::{metrics, status},
    outcome::{exit::Exit, terminal},
};

/// Exits as [`status::Status::exit`] returns; with `--nagios` the exit codes are those of a plugin.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<Exit> {
    let found = async {
        let keys = signing::trusted_for_watching(&context.loaded.config)?;
        let cluster = args.cluster.as_ref();
        let gather = status::gather(&context.loaded.config, &keys, cluster, context.now);
        context.shutdown.or_interrupted(gather).await
    };
    let found = found.await;
    if args.nagios {
        return nagios(found);
    }
    let status = found?;
    if args.prometheus {
        terminal::print(&metrics::render_all(&status)).context("failed to write to standard output")?;
    } else {
        context.output.print(&status)?;
    }
    Ok(status.exit())
}

/// Prints the plugin's line. The plugin's exit codes are 0 to 3; the agent's own meaning of these codes does not apply.
fn nagios(found: Result<status::Status>) -> Result<Exit> {
    let (line, exit) = match found {
        Ok(status) => (status.nagios(), [Exit::Done, Exit::Failed, Exit::Usage][usize::from(status.level.nagios())]),
        Err(error) => (format!("SWARMDR UNKNOWN - {}", status::plain(&format!("{error:#}"))), Exit::NotOurTurn),
    };
    terminal::print(&format!("{line}\n")).context("failed to write to standard output")?;
    Ok(exit)
}

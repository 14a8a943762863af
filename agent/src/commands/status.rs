//! `status`

use anyhow::{Context as _, Result};

use super::Context;
use crate::{cli::StatusArgs, exit::Exit, metrics, signing, status, terminal};

/// See [`status::Status::exit`]; with `--nagios` the codes are those of a plugin.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<Exit> {
    let found = async {
        let keys = signing::believed(&context.loaded.config)?;
        let cluster = args.cluster.as_deref();
        let gather = status::gather(&context.loaded.config, &keys, cluster, context.now);
        context.shutdown.or_interrupted(gather).await
    };
    let found = found.await;
    if args.nagios {
        return nagios(found);
    }
    let status = found?;
    if args.prometheus {
        terminal::print(&metrics::render(&status)).context("failed to write to standard output")?;
    } else {
        context.output.print(&status)?;
    }
    Ok(status.exit())
}

/// The plugin's codes are 0 to 3; what they mean to the agent elsewhere does not count here.
fn nagios(found: Result<status::Status>) -> Result<Exit> {
    let (line, exit) = match found {
        Ok(status) => (status.nagios(), [Exit::Done, Exit::Failed, Exit::Usage][usize::from(status.level.nagios())]),
        Err(error) => (format!("SWARMDR UNKNOWN - {}", status::plain(&format!("{error:#}"))), Exit::NotOurTurn),
    };
    terminal::print(&format!("{line}\n")).context("failed to write to standard output")?;
    Ok(exit)
}

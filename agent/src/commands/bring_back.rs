//! What the failsafe calls when it has started the engine; nobody else does.

use std::time::Duration;

use anyhow::Result;

use crate::{cli::BringBackArgs, exit::Exit, host::bring_back};

/// For containers on a network of the swarm, which has to come up first.
const LIMIT: Duration = Duration::from_secs(120);

pub fn run(args: &BringBackArgs) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let back = runtime.block_on(bring_back::behind_the_failsafe(&args.list, LIMIT))?;
    back.log();
    Ok(if back.attention.is_empty() { Exit::Done } else { Exit::Attention })
}

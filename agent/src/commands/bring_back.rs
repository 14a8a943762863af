//! The hidden verb that the failsafe calls after it has started the engine; nothing else calls it.

use std::time::Duration;

use anyhow::Result;

use crate::{commands::cli::BringBackArgs, downtime::bring_back, outcome::exit::Exit};

/// Time limit for containers on a network of the swarm, which has to come up first.
const LIMIT: Duration = Duration::from_secs(120);

pub fn run(args: &BringBackArgs) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let back = runtime.block_on(bring_back::after_the_failsafe(&args.list, LIMIT))?;
    back.log();
    Ok(if back.attention.is_empty() { Exit::Done } else { Exit::Attention })
}

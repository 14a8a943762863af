//! The hidden verb that is the main process of a second engine's unit; nothing else calls it.

use anyhow::Result;

use crate::{commands::cli::SecondEngineArgs, host::second_engine::keeper, outcome::exit::Exit};

pub fn run(args: &SecondEngineArgs) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(keeper::run(&args.state_dir, &args.run_dir, &args.engine))?;
    Ok(Exit::Done)
}

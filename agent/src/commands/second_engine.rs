//! The main process of a second engine's unit; nobody else calls it.

use anyhow::Result;

use crate::{cli::SecondEngineArgs, exit::Exit, host::second_engine::keeper};

pub fn run(args: &SecondEngineArgs) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(keeper::run(&args.state_dir, &args.run_dir, &args.engine))?;
    Ok(Exit::Done)
}

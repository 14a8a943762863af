//! `completions`

use std::io::stdout;

use anyhow::Result;

use crate::{cli::CompletionsArgs, completion, exit::Exit};

pub fn run(args: &CompletionsArgs) -> Result<Exit> {
    completion::write_script(args.shell.name(), &mut stdout())?;
    Ok(Exit::Done)
}

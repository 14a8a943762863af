//! `completions`

use anyhow::Result;

use crate::{cli::CompletionsArgs, completion, exit::Exit, terminal};

pub fn run(args: &CompletionsArgs) -> Result<Exit> {
    completion::write_script(args.shell.name(), &mut terminal::stdout())?;
    Ok(Exit::Done)
}

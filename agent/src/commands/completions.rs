//! The verb `completions`.

use anyhow::Result;

use crate::{
    commands::cli::{CompletionsArgs, completion},
    outcome::{exit::Exit, terminal},
};

pub fn run(args: &CompletionsArgs) -> Result<Exit> {
    completion::write_script(args.shell.name(), &mut terminal::stdout())?;
    Ok(Exit::Done)
}

//! The hidden verb `manual`, for packagers.

use std::fs;

use anyhow::{Context, Result};

use crate::{
    commands::cli::{ManualArgs, manual},
    outcome::{exit::Exit, terminal},
};

pub fn run(args: &ManualArgs) -> Result<Exit> {
    fs::create_dir_all(&args.out).with_context(|| format!("failed to create {}", args.out.display()))?;
    for page in manual::pages() {
        let path = args.out.join(&page.file);
        fs::write(&path, &page.roff).with_context(|| format!("failed to write {}", path.display()))?;
        terminal::print(&format!("{}\n", path.display())).context("failed to write to standard output")?;
    }
    Ok(Exit::Done)
}

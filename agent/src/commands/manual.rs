//! `manual`, for whoever makes a package

use std::fs;

use anyhow::{Context, Result};

use crate::{cli::ManualArgs, exit::Exit, manual};

pub fn run(args: &ManualArgs) -> Result<Exit> {
    fs::create_dir_all(&args.out).with_context(|| format!("failed to create {}", args.out.display()))?;
    for page in manual::pages() {
        let path = args.out.join(&page.file);
        fs::write(&path, &page.roff).with_context(|| format!("failed to write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(Exit::Done)
}

//! The verb `config`.

use std::{fmt, path::PathBuf};

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::Context;
use crate::{config::Origin, outcome::exit::Exit};

pub fn run(context: &Context) -> Result<Exit> {
    let loaded = &context.loaded;
    context.output.print(&Report { files: loaded.files.clone(), settings: loaded.origins()? })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Report {
    files: Vec<PathBuf>,
    settings: Vec<Origin>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.files.is_empty() {
            writeln!(f, "# no configuration file was found; these are the defaults")?;
        }
        for setting in &self.settings {
            let line = format!("{} = {}", shown(&setting.key), shown(&setting.value));
            writeln!(f, "{line:60} # {}", shown(&setting.origin))?;
        }
        Ok(())
    }
}

//! `keygen`

use std::{fmt, path::PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::Context;
use crate::{cli::KeygenArgs, exit::Exit, signing};

pub fn run(context: &Context, args: &KeygenArgs) -> Result<Exit> {
    let secret = args.out.clone().unwrap_or_else(|| context.loaded.config.signing_key_path());
    let public_path = secret.with_extension("pub");
    let exists = args.out.is_none() && secret.exists();
    let key = if exists { signing::read(&secret)? } else { signing::make(&secret, &public_path)? };
    context.output.print(&Report {
        made: !exists,
        secret,
        public_path,
        key_id: key.public().key_id().to_string(),
        public: key.public().to_string(),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Report {
    made: bool,
    secret: PathBuf,
    public_path: PathBuf,
    key_id: String,
    public: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} signing key {}", if self.made { "Made" } else { "Using" }, self.key_id)?;
        writeln!(f, "  secret  {}", self.secret.display())?;
        writeln!(f, "  public  {}", self.public)?;
        writeln!(f, "Trust it where you restore, in agent.toml there:")?;
        writeln!(f, "  trusted_keys = [\"{}\"]", self.public)
    }
}

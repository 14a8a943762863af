//! What `keygen` is told.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
#[command(after_help = "\
The secret key signs backups and stays on the managers. The public key is what a restoring host
is told to trust: keep it off these hosts, with the disaster runbook.")]
pub struct KeygenArgs {
    /// Where to write the secret key; the public key goes beside it [default: the configured place]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

//! Arguments of the hidden verbs, which packages and the agent itself call, and no person.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueHint};

use super::{Choice, Trust};

#[derive(Debug, Args)]
pub struct ManualArgs {
    /// The directory to write them to
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct SecondEngineArgs {
    /// The state directory to make
    #[arg(long, value_name = "PATH")]
    pub state_dir: PathBuf,

    /// Where its socket and its log belong
    #[arg(long, value_name = "PATH")]
    pub run_dir: PathBuf,

    /// The engine and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub engine: Vec<String>,
}

#[derive(Debug, Args)]
pub struct BringBackArgs {
    /// The list of what ran before the engine was stopped
    #[arg(long, value_name = "PATH")]
    pub list: PathBuf,
}

/// For a program that raises a site by its own means: it goes on only after this exits 0.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("choice").required(true))]
pub struct ClaimArgs {
    #[command(flatten)]
    pub choice: Choice,

    #[command(flatten)]
    pub trust: Trust,

    /// Where the manager of this site will answer (repeatable)
    #[arg(long = "address", value_name = "HOST:PORT")]
    pub addresses: Vec<SocketAddr>,

    /// The site of the newest claim is cut off for good: do not wait until its claim is old
    #[arg(long)]
    pub fenced: bool,

    /// For how many minutes the run that makes it has been at work
    #[arg(long, value_name = "MINUTES", default_value_t = 0)]
    pub begun_ago: u16,

    /// Why, for those who read the claim
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Print the claim as JSON
    #[arg(long)]
    pub json: bool,
}

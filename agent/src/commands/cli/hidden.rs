//! Arguments of the hidden verbs, which packages and the agent itself call, and no person.

use std::path::PathBuf;

use clap::{Args, ValueHint};

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

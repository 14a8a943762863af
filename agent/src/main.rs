//! See the library; this only starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    swarmdr_agent::run(std::env::args_os())
}

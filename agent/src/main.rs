//! The program `swarmdr-agent`, which only calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    swarmdr_agent::run(std::env::args_os())
}

//! Disaster recovery for Docker Swarm managers.
//!
//! The binary only calls [`run()`]. Each verb is a file in `commands`, which calls one flow (`backup`, `restore`). The
//! flows work with the content of the state directory ([`swarm_state`]), with this machine (`host`) and with the vaults
//! ([`swarmdr_vault`]). Each folder's `mod.rs` says what belongs there and what it may import.

// All output goes through `terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod archive;
mod backup;
mod claims;
mod commands;
mod config;
mod downtime;
mod host;
mod keys;
mod nodes;
mod observe;
mod outcome;
mod points;
mod recover;
mod restore;
mod run;
mod standby;
mod streams;
mod vaults;

use std::{ffi::OsString, panic, process::ExitCode};

use clap::Parser;
use jiff::Timestamp;

use crate::{
    archive::scratch,
    commands::{
        Context,
        cli::{Cli, completion},
        dispatch::{self, Job, Work},
    },
    config::{Loaded, Sources},
    host::shutdown::Shutdown,
    outcome::{exit::Exit, failure::Rendered, logging, output::Output, progress::Progress, terminal},
};

/// Runs the whole program, from its arguments to its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match completion::answer(&args) {
        Ok(false) => {}
        Ok(true) => return Exit::Done.into(),
        // A message would appear in the middle of the command line that the user is typing.
        Err(_) => return Exit::Usage.into(),
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with exit code 0, usage errors to standard error with 2.
            if error.use_stderr() {
                terminal::tell(&error.render().to_string());
                return Exit::Usage.into();
            }
            let _ = error.print();
            return Exit::Done.into();
        }
    };
    logging::init(cli.verbose, cli.quiet);
    // A panic has unwound through the guards that start the engine again, and its message is already printed.
    let outcome = panic::catch_unwind(|| execute(&cli)).unwrap_or(Ok(Exit::Failed));
    outcome.unwrap_or_else(|error| tell(&error, dispatch::job(&cli.command).json)).into()
}

fn execute(cli: &Cli) -> anyhow::Result<Exit> {
    let (json, reads_states, run) = match dispatch::job(&cli.command) {
        Job { work: Work::Offline(run), .. } => return run(),
        Job { json, work: Work::Configured { reads_states, run } } => (json, reads_states, run),
    };
    let installed = Sources::installed();
    let sources = match &cli.config {
        Some(file) => installed.with_file(file),
        None => installed,
    };
    let loaded = Loaded::read(&sources)?;
    // One thread: the work is sequential, and blocking parts have their own pool.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = {
        let _inside = runtime.enter();
        Context {
            loaded,
            output: if json { Output::Json } else { Output::Human },
            progress: Progress::detect(!json && !cli.quiet),
            shutdown: Shutdown::listen()?,
            now: Timestamp::now(),
        }
    };
    // Backups sweep too, so that what a killed run left in clear is removed even if no operator runs a verb again.
    if reads_states {
        scratch::sweep(&context.loaded.config);
    }
    runtime.block_on(run(&context))
}

/// Reports the error to a person on standard error, and to a script on standard output.
fn tell(error: &anyhow::Error, json: bool) -> Exit {
    let rendered = Rendered::of(error);
    if json {
        let document = serde_json::json!({
            "result": rendered.exit.word(),
            "error": rendered.what,
            "because": rendered.because,
            "to_do": rendered.advice,
        });
        // If standard output is closed, there is nowhere to report that.
        let _ = Output::Json.print(&document);
    }
    match rendered.exit {
        Exit::NotOurTurn => tracing::info!("{rendered}"),
        _ => tracing::error!("{rendered}"),
    }
    rendered.exit
}

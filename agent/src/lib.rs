//! Disaster recovery for Docker Swarm managers.
//!
//! The binary is [`run`]; each verb is a file in `commands`, which calls one flow ([`backup`],
//! [`restore`]). The flows work with what the state directory says ([`swarm`]), with this machine
//! ([`host`]) and with the places that keep archives ([`vault`]).

// All of it goes through `terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

pub mod backup;
pub mod candidates;
pub mod cli;
pub mod commands;
pub mod completion;
pub mod config;
pub mod doctor;
pub mod drill;
pub mod exit;
pub mod fault;
pub mod faults;
pub mod history;
pub mod hooks;
pub mod host;
pub mod http;
pub mod identities;
pub mod inspection;
pub mod journal;
pub mod lock;
pub mod logging;
pub mod manual;
pub mod metrics;
pub mod ping;
pub mod program;
pub mod progress;
pub mod proof;
pub mod prune;
pub mod random;
pub mod recover;
pub mod report;
pub mod restore;
pub mod schedule;
pub mod scratch;
pub mod shutdown;
pub mod signing;
pub mod source;
pub mod spool;
pub mod stage;
pub mod status;
pub mod swarm;
pub mod terminal;
pub mod unlock_key;
pub mod vault;
pub mod vault_memory;
pub mod vaults;
pub mod watch;
pub mod whole_file;
pub mod witness;

use std::{ffi::OsString, panic, process::ExitCode};

use clap::Parser;
use jiff::Timestamp;

use cli::{Cli, Command};
use commands::Context;
use config::{Loaded, Sources};
use exit::Exit;
use fault::Rendered;
use progress::Progress;
use report::Output;
use shutdown::Shutdown;

/// The whole program, from its arguments to its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match completion::answer(&args) {
        Ok(false) => {}
        Ok(true) => return Exit::Done.into(),
        // In the middle of somebody's command line there is no place for a message.
        Err(_) => return Exit::Usage.into(),
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with 0, mistakes to standard error with 2.
            if error.use_stderr() {
                terminal::tell(&error.render().to_string());
                return Exit::Usage.into();
            }
            let _ = error.print();
            return Exit::Done.into();
        }
    };
    logging::init(cli.verbose, cli.quiet);
    // A panic has unwound through the guards that start the engine again; its message is already out.
    let outcome = panic::catch_unwind(|| execute(&cli)).unwrap_or(Ok(Exit::Failed));
    outcome.unwrap_or_else(|error| tell(&error, cli.command.is_json())).into()
}

fn execute(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        // These need no configuration, and must work beside a broken one.
        Command::Completions(args) => return commands::completions::run(args),
        Command::Manual(args) => return commands::manual::run(args),
        Command::SecondEngine(args) => return commands::second_engine::run(args),
        Command::BringBack(args) => return commands::bring_back::run(args),
        _ => {}
    }
    let installed = Sources::installed();
    let sources = match &cli.config {
        Some(file) => installed.with_file(file),
        None => installed,
    };
    let loaded = Loaded::read(&sources)?;
    let json = cli.command.is_json();
    // One thread: the work is one thing after another, and blocking parts have their own pool.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let context = Context {
            loaded,
            output: if json { Output::Json } else { Output::Human },
            progress: Progress::detect(!json && !cli.quiet),
            shutdown: Shutdown::listen()?,
            now: Timestamp::now(),
        };
        // What lies in clear does not wait for somebody to look again: backups come by themselves.
        if cli.command.reads_states() {
            scratch::sweep(&context.loaded.config);
        }
        match &cli.command {
            Command::Backup(args) => commands::backup::run(&context, args).await,
            Command::Restore(args) => commands::restore::run(&context, args).await,
            Command::RecoverQuorum(args) => commands::recover_quorum::run(&context, args).await,
            Command::List(args) => commands::list::run(&context, args).await,
            Command::Inspect(args) => commands::inspect::run(&context, args).await,
            Command::Diff(args) => commands::diff::run(&context, args).await,
            Command::Verify(args) => commands::verify::run(&context, args).await,
            Command::Status(args) => commands::status::run(&context, args).await,
            Command::Prune(args) => commands::prune::run(&context, args).await,
            Command::Drill(args) => commands::drill::run(&context, args).await,
            Command::Doctor(args) => commands::doctor::run(&context, args).await,
            Command::Keygen(args) => commands::keygen::run(&context, args),
            Command::Config(_) => commands::config::run(&context),
            Command::Completions(_) | Command::Manual(_) | Command::SecondEngine(_) | Command::BringBack(_) => {
                unreachable!("these ended above")
            }
        }
    })
}

/// Tells the error to a person on standard error, and to a script on standard output.
fn tell(error: &anyhow::Error, json: bool) -> Exit {
    let rendered = Rendered::of(error);
    if json {
        let document = serde_json::json!({
            "result": rendered.exit.word(),
            "error": rendered.what,
            "because": rendered.because,
            "to_do": rendered.advice,
        });
        // Nobody is left to tell that nobody reads it.
        let _ = Output::Json.print(&document);
    }
    match rendered.exit {
        Exit::NotOurTurn => tracing::info!("{rendered}"),
        _ => tracing::error!("{rendered}"),
    }
    rendered.exit
}

//! The one place where a verb of the command line becomes work.

use std::future::{Future, ready};

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use super::{
    Context, backup, bring_back, claims, completions, config, diff, doctor, drill, export, get, images, inspect,
    keygen, life, list, manual, node, promote, prune, put, recover_quorum, restore, second_engine, standby, status,
    step_down, undelete, verify,
};
use crate::{commands::cli::Command, outcome::exit::Exit};

/// The work of one verb, and what has to be known of it before it begins.
pub struct Job<'a> {
    /// True if standard output is meant for a script, so that nothing else is drawn around it.
    pub json: bool,
    pub work: Work<'a>,
}

/// What a verb does, by what it needs.
pub enum Work<'a> {
    /// Needs no configuration, and works also where there is a broken one.
    Offline(Box<dyn FnOnce() -> Result<Exit> + 'a>),
    Configured {
        /// True if a state is copied, or may be unpacked meanwhile.
        reads_states: bool,
        run: Run<'a>,
    },
}

type Run<'a> = Box<dyn FnOnce(&'a Context) -> LocalBoxFuture<'a, Result<Exit>> + 'a>;

/// Returns the work of a verb with its arguments.
pub fn job(command: &Command) -> Job<'_> {
    match command {
        Command::Backup(args) => on_states(args.json, |context| backup::run(context, args)),
        Command::Restore(args) => on_states(args.json, |context| restore::run(context, args)),
        Command::Undelete(args) => on_states(args.json, |context| undelete::run(context, args)),
        Command::RecoverQuorum(args) => on_states(args.json, |context| recover_quorum::run(context, args)),
        Command::List(args) => configured(args.json, |context| list::run(context, args)),
        Command::Inspect(args) => on_states(args.json, |context| inspect::run(context, args)),
        Command::Diff(args) => on_states(args.json, |context| diff::run(context, args)),
        Command::Export(args) => on_states(args.json, |context| export::run(context, args)),
        Command::Images(args) => on_states(args.command.json(), |context| images::run(context, args)),
        Command::Life(args) => configured(args.json, |context| life::run(context, args)),
        Command::Node(args) => configured(args.command.json(), |context| node::run(context, args)),
        Command::Verify(args) => on_states(args.json, |context| verify::run(context, args)),
        Command::Put(args) => configured(args.json, |context| put::run(context, args)),
        Command::Get(args) => configured(false, |context| get::run(context, args)),
        Command::Drill(args) => on_states(args.json, |context| drill::run(context, args)),
        Command::Standby(args) => on_states(args.json, |context| standby::run(context, args)),
        Command::Promote(args) => on_states(args.json, |context| promote::run(context, args)),
        Command::StepDown(args) => configured(args.json, |context| step_down::run(context, args)),
        Command::Status(args) => {
            configured(args.json || args.nagios || args.prometheus, |context| status::run(context, args))
        }
        Command::Prune(args) => configured(args.json, |context| prune::run(context, args)),
        Command::Doctor(args) => configured(args.json, |context| doctor::run(context, args)),
        Command::Keygen(args) => configured(args.json, |context| ready(keygen::run(context, args))),
        Command::Config(args) => configured(args.json, |context| ready(config::run(context))),
        Command::Completions(args) => offline(|| completions::run(args)),
        Command::Manual(args) => offline(|| manual::run(args)),
        Command::SecondEngine(args) => offline(|| second_engine::run(args)),
        Command::Claim(args) => configured(args.json, |context| claims::make(context, args)),
        Command::BringBack(args) => offline(|| bring_back::run(args)),
    }
}

fn offline<'a>(run: impl FnOnce() -> Result<Exit> + 'a) -> Job<'a> {
    Job { json: false, work: Work::Offline(Box::new(run)) }
}

fn configured<'a, F>(json: bool, run: impl FnOnce(&'a Context) -> F + 'a) -> Job<'a>
where
    F: Future<Output = Result<Exit>> + 'a,
{
    with_context(json, false, run)
}

fn on_states<'a, F>(json: bool, run: impl FnOnce(&'a Context) -> F + 'a) -> Job<'a>
where
    F: Future<Output = Result<Exit>> + 'a,
{
    with_context(json, true, run)
}

fn with_context<'a, F>(json: bool, reads_states: bool, run: impl FnOnce(&'a Context) -> F + 'a) -> Job<'a>
where
    F: Future<Output = Result<Exit>> + 'a,
{
    let run: Run<'a> = Box::new(|context| Box::pin(run(context)));
    Job { json, work: Work::Configured { reads_states, run } }
}

//! The verb `images`.

mod auth;
mod check;
mod list;
mod mirror;
mod push;

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Context;
use crate::{
    archive::{inspection::Subject, open_state::OpenState},
    commands::cli::{ImagesArgs, ImagesCommand, OfState},
    host::engine::Engine,
    outcome::{exit::Exit, failure::Failure},
    restore::images::{
        logins::Logins,
        need::{self, Need},
    },
};

pub async fn run(context: &Context, args: &ImagesArgs) -> Result<Exit> {
    match &args.command {
        ImagesCommand::List(args) => list::run(context, args).await,
        ImagesCommand::Check(args) => check::run(context, args).await,
        ImagesCommand::Mirror(args) => mirror::run(context, args).await,
        ImagesCommand::Push(args) => push::run(context, args).await,
        ImagesCommand::Auth(args) => auth::run(context, args).await,
    }
}

/// Opens the state that is meant: a backup, a directory, or that of this host's engine.
async fn open(context: &Context, of: &OfState) -> Result<OpenState> {
    let subject = match &of.dir {
        Some(dir) => Subject::Directory(dir.clone()),
        None if of.choice.is_of_one() => Subject::Backup(of.choice.meant(context.now)),
        None => Subject::Directory(own_state(context).await?),
    };
    context.inspector(&[&subject], &of.trust, &of.unlock)?.open_state(&subject).await
}

async fn own_state(context: &Context) -> Result<std::path::PathBuf> {
    let engine = Engine::at(&context.config().engine.socket);
    let facts = context.shutdown.or_interrupted(engine.facts()).await;
    let facts = facts.map_err(|cause| {
        Failure::failed("the swarm of this host cannot be read")
            .because(cause)
            .advice("name a backup, or a state directory with --dir")
    })?;
    Ok(facts.data_root.join("swarm"))
}

/// Returns the images that the services of a state need.
async fn needs(context: &Context, state: &OpenState) -> Result<Vec<Need>> {
    let needs = need::of(state, &Logins::new(context.config(), Duration::ZERO)).await;
    needs.with_context(|| format!("failed to read the images in {}", state.source))
}

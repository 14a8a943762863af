//! The verb `images`.

mod auth;
mod check;
mod list;
mod mirror;
mod push;

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use swarmdr_archive::ClusterId;

use super::Context;
use crate::{
    archive::{
        inspection::{Inspector, Subject},
        open_state::OpenState,
        specs::Specs,
    },
    commands::cli::{ImagesArgs, ImagesCommand, OfState, Unlock},
    config::images::Check,
    host::engine::Engine,
    keys::Keyring,
    outcome::{exit::Exit, failure::Failure},
    restore::images::{
        check::{self as check_images, Options},
        logins::Logins,
        memory::ImagesChecked,
        need::{self, Need},
    },
};

/// A day, less the time by which a backup may come earlier than the one before.
const A_DAY: SignedDuration = SignedDuration::from_hours(23);

/// Time that a check may take after a backup.
const LIMIT: Duration = Duration::from_secs(300);

/// Time for which a busy registry may ask to come back later, in all, after a backup.
const AFTER_BACKUP: Duration = Duration::from_secs(60);

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

/// Checks the images of this host's swarm after a backup, if that is configured and due, and remembers the outcome for
/// `status`. A failure is only logged: the backup is stored.
pub async fn after_backup(context: &Context, cluster: &ClusterId) -> Option<ImagesChecked> {
    let config = context.config();
    let last = || ImagesChecked::read(&config.state_dir).filter(|last| last.cluster == *cluster);
    let due = match config.images.check {
        Check::Off => false,
        Check::WithBackup => true,
        Check::Daily => last().is_none_or(|last| context.now.duration_since(last.at) >= A_DAY),
    };
    if !due {
        return None;
    }
    let checked = tokio::time::timeout(LIMIT, check_own(context)).await;
    let checked = checked.unwrap_or_else(|_| Err(anyhow::anyhow!("it took more than {} s", LIMIT.as_secs())));
    checked.inspect_err(|error| tracing::warn!("the images of the swarm were not checked: {error:#}")).ok()
}

async fn check_own(context: &Context) -> Result<ImagesChecked> {
    let config = context.config();
    let unlock = context.unlock_key(&Unlock { key_file: None })?;
    let inspector = Inspector { run: context.run(), keyring: Keyring::without_archives(unlock), specs: Specs::Skip };
    let state = inspector.open_state(&Subject::Directory(own_state(context).await?)).await?;
    let options = Options::of(&config.images);
    let lines = check_images::run(config, &needs(context, &state).await?, &options, AFTER_BACKUP).await;
    let checked = ImagesChecked::new(context.now, state.own.cluster.clone(), &lines);
    checked.write(&config.state_dir);
    Ok(checked)
}

/// Returns the images that the services of a state need.
async fn needs(context: &Context, state: &OpenState) -> Result<Vec<Need>> {
    let needs = need::of(state, &Logins::new(context.config(), Duration::ZERO)).await;
    needs.with_context(|| format!("failed to read the images in {}", state.source))
}

//! The verb `images`.

mod auth;
mod check;
mod list;
mod mirror;
mod push;

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context as _, Result};
use futures_util::FutureExt;
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
        line::Line,
        logins::Logins,
        memory::ImagesChecked,
        need::{self, Need},
    },
};

/// A day, less the time by which a backup may come earlier than the one before.
const A_DAY: SignedDuration = SignedDuration::from_hours(23);

/// Time that a check may take after a backup: hooks wait for its end.
const AFTER_BACKUP: Duration = Duration::from_secs(120);

/// Time that a check may take after a restore: the swarm is back, and somebody waits.
const AFTER_RESTORE: Duration = Duration::from_secs(120);

/// Time for which a busy registry may ask to come back later, in all, after a backup or a restore.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let last = ImagesChecked::read(&config.state_dir).filter(|last| last.cluster == *cluster);
    let due = match config.images.check {
        Check::Off => false,
        Check::WithBackup => true,
        Check::Daily => last.as_ref().is_none_or(|last| last.is_due(context.now, A_DAY)),
    };
    if !due {
        return None;
    }
    let checked = within(context, AFTER_BACKUP, check_own(context, last.as_ref())).await;
    checked.inspect_err(|error| tracing::warn!("the images of the swarm were not checked: {error:#}")).ok()
}

async fn check_own(context: &Context, before: Option<&ImagesChecked>) -> Result<ImagesChecked> {
    let config = context.config();
    let state = open_own(context, &Unlock { key_file: None }).await?;
    let options = Options::of(&config.images);
    let lines = check_images::run(config, &needs(context, &state).await?, &options, PATIENCE).await;
    let checked = ImagesChecked::new(context.now, state.own.cluster.clone(), &lines, before);
    checked.write(&config.state_dir);
    Ok(checked)
}

/// Runs a check that comes after what matters: it ends with a stop request, with its time, and with a panic, and what comes
/// after it is done.
async fn within<T>(context: &Context, limit: Duration, check: impl Future<Output = Result<T>>) -> Result<T> {
    let guarded = AssertUnwindSafe(context.shutdown.or_interrupted(check)).catch_unwind();
    match tokio::time::timeout(limit, guarded).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(_)) => Err(anyhow::anyhow!("the check ended with a panic, whose message was printed")),
        Err(_) => Err(anyhow::anyhow!("it took more than {} s", limit.as_secs())),
    }
}

/// Returns a line for each image of the swarm that was restored on this host. The services have their new images already.
pub async fn after_restore(context: &Context, unlock: &Unlock) -> Result<Vec<Line>> {
    let check = async {
        let state = open_own(context, unlock).await?;
        let needs = needs(context, &state).await?;
        Ok(check_images::run(context.config(), &needs, &Options::default(), PATIENCE).await)
    };
    within(context, AFTER_RESTORE, check).await
}

async fn open_own(context: &Context, unlock: &Unlock) -> Result<OpenState> {
    let keyring = Keyring::without_archives(context.unlock_key(unlock)?);
    let inspector = Inspector { run: context.run(), keyring, specs: Specs::Skip };
    inspector.open_state(&Subject::Directory(own_state(context).await?)).await
}

/// Returns the images that the services of a state need.
async fn needs(context: &Context, state: &OpenState) -> Result<Vec<Need>> {
    let needs = need::of(state, &Logins::new(context.config(), Duration::ZERO)).await;
    needs.with_context(|| format!("failed to read the images in {}", state.source))
}

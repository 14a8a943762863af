//! The verb `restore`.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, point::Point, untrusted::shown};

use super::{Context, bring_everything_back, clean_leftovers, images, left_claim::LeftClaim, require_stoppable_engine};
use crate::{
    archive::source,
    commands::cli::{RestoreArgs, Unlock},
    config::images::Check,
    downtime::leftovers::Leftovers,
    host::lock::HostLock,
    keys::promoter::Promoter,
    observe::{
        verb::Verb,
        watch::{Ended, Watch},
    },
    outcome::exit::Exit,
    points::{Flags, Recovery, WithRecovery},
    restore::{
        Claiming, Decision, Follow, KEY_LIMIT, Overrides, Readdress, Request, Restore, RestoreReport, Waits,
        images::{followed::Followed, line::Line},
    },
    vaults,
};

/// Number of copies with a payload mismatch after which only one more is tried.
const MOST_MISMATCHES: usize = 8;

pub async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, Verb::Restore)?;
    let ended = bring_back(context, args, &watch).await.map_or_else(Ended::failed, Ended::with);
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn bring_back(context: &Context, args: &RestoreArgs, watch: &Watch<'_>) -> Result<Exit> {
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let config = &context.loaded.config;
    let left = if args.dry_run { Leftovers::default() } else { clean_leftovers(config).await? };
    let outcome = restore(context, args, watch).await;
    if args.dry_run { outcome } else { bring_everything_back(config, &left, outcome).await }
}

async fn restore(context: &Context, args: &RestoreArgs, watch: &Watch<'_>) -> Result<Exit> {
    let restore = Restore {
        run: context.run(),
        keyring: context.keyring(&args.trust, &args.unlock)?,
        prune_dead: args.prune_dead,
        follow: Some(Follow { rules: args.image_map.clone() }),
        claiming: (!args.without_claim).then(Claiming::default),
        vaults: vaults::Shared::default(),
    };
    let left = LeftClaim::before(context.config());
    let outcome = resume_or_restore(context, args, &restore, watch).await;
    if args.dry_run {
        return outcome;
    }
    let promoter = || Promoter::find(context.config(), &restore.keyring.identities);
    left.end(&restore.run, &restore.vaults, promoter, outcome).await
}

async fn resume_or_restore(
    context: &Context,
    args: &RestoreArgs,
    restore: &Restore<'_>,
    watch: &Watch<'_>,
) -> Result<Exit> {
    let mut request = request(args, context.now);
    // Must not be interrupted: the recovery action brings the host into one of two complete states.
    if let Some(mut report) = restore.resume_interrupted(&request).await? {
        look_at_images(context, args, &mut report).await;
        context.output.print(&report)?;
        return Ok(report.exit());
    }
    for _ in 0..MOST_MISMATCHES {
        match once(context, args, restore, &request, watch).await {
            // Nothing was changed yet: another copy, or the backup before it, is taken instead, and reported.
            Err(error) => {
                let mismatch = source::find_payload_mismatch(&error).cloned().ok_or(error)?;
                tracing::warn!("{mismatch}; going on to the next best copy");
                request.choice.except(mismatch);
            }
            done => return done,
        }
    }
    once(context, args, restore, &request, watch).await
}

async fn once(
    context: &Context,
    args: &RestoreArgs,
    restore: &Restore<'_>,
    request: &Request,
    watch: &Watch<'_>,
) -> Result<Exit> {
    let (decision, prepared) = context.shutdown.or_interrupted(restore.prepare(request)).await?;
    let recovery = recovery(context, args, &restore.vaults, prepared.point()).await?;
    let mut plan = match decision {
        Decision::Restore(plan) => plan,
        Decision::AlreadyThere => {
            let found = (prepared.id(), prepared.was_unlocked());
            return already_there(context, args, restore, found, recovery.as_ref()).await;
        }
        Decision::AlreadyThereLocked => {
            if !args.dry_run {
                restore.unlock_present(KEY_LIMIT).await?;
            }
            return already_there(context, args, restore, (prepared.id(), true), recovery.as_ref()).await;
        }
    };
    let control = require_stoppable_engine(&context.loaded.config).await?;
    plan.units = control.units().into_iter().map(str::to_owned).collect();
    plan.notes.extend(control.found().lines());
    if args.dry_run {
        plan.notes.extend(restore.rehearse(&prepared).await?);
        plan.notes.extend(restore.claim_notes(&plan, args.fenced).await?);
        plan.notes.extend_from_slice(prepared.findings());
        context.output.print(&WithRecovery { report: plan.as_ref(), point: recovery.as_ref() })?;
        let exit = if prepared.findings().is_empty() { Exit::Done } else { Exit::Attention };
        return Ok(worse(exit, recovery.as_ref()));
    }
    let facts = [("BACKUP_ID", plan.id.to_string()), ("CLUSTER_ID", plan.cluster_id.to_string())];
    watch.begin(facts.to_vec()).await?;
    let mut report = restore.run(*plan, prepared).await?;
    look_at_images(context, args, &mut report).await;
    context.output.print(&WithRecovery { report: &report, point: recovery.as_ref() })?;
    Ok(worse(report.exit(), recovery.as_ref()))
}

/// Returns how the data of the recovery point comes back, if one was chosen. Nothing on the host was changed yet.
async fn recovery(
    context: &Context,
    args: &RestoreArgs,
    vaults: &vaults::Shared,
    point: Option<&Point>,
) -> Result<Option<Recovery>> {
    let Some(point) = point else { return Ok(None) };
    let keys = context.trusted_on_streams(&args.trust)?;
    let (trust, identities) = (args.trust.keys.clone(), args.trust.identities.clone());
    let flags = Flags { trust, identities, config: context.loaded.named.clone() };
    let run = context.run();
    let plan = context.shutdown.or_interrupted(Recovery::plan(&run, vaults, point, &keys, &flags)).await?;
    Ok(Some(plan))
}

/// Returns the exit of a run whose data needs attention, too.
fn worse(exit: Exit, recovery: Option<&Recovery>) -> Exit {
    match (exit, recovery.map(Recovery::exit)) {
        (Exit::Done, Some(of_data)) => of_data,
        (exit, _) => exit,
    }
}

/// Finds out whether the images of the restored swarm can be pulled, if images are checked or followed.
async fn look_at_images(context: &Context, args: &RestoreArgs, report: &mut RestoreReport) {
    if !are_images_looked_at(context, args, true) {
        return;
    }
    let (lines, attention) = pullable(context, &args.unlock, report.images.as_ref()).await;
    report.attention.extend(attention);
    report.pullable = lines;
}

/// Finds out whether the images of a swarm that was brought back without rules of the command line can be pulled. Returns
/// `None` if images are neither checked nor followed.
pub(super) async fn look_at_images_of(
    context: &Context,
    unlock: &Unlock,
    followed: Option<&Followed>,
) -> Option<(Option<Vec<Line>>, Vec<String>)> {
    let images = &context.config().images;
    if images.check == Check::Off && images.map.is_empty() {
        return None;
    }
    Some(pullable(context, unlock, followed).await)
}

/// Whether images are looked at: where they are checked, or where services follow them.
fn are_images_looked_at(context: &Context, args: &RestoreArgs, do_rules_count: bool) -> bool {
    let config = &context.config().images;
    let is_followed = !config.map.is_empty() || do_rules_count && !args.image_map.is_empty();
    !args.dry_run && (config.check != Check::Off || is_followed)
}

/// Returns a line for each image, and what has to be looked after.
async fn pullable(context: &Context, unlock: &Unlock, followed: Option<&Followed>) -> (Option<Vec<Line>>, Vec<String>) {
    match images::after_restore(context, unlock).await {
        Ok(lines) => {
            let attention = lines.iter().filter_map(|line| not_pullable(line, followed)).collect();
            (Some(lines), attention)
        }
        Err(error) => (None, vec![format!("it is not known whether the images can be pulled: {error:#}")]),
    }
}

/// Describes an image that cannot be pulled, or may not be there; `None` if it can. A registry that is gone does not matter
/// to services whose tasks have ended for good.
fn not_pullable(line: &Line, followed: Option<&Followed>) -> Option<String> {
    if let Some(trouble) = line.trouble() {
        return Some(format!("an image cannot be pulled: {trouble}"));
    }
    let (image, services) = (line.name(), line.services.join(", "));
    let why = line.unknown.join("; ");
    let is_at_rest = followed.is_some_and(|it| line.services.iter().all(|service| it.is_at_rest(service)));
    (!why.is_empty() && !is_at_rest)
        .then(|| format!("it is not known whether {image} can be pulled, for {services}: {why}"))
}

fn request(args: &RestoreArgs, now: Timestamp) -> Request {
    Request {
        choice: match args.which() {
            Some(which) => source::Choice::Point(which, args.choice.admitted(now)),
            None => args.choice.meant(now),
        },
        overrides: Overrides {
            force: args.force,
            address_elsewhere: args.address_elsewhere,
            data_path_addr: args.data_path_addr.clone(),
            readdress: args
                .readdress
                .then_some(Readdress { advertise: args.advertise_addr, copy_labels: args.copy_labels }),
        },
        fenced: args.fenced,
        looks_for_life: false,
        waits: Waits {
            engine: args.wait,
            address: args.wait_for_ip.unwrap_or(args.wait),
            vault: args.wait_for_vault.unwrap_or(args.wait),
            silence: args.wait,
        },
        dry_run: args.dry_run,
    }
}

/// Reports that there is nothing to restore. Services that are still to follow their images do so now; whether the engine
/// was unlocked is told with the backup's id.
async fn already_there(
    context: &Context,
    args: &RestoreArgs,
    restore: &Restore<'_>,
    (id, unlocked): (BackupId, bool),
    recovery: Option<&Recovery>,
) -> Result<Exit> {
    let labelled = if args.dry_run { Vec::new() } else { restore.label_late().await? };
    let images = restore.follow_late(args.dry_run).await?;
    let mut attention = images.as_ref().map(Followed::attention).unwrap_or_default();
    attention.extend(labelled);
    let (pullable, missing) = match are_images_looked_at(context, args, images.is_some()) {
        true => pullable(context, &args.unlock, images.as_ref()).await,
        false => (None, Vec::new()),
    };
    attention.extend(missing);
    let exit = Exit::with_attention(!attention.is_empty());
    let is_ignored = images.is_none() && !args.image_map.is_empty();
    let report = AlreadyThere { result: "already-there", id, unlocked, images, pullable, attention, is_ignored };
    context.output.print(&WithRecovery { report: &report, point: recovery })?;
    Ok(worse(exit, recovery))
}

#[derive(Serialize)]
struct AlreadyThere {
    result: &'static str,
    id: BackupId,
    /// Whether the engine waited for its unlock key and got it.
    unlocked: bool,
    /// Services that followed their images now; absent if nothing was to be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Followed>,
    /// Each image, and whether nodes can pull it now; absent unless images are checked or followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pullable: Option<Vec<Line>>,
    /// What has to be looked after. Exit 6.
    attention: Vec<String>,
    /// Whether rules for images were given, and do not count: this host was not restored.
    #[serde(skip)]
    is_ignored: bool,
}

impl AlreadyThere {
    fn done(&self) -> &'static str {
        let is_changed = |it: &Followed| it.services.iter().any(|service| service.outcome.is_change());
        match &self.images {
            Some(images) if is_changed(images) => "its services follow their images",
            _ if self.unlocked => "its engine was unlocked",
            _ => "nothing was changed",
        }
    }
}

impl std::fmt::Display for AlreadyThere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "The swarm of backup {} works on this host already; {}.", self.id, self.done())?;
        if let Some(images) = &self.images {
            write!(f, "{images}")?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        if self.is_ignored {
            writeln!(f, "  note: this host was not restored, so --image-map does not count")?;
        }
        write!(f, "  to go back to the backup anyway: --force")
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_registry::Problem;

    use super::*;
    use crate::restore::images::{
        logins::Origin,
        need::Need,
        renew::{Outcome, ServiceOutcome},
    };

    #[test]
    fn an_image_that_may_not_be_there_needs_attention_too() {
        let mut need = Need::new("new:5000/web:1", Origin::Anonymous, None);
        need.services.push("web".to_owned());
        let mut line = Line::of(&need);
        assert_eq!(not_pullable(&line, None), None);
        line.unknown.push("no answer".to_owned());
        let told = not_pullable(&line, None).expect("is told");
        assert_eq!(told, "it is not known whether new:5000/web:1 can be pulled, for web: no answer");
        let outcome = |needs_attention| {
            let outcome = Outcome::Left { why: "it has ended".to_owned(), needs_attention, is_owed: false };
            let text = || "web".to_owned();
            let (service, id, image, registry) = (text(), text(), text(), text());
            ServiceOutcome { service, id, image, new_image: None, registry, outcome, rollback_lost: false }
        };
        let at_rest = Followed::of(vec![outcome(false)], false);
        assert_eq!(not_pullable(&line, Some(&at_rest)), None);
        assert!(not_pullable(&line, Some(&Followed::of(vec![outcome(true)], false))).is_some());
        line.problems.push(Problem::NotThere { why: "manifest unknown".to_owned() });
        assert!(not_pullable(&line, Some(&at_rest)).expect("is told").contains("cannot be pulled"));
    }
}

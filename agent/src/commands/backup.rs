//! The verb `backup`.

use anyhow::Result;

use super::{Context, clean_leftovers, images, left_claim, on_change};
use crate::{
    archive::removals::removed::Removed,
    backup::{Backup, BackupPlan, BackupReport, NotOurTurn, Request, SentReport, Step, When},
    claims::Superseded,
    commands::cli::BackupArgs,
    config::Config,
    downtime::leftovers::Leftovers,
    host::lock::HostLock,
    observe::{
        history::Made,
        superseded,
        verb::Verb,
        watch::{Ended, Fact, Watch},
    },
    outcome::{exit::Exit, failure::Failure},
    points,
    vaults::Shared,
};

pub async fn run(context: &Context, args: &BackupArgs) -> Result<Exit> {
    if args.on_change {
        return on_change::run(context).await;
    }
    if args.if_changed {
        let changed = context.with_config(context.config().for_changes());
        return run_once(&changed, args, Some(context.config())).await;
    }
    run_once(context, args, None).await
}

/// `usual` is the configuration for what other runs made, if `context` has another one.
async fn run_once(context: &Context, args: &BackupArgs, usual: Option<&Config>) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, Verb::Backup)?;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let outcome = make(context, args, usual, &watch).await;
    if let Some(superseded) = outcome.as_ref().err().and_then(Superseded::find).filter(|_| !args.dry_run) {
        superseded::react(context.config(), &watch, superseded).await;
    }
    let ended = outcome.unwrap_or_else(Ended::failed);
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn make(context: &Context, args: &BackupArgs, usual: Option<&Config>, watch: &Watch<'_>) -> Result<Ended> {
    let config = &context.loaded.config;
    let mut left = if args.dry_run { Leftovers::default() } else { clean_leftovers(config).await? };
    let claim = if args.dry_run { None } else { left_claim::end_at_once(&context.run()).await };
    left.attention.extend(claim.clone());
    let attention = left.attention.clone();
    let made = make_one(context, args, usual, (watch, left)).await;
    let made = made.map_err(|error| claim.into_iter().fold(error, Failure::advise));
    match made? {
        Ok(ended) => Ok(ended),
        Err(why) if attention.is_empty() => Err(Failure::new(Exit::NotOurTurn, why.to_string()).into()),
        // No backup is made now, but what an earlier run left still needs attention.
        Err(why) => {
            let report = SentReport::new(Vec::new(), &why, Vec::new()).with_attention(attention);
            context.output.print(&report)?;
            Ok(Ended { idle: true, ..Ended::with(report.exit) })
        }
    }
}

async fn make_one(
    context: &Context,
    args: &BackupArgs,
    usual: Option<&Config>,
    (watch, left): (&Watch<'_>, Leftovers),
) -> Result<Result<Ended, NotOurTurn>> {
    let config = &context.loaded.config;
    let backup = Backup { run: context.run(), vaults: Shared::default(), usual };
    let request = Request {
        when: match (args.if_due, args.if_changed) {
            (true, _) => When::Due,
            (_, true) => When::Changed,
            _ => When::Now,
        },
        allow_quorum_loss: args.allow_quorum_loss || config.backup.allow_quorum_loss,
        dry_run: args.dry_run,
    };
    let mut prepared = match context.shutdown.or_interrupted(backup.prepare(request)).await? {
        Step::Ready(prepared) => *prepared,
        Step::NotOurTurn(why) => return Ok(Err(why)),
        Step::Sent(report) => {
            let report = report.with_attention(left.attention);
            context.output.print(&report)?;
            return Ok(Ok(Ended::with(report.exit)));
        }
    };
    prepared.plan.notes.extend(left.notes);
    if args.dry_run {
        context.output.print(&prepared.plan)?;
        return Ok(Ok(Ended::with(Exit::Done)));
    }
    prepared.look_at(left.attention);
    watch.begin(facts(&prepared.plan)).await?;
    let report = match backup.run(prepared).await? {
        Ok(report) => report,
        Err(why) => return Ok(Err(why)),
    };
    let images = images::after_backup(context, &report.plan.cluster_id).await;
    let point = match args.if_changed {
        // Their data did not change with the swarm: the next stream stores a point, with the newest backup.
        true => points::Made::default(),
        false => {
            let took = report.kept.iter().map(|kept| kept.vault.clone()).collect();
            backup.make_point(&report.plan.cluster_id, took).await
        }
    };
    let report = report.with_images(images).with_point(point);
    context.output.print(&report)?;
    Ok(Ok(ended(&report)))
}

/// Facts for the hooks before a backup.
fn facts(plan: &BackupPlan) -> Vec<(&'static str, String)> {
    vec![
        ("BACKUP_ID", plan.id.to_string()),
        ("CLUSTER_ID", plan.cluster_id.to_string()),
        ("NODE_ID", plan.node_id.to_string()),
        ("HOSTNAME", plan.hostname.clone()),
    ]
}

/// Result of a backup, with the facts for the hooks after it and the record for this host's history.
fn ended(report: &BackupReport) -> Ended {
    let vaults: Vec<&str> = report.kept.iter().map(|kept| kept.vault.as_str()).collect();
    let (down, ours) = report.downtime.map_or((0, 0), |down| (down.total_ms, down.ours_ms));
    let mut facts = vec![
        ("SIZE", report.size.to_string()),
        ("SHA256", report.sha256.clone()),
        ("ENGINE_DOWN_MS", down.to_string()),
        ("VAULTS", vaults.join(" ")),
    ];
    facts.extend(facts_of_removed(report.removed.as_ref()));
    let made = Made {
        id: report.plan.id.to_string(),
        cluster: report.plan.cluster_id.to_string(),
        at: report.plan.created_at,
        size: report.size,
        engine_down_ms: down,
        ours_ms: ours,
        phases: report.phases.iter().map(|phase| (phase.name.to_owned(), phase.ms)).collect(),
    };
    Ended { facts, made: Some(made), ..Ended::with(report.exit) }
}

/// Facts about what was removed since the backup before; none if nothing was.
fn facts_of_removed(removed: Option<&Removed>) -> Vec<Fact> {
    match removed.filter(|removed| !removed.is_empty()) {
        Some(removed) => vec![("REMOVED", removed.words()), ("REMOVED_SINCE", removed.since.to_string())],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::untrusted::HOSTILE;

    use super::*;
    use crate::archive::removals::removed::tests::removed;

    #[test]
    fn hooks_hear_what_was_removed_and_which_backup_has_it() {
        let since = "20261121T031500Z-1a2b3c4d".to_owned();
        let facts = facts_of_removed(Some(&removed("shop_web", "tls_key")));
        let expected = [("REMOVED", "service shop_web, secret tls_key".to_owned()), ("REMOVED_SINCE", since)];
        assert_eq!(facts, expected);
        let nothing = Removed { objects: Vec::new(), undelete: None, ..removed("", "") };
        assert_eq!((facts_of_removed(Some(&nothing)), facts_of_removed(None)), (Vec::new(), Vec::new()));
        // An environment cannot hold a NUL: the hook would not even start.
        assert!(!facts_of_removed(Some(&removed(HOSTILE, "key")))[0].1.contains('\0'));
    }
}

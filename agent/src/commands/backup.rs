//! `backup`

use anyhow::Result;

use super::{Context, left_by_others};
use crate::{
    backup::{Backup, BackupPlan, BackupReport, Request, SentReport, Step},
    cli::BackupArgs,
    exit::Exit,
    fault::Rendered,
    history::Made,
    host::leftovers::Leftovers,
    lock::HostLock,
    watch::{Ended, Watch},
};

pub async fn run(context: &Context, args: &BackupArgs) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, "backup")?;
    let _lock = HostLock::acquire(&HostLock::default_path())?;
    let outcome = make(context, args, &watch).await;
    let ended = outcome.unwrap_or_else(Ended::failed);
    if !args.dry_run {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn make(context: &Context, args: &BackupArgs, watch: &Watch<'_>) -> Result<Ended> {
    let config = &context.loaded.config;
    let left = if args.dry_run { Leftovers::default() } else { left_by_others(config).await? };
    let attention = left.attention.clone();
    match make_one(context, args, watch, left).await {
        // That no backup comes now says nothing of what an earlier run left.
        Err(error) if !attention.is_empty() && Rendered::of(&error).exit == Exit::NotOurTurn => {
            let report = SentReport::new(Vec::new(), &error, Vec::new()).with_attention(attention);
            context.output.print(&report)?;
            Ok(Ended { idle: true, ..Ended::with(report.exit) })
        }
        outcome => outcome,
    }
}

async fn make_one(context: &Context, args: &BackupArgs, watch: &Watch<'_>, left: Leftovers) -> Result<Ended> {
    let config = &context.loaded.config;
    let backup = Backup { config, shutdown: &context.shutdown, progress: context.progress, now: context.now };
    let request = Request {
        if_due: args.if_due,
        allow_quorum_loss: args.allow_quorum_loss || config.backup.allow_quorum_loss,
        dry_run: args.dry_run,
    };
    let mut prepared = match context.shutdown.or_interrupted(backup.prepare(request)).await? {
        Step::Ready(prepared) => *prepared,
        Step::Sent(report) => {
            let report = report.with_attention(left.attention);
            context.output.print(&report)?;
            return Ok(Ended::with(report.exit));
        }
    };
    prepared.plan.notes.extend(left.notes);
    if args.dry_run {
        context.output.print(&prepared.plan)?;
        return Ok(Ended::with(Exit::Done));
    }
    prepared.look_at(left.attention);
    watch.begin(facts(&prepared.plan)).await?;
    let report = backup.run(prepared).await?;
    context.output.print(&report)?;
    Ok(ended(&report))
}

/// What hooks are told before a backup.
fn facts(plan: &BackupPlan) -> Vec<(&'static str, String)> {
    vec![
        ("BACKUP_ID", plan.id.to_string()),
        ("CLUSTER_ID", plan.cluster_id.clone()),
        ("NODE_ID", plan.node_id.clone()),
        ("HOSTNAME", plan.hostname.clone()),
    ]
}

/// What hooks are told after it, and what this host remembers of it.
fn ended(report: &BackupReport) -> Ended {
    let vaults: Vec<&str> = report.kept.iter().map(|kept| kept.vault.as_str()).collect();
    let (down, ours) = report.downtime.map_or((0, 0), |down| (down.total_ms, down.ours_ms));
    let facts = vec![
        ("SIZE", report.size.to_string()),
        ("SHA256", report.sha256.clone()),
        ("ENGINE_DOWN_MS", down.to_string()),
        ("VAULTS", vaults.join(" ")),
    ];
    let made = Made {
        id: report.plan.id.to_string(),
        cluster: report.plan.cluster_id.clone(),
        at: report.plan.created_at,
        size: report.size,
        engine_down_ms: down,
        ours_ms: ours,
        phases: report.phases.iter().map(|phase| (phase.name.to_owned(), phase.ms)).collect(),
    };
    Ended { facts, made: Some(made), ..Ended::with(report.exit) }
}

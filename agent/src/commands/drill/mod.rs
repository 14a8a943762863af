//! The verb `drill`, and `verify --boot`.

mod streams;

use std::{fmt, sync::Arc};

use anyhow::Result;
use serde::Serialize;
use swarmdr_vault::catalog::Survey;

use super::Context;
use crate::{
    archive::source::{Found, Source},
    commands::cli::{DrillArgs, VerifyArgs},
    observe::{
        history::Proved,
        verb::Verb,
        watch::{Ended, Watch},
    },
    outcome::exit::Exit,
    restore::drill::{Drill, DrillReport, Summary},
    streams::StreamDrills,
    vaults,
};

/// Boots the chosen backup. With the newest one, the streams are drilled too that have a command for it, whether or not
/// the backup boots.
pub async fn run(context: &Context, args: &DrillArgs) -> Result<Exit> {
    if args.streams {
        streams::require_some(context)?;
        let drills = streams::all(context, args).await?;
        context.output.print(&Drills { backup: None, streams: Some(&drills) })?;
        return Ok(drills.exit());
    }
    let watch = Watch::over(context.config(), Verb::Drill)?;
    let mut booted = None;
    let ended = match one(context, args, &watch).await {
        Ok(report) => {
            let ended = Ended { proved: Some(proved(context, [&report])), ..Ended::with(report.exit()) };
            booted = Some(report);
            ended
        }
        Err(error) => Ended::failed(error),
    };
    watch.end(&ended).await;
    let drills = if args.choice.latest { streams::all(context, args).await } else { Ok(StreamDrills::default()) };
    // What was found out of the backup is told, whatever becomes of the streams.
    let of_streams = drills.as_ref().ok().filter(|drills| !drills.is_empty());
    if booted.is_some() || of_streams.is_some() {
        context.output.print(&Drills { backup: booted.as_ref(), streams: of_streams })?;
    }
    let of_streams = of_streams.map(StreamDrills::exit);
    let exit = ended.into_exit()?;
    drills?;
    Ok(worse(exit, of_streams))
}

/// The outcome of a backup's drill, made worse by that of the streams.
fn worse(exit: Exit, of_streams: Option<Exit>) -> Exit {
    match (exit, of_streams) {
        (_, Some(Exit::Failed)) => Exit::Failed,
        (Exit::Done, Some(Exit::Attention)) => Exit::Attention,
        (exit, _) => exit,
    }
}

/// What was drilled in one run.
#[derive(Serialize)]
struct Drills<'a> {
    #[serde(flatten)]
    backup: Option<&'a DrillReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<&'a StreamDrills>,
}

impl fmt::Display for Drills<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backup.iter().try_for_each(|backup| backup.fmt(f))?;
        self.streams.iter().try_for_each(|streams| streams.fmt(f))
    }
}

async fn one(context: &Context, args: &DrillArgs, watch: &Watch<'_>) -> Result<DrillReport> {
    let drill = Drill { run: context.run(), keyring: context.keyring(&args.trust, &args.unlock)? };
    let choice = args.choice.meant(context.now);
    let found = Source::find(context.config(), &choice, &drill.keyring.trusted, context.now);
    let found = context.shutdown.or_interrupted(found).await?;
    let manifest = &found.head.manifest;
    watch.begin(vec![("BACKUP_ID", manifest.id.to_string()), ("CLUSTER_ID", manifest.cluster_id.to_string())]).await?;
    drill.rehearse(&found).await
}

/// Boots every backup that was chosen, oldest first.
pub async fn all(context: &Context, args: &VerifyArgs) -> Result<Exit> {
    let watch = Watch::over(context.config(), Verb::Verify)?;
    let ended = match boot_all(context, args).await {
        Ok(summary) => {
            context.output.print(&summary)?;
            let proved = (!summary.drills.is_empty()).then(|| proved(context, &summary.drills));
            Ended { proved, ..Ended::with(summary.exit()) }
        }
        Err(error) => Ended::failed(error),
    };
    watch.end(&ended).await;
    ended.into_exit()
}

async fn boot_all(context: &Context, args: &VerifyArgs) -> Result<Summary> {
    let drill = Drill { run: context.run(), keyring: context.keyring(&args.trust, &args.unlock)? };
    let choice = &args.choice;
    if choice.is_of_one() {
        let choice = choice.meant(context.now);
        let mut found = Source::find(context.config(), &choice, &drill.keyring.trusted, context.now).await?;
        let findings = std::mem::take(&mut found.findings);
        let report = drill.rehearse(&found).await?;
        return Ok(Summary { drills: vec![report], findings, ..Summary::default() });
    }
    let filter = choice.among.filter(context.now);
    let mut survey = Survey::new(&filter, &drill.keyring.trusted, context.now);
    let mut found = Vec::new();
    for connected in vaults::connect(context.config()).await? {
        let mut visit = survey.vault(connected.vault.as_ref()).await;
        while let Some(backup) = visit.next().await {
            let source = Source::Vault { vault: Arc::clone(&connected.vault), at: backup.at };
            let (head, stored) = (backup.head, Some(backup.stored));
            found.push(Found { source, head, stored, findings: Vec::new(), point: None });
        }
    }
    found.sort_by_key(|found| found.head.manifest.id);
    let mut summary = Summary { findings: survey.end().findings, ..Summary::default() };
    for found in &found {
        match drill.rehearse(found).await {
            Ok(report) => summary.drills.push(report),
            Err(error) => {
                context.shutdown.check()?;
                let (id, source) = (found.head.manifest.id, &found.source);
                summary.not_tried.push(format!("backup {id} from {source} was not tried: {error:#}"));
            }
        }
    }
    Ok(summary)
}

/// Record of the drills for this host's history, in which a boot is the best proof.
fn proved<'a>(context: &Context, drills: impl IntoIterator<Item = &'a DrillReport>) -> Proved {
    let drills: Vec<&DrillReport> = drills.into_iter().collect();
    Proved {
        at: context.now,
        good: drills.iter().all(|drill| drill.is_proven()),
        checked: drills.len() as u64,
        newest: drills.iter().map(|drill| drill.receipt.backup.to_string()).max(),
    }
}

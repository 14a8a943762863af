//! The verb `drill`, and `verify --boot`.

use std::sync::Arc;

use anyhow::Result;
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
    vaults,
};

pub async fn run(context: &Context, args: &DrillArgs) -> Result<Exit> {
    let watch = Watch::over(context.config(), Verb::Drill)?;
    let ended = match one(context, args, &watch).await {
        Ok(report) => {
            context.output.print(&report)?;
            Ended { proved: Some(proved(context, [&report])), ..Ended::with(report.exit()) }
        }
        Err(error) => Ended::failed(error),
    };
    watch.end(&ended).await;
    ended.into_exit()
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
